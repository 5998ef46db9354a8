import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { exec, reboot } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { seenBy, tunnelsAgain, withoutTunnels } from "./direct.ts";
import { eventually, must, mustUp, pristineSite, slavesSettle, strictInput } from "./site.ts";

// A server whose owner runs ufw, which drops whatever nobody has allowed, and a Pi that forwards as one with Docker does: what that knows;
// and that takes nothing but logins.
let stack: Stack;
const before: Record<string, string> = {};

/** The rules of ufw and of whoever else uses iptables, without ours. */
const rules = "iptables-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'";

beforeAll(async () => {
  stack = await pristineSite();
  await must("server", "apt-get -qq update && apt-get -qq -y --no-install-recommends install ufw", 300);
  // A container can't load modules: those of IPv6's half, and that of `limit`.
  await must("guest", "modprobe xt_recent");
  await must(
    "server",
    "sed -i 's/^IPV6=.*/IPV6=no/' /etc/default/ufw && ufw limit 22/tcp && ufw --force enable",
    120,
  );
  await must(
    "pi",
    "apt-get -qq update && apt-get -qq -y --no-install-recommends install iptables nftables",
    300,
  );
  await must("pi", "nft -f -", 60, strictInput);
  // Whoever deploys reaches the server through it.
  await must(
    "pi",
    "iptables -A FORWARD -d 203.0.113.10 -j ACCEPT && iptables -A FORWARD -s 203.0.113.10 -j ACCEPT && iptables -P FORWARD DROP",
  );
});

afterAll(async () => {
  await pristineSite();
});

test("what ufw drops is named before anything is touched, with the exception that would help", async () => {
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  expect(stdout).toContain("server: its firewall's chain ip filter FORWARD drops what is forwarded");
  expect(stdout).toContain("write `letThrough: { forward: [ip filter FORWARD] }` under server");
  expect(stdout).toContain("write `letThrough: { input: [ip filter INPUT] }` under server");
  expect(stdout).toMatch(/server: its firewall takes few logins by SSH within a time \(.*recent/);
  expect(stdout).toContain("pi: its firewall's chain ip filter FORWARD drops what is forwarded");
  expect(stdout).toContain("write `letThrough: { forward: [ip filter FORWARD] }` under pi");
  expect(stdout).toMatch(
    /pi: its firewall's chain inet strict input drops .* neither of ICMP nor of bond0.*`letThrough: \{ input: \[inet strict input\] \}` under pi/,
  );
  await must("server", "test ! -e /usr/local/sbin/adsl-bonding-dev");
  await must("server", "ufw delete limit 22/tcp && ufw allow 22/tcp", 120);
  for (const host of ["pi", "server"]) before[host] = await must(host, rules);
});

test("with the exceptions in the config the site works beside ufw, and takes tunnels from named sources alone", async () => {
  await must("server", "echo 192.0.2.11 ovh.example.net >>/etc/hosts");
  await stack.configure((site) => {
    site.server.letThrough = { forward: ["ip filter FORWARD"], input: ["ip filter INPUT"] };
    site.pi.letThrough = { forward: ["ip filter FORWARD"], input: ["inet strict input"] };
    site.vpn = { sources: ["ovh.example.net", "192.0.2.12"] };
  });
  await mustUp(stack);
  await slavesSettle(2);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect(await must("server", "ufw status")).toMatch(/Status: active/);
  expect(await must("pi", "iptables -S FORWARD")).toContain("adsl-bonding-dev");
  // The far end alone is answered.
  await must("server", "ping -n -q -c 2 172.16.16.2");
  expect((await exec("client", "ping -n -q -c 2 -W 1 192.168.1.252")).code).not.toBe(0);
  // What leaves past the bond is let through as well.
  await withoutTunnels(3);
  expect(Object.values(seenBy).filter((address) => address !== seenBy.server)).toContain(
    await externalAddress(),
  );
  await tunnelsAgain();
});

test("a name that changes is followed within its minute, and one that is gone keeps what it last was", async () => {
  await must("server", "sed -i 's/192.0.2.11 ovh/192.0.2.99 ovh/' /etc/hosts");
  await slavesSettle(1, 90);
  await must("server", "sed -i 's/192.0.2.99 ovh/192.0.2.11 ovh/' /etc/hosts");
  await slavesSettle(2, 90);
  await must("server", "sed -i /ovh.example/d /etc/hosts");
});

test("ufw's reload, its own restart and one of the server leave the site working", async () => {
  await must("server", "ufw reload", 120);
  expect(await externalAddress()).toBe("203.0.113.10");
  await must("server", "ufw disable && iptables -F FORWARD && ufw --force enable", 120);
  await eventually("server", "iptables -S FORWARD | grep -q adsl-bonding-dev", 20);
  expect(await externalAddress()).toBe("203.0.113.10");
  // Without an answer for the name: at a boot without DNS what it was last still counts.
  await reboot("server");
  await slavesSettle(2, 90);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});

test("destroy takes the exceptions back, and leaves ufw's rules as they were", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  for (const host of ["pi", "server"]) expect(await must(host, rules), host).toBe(before[host]);
  expect(await must("pi", "nft list table inet strict")).not.toContain("adsl-bonding");
  expect(await must("server", "ufw status")).toMatch(/Status: active/);
});
