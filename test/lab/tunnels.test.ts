import { beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { exec, measure } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { deployedSite, must, mustUp, slavesSettle } from "./site.ts";

const second = "203.0.113.11";
let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
  // A server with several addresses, its first the one it would answer from by itself.
  await must("server", `ip address add ${second}/24 dev eth0`);
});

test("an address that the server doesn't have is told before anything is touched", async () => {
  await stack.configure((site) => {
    site.vpn = { bind: "203.0.113.12" };
  });
  const { code, stdout } = await stack.pulumi(["preview"]);
  expect(code).not.toBe(0);
  expect(stdout).toContain("server: it lacks the address 203.0.113.12 that vpn.bind names");
});

test("every field of the tunnels reaches what it is for", async () => {
  await stack.configure((site) => {
    site.server.ssh.host = site.server.address;
    site.server.address = second;
    site.vpn = {
      bind: second,
      ciphers: ["CHACHA20-POLY1305", "AES-256-GCM"],
      txqueuelen: 500,
      replayWindow: { packets: 1024, seconds: 30 },
      verbosity: 4,
    };
    site.bond = { mtu: 1500 };
    Object.assign(site.lines[0], { port: 5001, fragment: true });
    Object.assign(site.lines[1], { protocol: "tcp", port: 443 });
  });
  await mustUp(stack);
  await slavesSettle(2, 60);
  expect(await must("server", "ss -Hlun")).toMatch(new RegExp(`${second}:5001\\b`));
  expect(await must("server", "ss -Htn state established 'sport = :443'")).toContain(`${second}:443`);
  expect(await must("server", "ss -Hlun 'sport = :1194'; ss -Hlun 'sport = :1195'")).toBe("");
  expect(await must("pi", "cat /sys/class/net/tap0/tx_queue_len /sys/class/net/tap1/tx_queue_len")).toBe(
    "500\n500\n",
  );
  const log = await must("pi", "journalctl -q -b -o cat -u 'adsl-dev-tunnel@*' -n 400");
  expect(log).toContain("cipher 'CHACHA20-POLY1305'");
  expect(log).toMatch(/replay_window = 1024/);
  expect(log).toMatch(/replay_time = 30/);
  const status = "/run/adsl-dev-tunnel-ovh/status";
  expect(await must("pi", `cat ${status}`)).toContain("OpenVPN STATISTICS");
});

test("packets of the whole MTU pass, and none is larger on a line than the line passes", async () => {
  // What would be larger than the line's MTU, or in pieces of IP, on the line that cuts packets.
  const filter = "udp and (greater 1507 or ip[6:2] & 0x3fff != 0)";
  const watch = exec(
    "guest",
    `ip netns exec ovh timeout 20 tcpdump -l -n -i wan '${filter}' 2>/dev/null | grep -c ' IP '`,
    {
      timeoutSeconds: 60,
    },
  );
  const all = exec(
    "guest",
    "ip netns exec ovh timeout 20 tcpdump -l -n -i wan 'udp and greater 600' 2>/dev/null | grep -c ' IP '",
    {
      timeoutSeconds: 60,
    },
  );
  await must("guest", "sleep 2");
  const { stdout } = await exec("client", "ping -n -M do -s 1472 -i 0.2 -c 20 198.51.100.7", {
    timeoutSeconds: 30,
  });
  expect(stdout).toMatch(/ 0% packet loss/);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect(Number((await all).stdout)).toBeGreaterThan(20);
  expect(Number((await watch).stdout)).toBe(0);
});

test("TCP is kept to segments that no line has to cut", async () => {
  const capture = exec(
    "guest",
    "ip netns exec far timeout 12 tcpdump -l -n -i eth0 'tcp[tcpflags] & tcp-syn != 0' 2>/dev/null",
    { timeoutSeconds: 40 },
  );
  await must("guest", "sleep 2");
  await measure({ via: "bond", direction: "down", bytes: 200_000 });
  const sizes = [...(await capture).stdout.matchAll(/> 198\.51\.100\.7\.80: .*mss (\d+)/g)].map(([, size]) =>
    Number(size),
  );
  expect(sizes.length).toBeGreaterThan(0);
  // 1492 less 66 of the tunnel, 4 of fragment, 40 of IPv4 and TCP.
  expect(Math.max(...sizes)).toBe(1382);
});
