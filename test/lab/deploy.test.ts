import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import type { Stack } from "../../lab/stack.ts";
import { keepSite, must, mustUp, pristineSite, slavesSettle, sysctlsOn, tracesOn } from "./site.ts";

let stack: Stack;
const before: Record<string, string> = {};
const listening: Record<string, string[]> = {};

async function listeners(host: string): Promise<string[]> {
  return (await must(host, "ss -Hlntu | awk '{ print $1, $5 }' | sort -u")).trim().split("\n");
}

beforeAll(async () => {
  stack = await pristineSite();
  for (const host of ["pi", "server"]) {
    before[host] = await sysctlsOn(host);
    listening[host] = await listeners(host);
    // Some start-up files greet whoever logs in, a program too.
    await must(host, "sed -i '1i echo \"Welcome, $USER!\"' ~admin/.bashrc && grep -q Welcome ~admin/.bashrc");
  }
});

// Whatever failed, the next scenario begins with plain hosts.
afterAll(async () => {
  await pristineSite();
});

test("five wrong values end in one error, before any host is touched", async () => {
  await stack.configure((site) => {
    site.lines[0].gateway = "192.168.2.240";
    site.lines[0].down = "0 kbit/s";
    site.lines.push({ ...site.lines[1], name: "third" });
    site.bond = { network: "192.168.0.0/16" };
    site.forwards = [{ ports: 22, to: "192.168.1.10" }];
  });
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  for (const path of [
    "lines[0].gateway",
    "lines[0].down",
    "lines[2].gateway",
    "bond.network",
    "forwards[0].ports",
  ]) {
    expect(stdout).toContain(path);
  }
  expect(await tracesOn("pi")).toBe("");
});

test("a host key that is not the pinned one stops everything, with both fingerprints", async () => {
  await stack.configure((site) => {
    site.pi.ssh.hostKey = site.server.ssh.hostKey;
  });
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  expect(stdout.match(/SHA256:[A-Za-z0-9+/]{43}/g)?.length).toBeGreaterThanOrEqual(2);
  expect(await tracesOn("server")).toBe("");
});

test("a preview of a first deployment shows files whole, and touches nothing", async () => {
  await stack.configure(() => {});
  const { code, stdout, stderr } = await stack.pulumi(["preview", "--diff", "--show-full-output"]);
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain("remote 203.0.113.10 1194");
  expect(stdout).toContain("arp_interval 100 arp_ip_target 172.16.16.1");
  expect(stdout).not.toContain("PRIVATE KEY");
  for (const host of ["pi", "server"]) expect(await tracesOn(host)).toBe("");
});

test("up deploys both ends", async () => {
  await mustUp(stack);
  await slavesSettle(2);
});

test("the LAN reaches the internet under the server's address", async () => {
  expect(await externalAddress()).toBe("203.0.113.10");
  // By the Pi, then the far end of the bond: not by a box.
  expect(await must("client", "ip route get 198.51.100.7")).toContain("via 192.168.1.252");
  expect(await must("pi", "ip route get 198.51.100.7")).toContain("dev bond0");
});

test("the server's own address is reached outside the bond", async () => {
  expect(await must("pi", "ip route get 203.0.113.10")).toContain("dev eth0");
});

test("what was rendered is taken by the programs that read it", async () => {
  for (const host of ["pi", "server"]) {
    await must(host, "nft -c -f /etc/adsl-bonding/dev/firewall.nft");
    await must(host, "systemd-analyze verify /etc/systemd/system/adsl-dev-*.service");
    await must(host, "for s in bond routes check; do sh -n /etc/adsl-bonding/dev/$s || exit 1; done");
    const log = await must(host, "journalctl -q -o cat -u 'adsl-dev-tunnel@*'");
    expect(log).not.toMatch(/Options error|DEPRECATED/);
    expect(log).toContain("AES-256-GCM");
  }
});

test("what goes on running may do little, and because of it no port answers but the tunnels'", async () => {
  const added = async (host: string) =>
    (await listeners(host)).filter((socket) => !listening[host]!.includes(socket));
  expect(await added("server")).toEqual(["udp 0.0.0.0:1194", "udp 0.0.0.0:1195"]);
  // The tunnels' own ends, which take nothing but from the server's certificate.
  const ends = await added("pi");
  expect(ends).toHaveLength(2);
  for (const end of ends) expect(end).toMatch(/^udp 0\.0\.0\.0:\d{5}$/);
  const running = {
    pi: ["tunnel@ovh", "gateways", "watch", "shaper", "keeper", "hangup", "detour"],
    server: ["tunnel@ovh", "shaper", "keeper"],
  };
  for (const [host, units] of Object.entries(running)) {
    for (const unit of units) {
      const told = await must(
        host,
        `systemd-analyze security --no-pager adsl-dev-${unit}.service | tail -n 1`,
      );
      // Debian's own openvpn-client@ comes to 7.2, of 10.
      expect(Number(told.match(/: (\d+\.\d+) /)?.[1]), told).toBeLessThan(3);
    }
  }
});

test("private keys are the host's own, readable by root alone, and nowhere in what Pulumi keeps", async () => {
  for (const host of ["pi", "server"]) {
    const modes = await must(host, "stat -c '%a %U' /etc/adsl-bonding/dev/keys/*.key");
    expect(modes.trim().split("\n")).toEqual(["600 root", "600 root"]);
  }
  const { stdout } = await stack.pulumi(["stack", "export"]);
  expect(stdout).toContain("adsl-bonding:components:Bond");
  expect(stdout).not.toContain("PRIVATE KEY");
});

test("a second up changes nothing", async () => {
  const printed = await mustUp(stack);
  expect(printed).toMatch(/\d+ unchanged/);
  expect(printed).not.toMatch(/\d+ (created|updated|deleted|changes)/);
  await keepSite();
});

test("destroy leaves nothing of ours, and brings back what was there", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain("the packages it had installed stay: openvpn");
  for (const host of ["pi", "server"]) {
    expect(await tracesOn(host), host).toBe("");
    expect(await sysctlsOn(host), host).toBe(before[host]);
  }
});
