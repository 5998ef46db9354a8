import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { down, facts, reset, up } from "../../lab/index.ts";
import { openStack, type SiteConfig, type Stack } from "../../lab/stack.ts";
import { eventually, must, mustUp, slavesSettle, tracesOn } from "./site.ts";

// Two sites on one server: the example's, and a farm elsewhere with one line, whose Pi is the lab's second rented host.
const labFile = fileURLToPath(new URL("sharing.json", import.meta.url));

let home: Stack;
let farm: Stack;

beforeAll(async () => {
  await up({ site: labFile });
  await reset();
  await must(
    "farm",
    "ip link add dummy0 type dummy && ip address add 10.9.0.1/24 dev dummy0 && ip link set dummy0 up",
  );
  const lab = await facts();
  home = await openStack(lab);
  await home.configure((site) => delete site.backups);
  farm = await openStack(lab, "farm");
  await farm.configure((site: SiteConfig) => {
    delete site.backups;
    site.name = "farm";
    site.pi = {
      address: "10.9.0.1/24",
      interface: "dummy0",
      ssh: { ...site.server.ssh, host: "203.0.114.20", hostKey: lab.hosts.farm!.hostKey },
    };
    const rates = { down: "20 Mbit/s", up: "5 Mbit/s", encapsulation: "ethernet" };
    site.lines = [{ name: "only", gateway: "203.0.114.1", interface: "eth0", ...rates }];
    site.bond = { network: "172.16.17.0/30" };
    site.vpn = { firstPort: 1300 };
  });
});

// Other scenarios want the usual site.
afterAll(async () => {
  await down();
});

/** Whether the farm's Pi goes out under the server's address. */
async function farmWorks(): Promise<void> {
  await eventually(
    "farm",
    "grep -A1 '^Slave Interface' /proc/net/bonding/bond0 | grep -q 'MII Status: up'",
    30,
  );
  expect(await must("farm", "ip route get 198.51.100.7")).toContain("dev bond0");
  const seen = await must("farm", "adsl-bonding-farm status");
  expect(seen).toMatch(/check: 1 of 1 slaves are up, the far end answers/);
  await must("farm", "ping -n -q -c 3 -I 10.9.0.1 198.51.100.7");
}

test("two sites stand on one server, each under its own names", async () => {
  await mustUp(home);
  await mustUp(farm);
  await slavesSettle(2);
  expect(await externalAddress()).toBe("203.0.113.10");
  await farmWorks();
  expect(await must("server", "ls /proc/net/bonding")).toBe("bond-dev\nbond-farm\n");
  expect(await must("server", "ip rule")).toMatch(
    /to 192\.168\.1\.0\/24 lookup 21194\n.*to 10\.9\.0\.0\/24 lookup 21300/,
  );
});

test("destroying one leaves the other and its settings alone", async () => {
  const { code, stdout, stderr } = await farm.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  expect(await tracesOn("farm")).toBe("");
  expect(await must("server", "ls /proc/net/bonding")).toBe("bond-dev\n");
  expect(
    await must("server", "find / -xdev -path /proc -prune -o -path /sys -prune -o -name '*farm*' -print"),
  ).toBe("");
  expect(await must("server", "cat /proc/sys/net/ipv4/ip_forward")).toBe("1\n");
  expect(await externalAddress()).toBe("203.0.113.10");
  expect((await home.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});
