import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, restore } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { deployedSite, eventually, must, mustUp, pristineSite, slavesSettle } from "./site.ts";

let stack: Stack;
let warned: string;
const far = "198.51.100.7";

/** Answers every question for a name's address with 192.0.2.77, on the far machine: the internet's resolver. */
const resolver = `
  use IO::Socket::INET;
  my $s = IO::Socket::INET->new(Proto => "udp", LocalAddr => "${far}", LocalPort => 53) or exit 1;
  while (defined(my $from = $s->recv(my $q, 512))) {
    my ($name) = substr($q, 12) =~ /^((?:[^\\0][^\\0]*)?\\0....)/s or next;
    $s->send(substr($q, 0, 2) . pack("n5", 0x8180, 1, 1, 0, 0) . $name . pack("n3 N n C4", 0xc00c, 1, 1, 60, 4, 192, 0, 2, 77));
  }`;

/** A box's own DHCP server, which nobody has switched off. */
const boxDhcp = `interface eth0
start 192.168.1.20
end 192.168.1.29
lease_file /run/udhcpd.leases
pidfile /run/udhcpd.pid
option router 192.168.1.254
option lease 600
`;

beforeAll(async () => {
  stack = await deployedSite();
  await must("far", `perl -e '${resolver}' </dev/null >/dev/null 2>&1 & echo`);
  await exec("guest", "cat >/run/udhcpd.conf; touch /run/udhcpd.leases", { stdin: boxDhcp });
  await must("orange", "busybox udhcpd /run/udhcpd.conf </dev/null >/dev/null 2>&1");
  await stack.configure((site) => {
    site.lan = {
      dhcp: { from: "192.168.1.100", to: "192.168.1.119", lease: "1h" },
      dns: { upstream: [far] },
    };
  });
  warned = await mustUp(stack);
  await must("guest", "kill $(cat /run/udhcpd.pid)");
  await slavesSettle(2);
  await eventually("pi", lends("1h"), 10);
});

afterAll(async () => {
  await pristineSite();
});

/** Whether the Pi's dnsmasq, on its port, lends addresses for that long. */
const lends = (time: string) => `pgrep -a dnsmasq | grep -q ',${time}$' && ss -Hlun | grep -q ':67 '`;

/** What a machine that is new on the LAN is given: nothing of it is taken over. */
async function lease(): Promise<Record<string, string>> {
  const script = "/run/lease-tell";
  await must("guest", `printf '#!/bin/sh\\n[ "$1" != bound ] || env\\n' >${script} && chmod +x ${script}`);
  const told = await must(
    "client",
    `busybox udhcpc -i eth0 -n -q -f -t 5 -T 2 -x hostname:newcomer -s ${script} 2>/dev/null`,
  );
  return Object.fromEntries(told.split("\n").map((line) => line.split("=", 2)));
}

test("a box that hands out addresses as well is told by the up, and not fought", () => {
  expect(warned).toMatch(/pi: 192\.168\.1\.254 hands out addresses on the LAN too/);
});

test("a machine of the LAN gets an address of the range, and the Pi as its gateway and resolver", async () => {
  const given = await lease();
  expect(given.ip).toMatch(/^192\.168\.1\.1[01]\d$/);
  expect(given).toMatchObject({
    router: "192.168.1.252",
    dns: "192.168.1.252",
    subnet: "255.255.255.0",
    lease: "3600",
    serverid: "192.168.1.252",
  });
});

test("while a change is on trial addresses are lent for two minutes, and for the usual time when it is confirmed", async () => {
  await stack.configure((site) => {
    site.lan = {
      dhcp: { from: "192.168.1.100", to: "192.168.1.119", lease: "2h" },
      dns: { upstream: [far] },
    };
  });
  const up = mustUp(stack);
  const trial = "[ -e /var/lib/adsl-bonding/dev/trying ]";
  await eventually("pi", `${trial} && ${lends("2m")}`, 900);
  expect((await lease()).lease).toBe("120");
  await up;
  await eventually("pi", `! ${trial} && ${lends("2h")}`, 10);
  expect((await lease()).lease).toBe("7200");
});

test("once the box's is off, the Pi's own is not taken for another", async () => {
  const { code, stdout } = await stack.pulumi(["preview"]);
  expect(code, stdout).toBe(0);
  expect(stdout).not.toContain("hands out addresses");
});

test("names are resolved through the bond, also with the Pi's own box dead", async () => {
  const look = (name: string) => must("client", `busybox nslookup -type=a ${name} 192.168.1.252`);
  expect(await look("one.example")).toContain("192.0.2.77");
  // The Pi's own default route goes by this box.
  await cut("orange");
  await slavesSettle(1);
  expect(await look("two.example")).toContain("192.0.2.77");
  await restore("orange");
  await slavesSettle(2, 60);
});

test("nothing but the LAN is served, by a unit that systemd finds nothing wrong with", async () => {
  await must("pi", "systemd-analyze verify /etc/systemd/system/adsl-dev-dnsmasq.service");
  const listening = await must("pi", "ss -Hlun 'sport = :53 or sport = :67'");
  expect(listening).toContain("192.168.1.252:53");
  expect(listening).not.toMatch(/172\.16\.16\.2:53|127\.0\.0\.1:53|0\.0\.0\.0:53/);
});

test("names alone are resolved where addresses are the box's own matter", async () => {
  await stack.configure((site) => {
    site.lan = { dns: { upstream: [far] } };
  });
  await mustUp(stack);
  expect(await must("client", "busybox nslookup -type=a three.example 192.168.1.252")).toContain(
    "192.0.2.77",
  );
  expect(await must("pi", "ss -Hlun 'sport = :67'")).toBe("");
});

test("taken out of the config, it is gone", async () => {
  await stack.configure(() => {});
  await mustUp(stack);
  expect(await must("pi", "ss -Hlun 'sport = :53 or sport = :67'")).toBe("");
  expect(await must("pi", "find /etc -name '*dnsmasq*' -path '*adsl*'")).toBe("");
});
