import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, exec, lose, measure, restore } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { beginTalk } from "./call.ts";
import { now } from "./direct.ts";
import { deployedSite, eventually, must, mustUp, queueRates, slavesSettle, whole } from "./site.ts";

const far = "198.51.100.7";
const ends = [
  ["pi", "bond0", "tap"],
  ["server", "bond-dev", "tap"],
] as const;

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

afterAll(async () => {
  for (const line of ["ovh", "orange"]) await restore(line);
});

const bonding = (host: string, bond: string) => must(host, `cat /proc/net/bonding/${bond}`);

/** Bytes that the server has sent through each of its taps. */
async function sent(): Promise<number[]> {
  const text = await must(
    "server",
    "cat /sys/class/net/tap0-dev/statistics/tx_bytes /sys/class/net/tap1-dev/statistics/tx_bytes",
  );
  return text.trim().split("\n").map(Number);
}

/** How many of the pings of a train are lost while something happens, 50 a second. */
async function lostWhile(seconds: number, happening: () => Promise<unknown>): Promise<number> {
  const count = seconds * 50;
  const train = exec("client", `ping -n -q -i 0.02 -c ${count} ${far}`, { timeoutSeconds: seconds + 30 });
  await must("guest", "sleep 1");
  await happening();
  const { stdout } = await train;
  const received = Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
  expect(received, stdout).toBeGreaterThan(0);
  return count - received;
}

test("a preview shows a change of mode, and warns of a hash that uses one line only", async () => {
  await stack.configure((site) => {
    site.bond = { mode: "balance-xor", hashPolicy: "layer2" };
  });
  const { code, stdout, stderr } = await stack.pulumi(["preview", "--diff"]);
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/-\s+ip link add bond0 type bond mode balance-rr arp_interval/);
  expect(stdout).toMatch(
    /\+\s+ip link add bond0 type bond mode balance-xor xmit_hash_policy layer2 arp_interval/,
  );
  expect(stdout + stderr).toMatch(/warning: bond\.hashPolicy is layer2: .*every packet takes the same line/);
});

test("from balance-rr to balance-xor layer3+4: connections spread over both lines", async () => {
  await stack.configure((site) => {
    site.bond = { mode: "balance-xor", arpMissed: 3, mtu: 1500 };
    // The tunnels' own fields are changed along with it: an `up` costs minutes here.
    site.vpn = {
      bind: site.server.address,
      sources: ["192.0.2.11", "192.0.2.12/32"],
      ciphers: ["CHACHA20-POLY1305", "AES-256-GCM"],
      txqueuelen: 500,
      replayWindow: { packets: 1024, seconds: 30 },
      verbosity: 4,
    };
    Object.assign(site.lines[0], { port: 5001, fragment: true });
    Object.assign(site.lines[1], { protocol: "tcp", port: 443 });
  });
  const talk = await beginTalk(far, 7007);
  await mustUp(stack);
  await slavesSettle(2);
  // All tunnels and the bond were made anew under it: it waits for each byte to come back.
  expect(await talk.end()).toBeGreaterThan(50);
  for (const [host, bond] of ends) {
    const text = await bonding(host, bond);
    expect(text).toContain("Bonding Mode: load balancing (xor)");
    expect(text).toContain("Transmit Hash Policy: layer3+4 (1)");
    expect(text).toContain("ARP Missed Max: 3");
  }
  expect(await externalAddress()).toBe("203.0.113.10");
  const before = await sent();
  await measure({ via: "bond", direction: "down", bytes: 4_000_000, flows: 16 });
  const shares = (await sent()).map((bytes, n) => bytes - before[n]!);
  console.log(`bytes of 16 downloads over each line: ${shares.join(", ")}`);
  for (const share of shares) expect(share).toBeGreaterThan(400_000);
});

test("every field of the tunnels reaches what it is for", async () => {
  expect(await must("server", "ss -Hlun")).toMatch(/ 203\.0\.113\.10:5001 /);
  expect(await must("server", "ss -Htn state established 'sport = :443'")).toContain("203.0.113.10:443");
  expect(await must("server", "ss -Hlun 'sport = :1194'; ss -Hlun 'sport = :1195'")).toBe("");
  const queues = "cat /sys/class/net/tap0/tx_queue_len /sys/class/net/tap1/tx_queue_len";
  expect(await must("pi", queues)).toBe("500\n500\n");
  const log = await must(
    "pi",
    "journalctl -q -o cat -u adsl-dev-tunnel@ovh.service | grep -E 'replay_|cipher' | tail -n 30",
  );
  expect(log).toContain("Data Channel: cipher 'CHACHA20-POLY1305'");
  expect(log).toMatch(/replay_window = 1024/);
  expect(log).toMatch(/replay_time = 30/);
  // From an address that is none of the lines'.
  const knock = `IO::Socket::INET->new(Proto => "udp", PeerAddr => "203.0.113.10", PeerPort => 5001)->send("hello")`;
  await must("far", `perl -MIO::Socket::INET -e '${knock}'`);
  expect(await must("server", "nft list chain inet adsl_bonding_dev sources")).toMatch(
    /udp dport 5001 .*counter packets [1-9]/,
  );
  expect(await must("pi", "cat /run/adsl-dev-tunnel-ovh/status")).toContain("OpenVPN STATISTICS");
});

test("packets of the whole MTU pass, cut by OpenVPN where a line needs it, and TCP's are never cut", async () => {
  const capture = (place: string, device: string, filter: string) =>
    exec("guest", `ip netns exec ${place} timeout 15 tcpdump -l -n -i ${device} '${filter}' 2>/dev/null`, {
      timeoutSeconds: 60,
    });
  // On the line: whatever is larger than it passes (14 bytes of Ethernet more), or cut by IP; and what is rather large.
  const wrong = capture("ovh", "wan", "udp and (greater 1507 or ip[6:2] & 0x3fff != 0)");
  const large = capture("ovh", "wan", "udp and greater 600");
  const openings = capture("far", "eth0", "tcp[tcpflags] & tcp-syn != 0");
  await must("guest", "sleep 2");
  // Eight of them, since the hash of each gives it one line or the other.
  const train = `for i in 1 2 3 4 5 6 7 8; do ping -n -q -M do -s 1472 -i 0.1 -c 3 ${far}; done`;
  expect((await must("client", train)).match(/ 0% packet loss/g)?.length).toBe(8);
  await measure({ via: "bond", direction: "down", bytes: 100_000 });
  expect((await wrong).stdout).not.toMatch(/ IP /);
  expect((await large).stdout).toMatch(/ IP /);
  const sizes = [...(await openings).stdout.matchAll(/> 198\.51\.100\.7\.80: .*mss (\d+)/g)];
  // 1492 less 70 of the tunnel, 4 of fragment, 40 of IPv4 and TCP.
  expect(sizes.map(([, size]) => size)).toContain("1378");
});

test("in balance-xor packets wait at each tap, at what its own line carries", async () => {
  // 0.995 of 896 and 832, 7232 and 7072 kbit/s less the watch's 8.48: ARP probes wait with the rest.
  expect(await queueRates({ pi: "tap0", server: "tap0-dev" })).toEqual({ pi: 883, server: 7187 });
  expect(await queueRates({ pi: "tap1", server: "tap1-dev" })).toEqual({ pi: 819, server: 7028 });
  for (const [host, bond] of ends)
    expect(await must(host, `tc qdisc show dev ${bond}`)).not.toContain("cake");
  const uploads = await measure({ via: "bond", direction: "up", bytes: 1_600_000, flows: 16, ping: true });
  const { avgMs, maxMs, lost } = uploads.ping!;
  console.log(`16 uploads: ${uploads.mbits.toFixed(2)} Mbit/s, ping ${avgMs} / ${maxMs} ms, ${lost} lost`);
  // In the boxes' own queues it waits for several hundred.
  expect(avgMs).toBeLessThan(120);
});

test("in balance-xor a cut line is noticed and used again, by a tunnel over TCP too", async () => {
  await cut("orange");
  await slavesSettle(1);
  expect(await lostWhile(2, async () => {})).toBe(0);
  await restore("orange");
  await slavesSettle(2, 60);
});

test("from balance-xor to active-backup: the first line carries everything", async () => {
  await stack.configure((site) => {
    site.bond = { mode: "active-backup" };
  });
  await mustUp(stack);
  await slavesSettle(2);
  for (const [host, bond, tap] of ends) {
    const text = await bonding(host, bond);
    expect(text).toContain("Bonding Mode: fault-tolerance (active-backup)");
    expect(text).toMatch(new RegExp(`Currently Active Slave: ${tap}0`));
  }
  expect(await externalAddress()).toBe("203.0.113.10");
  const before = await sent();
  await measure({ via: "bond", direction: "down", bytes: 2_000_000, flows: 4 });
  const [first, second] = (await sent()).map((bytes, n) => bytes - before[n]!);
  expect(first).toBeGreaterThan(2_000_000);
  expect(second).toBeLessThan(10_000);
});

test("in active-backup packets wait at the bond, at what the line that carries does", async () => {
  // 0.995 of 896 and 7232 kbit/s less the watch's 8.48: there are no ARP probes.
  expect(await queueRates()).toEqual({ pi: 883, server: 7187 });
  const upload = await measure({ via: "bond", direction: "up", bytes: 800_000, ping: true });
  console.log(
    `one upload: ${upload.mbits.toFixed(2)} Mbit/s, ping ${upload.ping!.avgMs} / ${upload.ping!.maxMs} ms`,
  );
  // In the box's own queue it waits for several hundred.
  expect(upload.ping!.avgMs).toBeLessThan(100);
});

test("in active-backup a cut of the idle line is noticed, and costs nothing", async () => {
  const lost = await lostWhile(10, async () => {
    await cut("orange");
    await slavesSettle(1);
  });
  expect(lost).toBe(0);
  await restore("orange");
  await slavesSettle(2, 60);
});

test("in active-backup a cut of the active line hands over to the other, and the first line is taken again", async () => {
  const lost = await lostWhile(14, async () => {
    await cut("ovh");
    await slavesSettle(1);
    for (const [host, bond, tap] of ends) {
      expect(await bonding(host, bond)).toContain(`Currently Active Slave: ${tap}1`);
    }
    await must("guest", "sleep 1");
    // 0.995 of 832 and 7072 kbit/s less 8.48.
    expect(await queueRates()).toEqual({ pi: 819, server: 7028 });
  });
  console.log(`traffic stood for ${(lost * 0.02).toFixed(1)} s`);
  // The keepalive's 4 s, and what it takes to notice.
  expect(lost * 0.02).toBeLessThan(6.5);
  const again = await lostWhile(20, async () => {
    await restore("ovh");
    for (const [host, bond, tap] of ends) {
      await eventually(host, `grep -q 'Currently Active Slave: ${tap}0' /proc/net/bonding/${bond}`, 60);
    }
  });
  console.log(`pings lost while the first line was taken again: ${again}`);
  expect(again * 0.02).toBeLessThan(1);
  expect(await queueRates()).toEqual({ pi: 883, server: 7187 });
});

test("in active-backup a line that loses a quarter is left by both ends within 15 s, and taken again when it is clean", async () => {
  const active = (tap: string) =>
    ends.map(([host, bond]) => [host, `grep -q 'Currently Active Slave: ${tap}' /proc/net/bonding/${bond}`]);
  const began = await now();
  await lose("ovh", 25, "in");
  for (const [host, command] of active("tap1")) await eventually(host!, command!, 30);
  const left = (await now()) - began;
  console.log(`left by both ends after ${left.toFixed(1)} s`);
  expect(left).toBeLessThan(15);
  // Once out, it stays out.
  await must("guest", "sleep 10");
  for (const [host, command] of active("tap1")) await must(host!, command!);
  expect(await lostWhile(5, async () => {})).toBe(0);
  const mended = await now();
  await restore("ovh");
  for (const [host, command] of active("tap0")) await eventually(host!, command!, 90);
  const back = (await now()) - mended;
  console.log(`taken again after ${back.toFixed(1)} s`);
  expect(back).toBeGreaterThan(57);
  expect(back).toBeLessThan(80);
  await slavesSettle(2, 10);
});

test("with the hash layer2 all goes over one line, be the bond named otherwise; a keepalive of the config's own is what ends a tunnel", async () => {
  await stack.configure((site) => {
    site.bond = { mode: "balance-xor", hashPolicy: "layer2", interface: "lines" };
    site.vpn = { keepalive: { interval: 2, timeout: 8 } };
  });
  await mustUp(stack);
  // The bond has another name on the Pi, too.
  await must("pi", "! ip link show bond0");
  const renamed = [["pi", "lines"] as const, ["server", "bond-dev"] as const];
  for (const [host, bond] of renamed) {
    await whole([host, bond], 30);
    expect(await bonding(host, bond)).toContain("Transmit Hash Policy: layer2 (0)");
  }
  const before = await sent();
  await measure({ via: "bond", direction: "down", bytes: 2_000_000, flows: 8 });
  const shares = (await sent()).map((bytes, n) => bytes - before[n]!);
  console.log(`bytes of 8 downloads over each line, layer2: ${shares.join(", ")}`);
  expect(Math.max(...shares)).toBeGreaterThan(2_000_000);
  expect(Math.min(...shares)).toBeLessThan(100_000);
  const cutAt = await now();
  await cut("orange");
  const told = "journalctl -q -o short-unix -u adsl-dev-tunnel@orange";
  await eventually("server", `${told} --since @${Math.floor(cutAt)} | grep -q 'Inactivity timeout'`, 30);
  const ended = /^(\d+\.\d+) .*Inactivity timeout/m.exec(
    await must("server", `${told} --since @${Math.floor(cutAt)}`),
  )!;
  const silent = Number(ended[1]) - cutAt;
  console.log(`a tunnel was ended after ${silent.toFixed(1)} s of silence`);
  // Its last word may have come up to an interval before the cut.
  expect(silent).toBeGreaterThan(5.5);
  expect(silent).toBeLessThan(11);
  await restore("orange");
  for (const end of renamed) await whole(end, 60);
});
