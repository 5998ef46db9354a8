import fc from "fast-check";
import { expect, test } from "vitest";
import { contains } from "../../site/address.ts";
import { ConfigError } from "../../site/mistake.ts";
import { parseSite } from "../../site/schema.ts";
import { examplePlan, exampleSite } from "../example.ts";

/** The paths of the mistakes of a changed example. */
// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function pathsOf(change: (site: any) => void): string[] {
  try {
    parseSite(exampleSite(change));
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const { reason, mend } of error.mistakes) {
      expect(reason.length).toBeGreaterThan(8);
      expect(mend).toMatch(/^[A-Z].*\.$/);
    }
    return error.mistakes.map(({ path }) => path);
  }
}

test.each([
  ["a line that the site doesn't have", ".line", { line: "sfr", ports: 80 }],
  ["no line", ".line", { ports: 80 }],
  ["nothing to choose by", "", { line: "ovh" }],
  ["a protocol without ports that nobody knows", ".protocol", { line: "ovh", protocol: "sctp" }],
  ["a port in words", ".ports", { line: "ovh", ports: "http" }],
  ["no port", ".ports", { line: "ovh", ports: [] }],
  ["a wrong port among right ones", ".ports[1]", { line: "ovh", ports: [80, "x", "90-95"] }],
  ["nothing among ports", ".ports[0]", { line: "ovh", ports: [null, 80] }],
  ["a list within the list", ".ports[0]", { line: "ovh", ports: [[80]] }],
  ["a range backwards", ".ports", { line: "ovh", ports: "90-85" }],
  ["a range backwards, in a list", ".ports[1]", { line: "ovh", ports: [80, "90-85"] }],
  ["a host of another network", ".hosts[1]", { line: "ovh", hosts: ["pi", "192.168.2.7"] }],
  ["a network larger than the LAN", ".hosts[0]", { line: "ovh", hosts: ["192.168.0.0/16"] }],
  ["a host by name", ".hosts[0]", { line: "ovh", hosts: ["nas"] }],
  ["one host without a list", ".hosts", { line: "ovh", hosts: "192.168.1.10" }],
  ["IPv6 where IPv4 is meant", ".to[0]", { line: "ovh", to: ["2001:db8::/32"] }],
  ["a destination on the LAN", ".to[0]", { line: "ovh", to: ["192.168.1.10"] }],
  ["no code point", ".dscp", { line: "ovh", dscp: 64 }],
  ["a word that is none", ".dscp", { line: "ovh", dscp: "constructor" }],
  ["the how-to's word for a field", ".port", { line: "ovh", dscp: "ef", port: 80 }],
])("%s is told", (_, field, bypass) => {
  expect(pathsOf((s) => (s.bypass = [bypass]))).toEqual([`bypass[0]${field}`]);
});

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/** A site with a backup and with servers that have other addresses, too. */
// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function withServers(site: any): void {
  site.backups = [{ name: "spare", address: "203.0.114.20", ssh: { hostKey } }];
  site.server.ssh.host = "198.51.100.9";
  site.vpn = { bind: "203.0.113.11" };
}

test.each([
  ["to", "203.0.113.10", "is an address of server itself"],
  ["to", "203.0.114.20/32", "is an address of backups[0] itself"],
  ["to", "198.51.100.9", "is an address of server itself"],
  ["to", "172.16.16.0/30", "stands inside bond.network 172.16.16.0/30"],
  ["to", "172.16.16.6", "stands inside backups[0].network 172.16.16.4/30"],
  ["to", "192.168.1.32/28", "stands inside the Pi's LAN 192.168.1.0/24"],
  ["hosts", "192.168.1.254", "is the box of lines[1]"],
  ["hosts", "192.168.1.240/32", "is the box of lines[0]"],
  ["hosts", "192.168.0.0/16", "reaches beyond the Pi's LAN 192.168.1.0/24"],
  ["hosts", "192.168.2.0/24", "is outside the Pi's LAN 192.168.1.0/24"],
])("%s %s can never take effect, and is told: it %s", (field, value, reason) => {
  const wrong = exampleSite((s) => {
    withServers(s);
    s.bypass = [{ line: "ovh", ports: 80, [field]: ["192.0.2.1", value].slice(field === "to" ? 0 : 1) }];
  });
  const path = `bypass[0].${field}[${field === "to" ? 1 : 0}]`;
  expect(() => parseSite(wrong)).toThrow(
    `1 mistake; nothing was touched:\n  ${path} = "${value}": ${reason}`,
  );
});

test("what holds more than the site's own is taken, and so is a box's address where another machine has it", () => {
  const paths = pathsOf((s) => {
    withServers(s);
    Object.assign(s.lines[0], { interface: "eth1", gateway: "192.168.1.10" });
    const to = ["203.0.113.0/24", "203.0.114.20/31", "172.16.0.0/12", "192.168.0.0/16", "203.0.113.11"];
    s.bypass = [{ line: "ovh", to, hosts: ["192.168.1.10", "192.168.1.240/28"] }];
  });
  expect(paths).toEqual([]);
});

test.each([["sfr"], [1], [null], ["yes"]])("a fallback of %j is told", (fallback) => {
  expect(pathsOf((s) => Object.assign(s, { fallback }))).toEqual(["fallback"]);
});

test("what is left out means all; the Pi's own address means the Pi", () => {
  const { direct } = examplePlan((s) => {
    s.bypass = [
      { line: "orange", ports: 53 },
      { line: "orange", to: ["198.51.100.0/24"], hosts: ["192.168.1.252", "192.168.1.10/32"] },
      { line: "orange", dscp: 8, hosts: ["192.168.1.252/32"] },
    ];
  });
  expect(direct.bypass).toMatchObject([
    { protocols: ["tcp", "udp"], hosts: ["192.168.1.0/24"], pi: true },
    { protocols: [], hosts: ["192.168.1.10"], pi: true },
    { hosts: [], pi: true },
  ]);
  expect(direct.ways).toEqual([{ mark: 0xad12, table: 21012, lines: ["orange", "ovh"] }]);
  expect(direct.fallback).toBe("main");
});

test("whatever stands in a bypass, it is taken or told, and what is taken nftables can take", () => {
  const port = fc.oneof(
    fc.nat(70_000),
    fc.tuple(fc.nat(70_000), fc.nat(70_000)).map((two) => two.join("-")),
  );
  const network = fc.oneof(
    fc.ipV4(),
    fc.tuple(fc.constantFrom("192.168.1.4", "198.51.100.7"), fc.nat(33)).map((two) => two.join("/")),
    fc.anything(),
  );
  const entry = fc.record(
    {
      line: fc.oneof(fc.constantFrom("ovh", "orange", "sfr"), fc.anything()),
      protocol: fc.oneof(fc.constantFrom("tcp", "udp", "both"), fc.anything()),
      ports: fc.oneof(port, fc.array(port), fc.anything()),
      hosts: fc.oneof(fc.array(fc.oneof(network, fc.constant("pi"))), fc.anything()),
      to: fc.oneof(fc.array(network), fc.anything()),
      dscp: fc.oneof(fc.nat(70), fc.constantFrom("ef", "AF41"), fc.anything()),
    },
    { requiredKeys: [] },
  );
  const property = fc.property(
    fc.array(fc.oneof(entry, fc.anything()), { maxLength: 3 }),
    fc.oneof(fc.constantFrom(true, false, "ovh"), fc.anything()),
    (bypass, fallback) => {
      try {
        const plan = examplePlan((s) => Object.assign(s, { bypass, fallback }));
        const { ways, bypass: chosen } = plan.direct;
        const tables = [...ways, ...plan.lines].map(({ table }) => table);
        expect(new Set([...tables, plan.bondTable]).size).toBe(tables.length + 1);
        for (const { mark, ports, hosts, pi, to } of chosen) {
          expect(ways.map((way) => way.mark)).toContain(mark);
          expect(hosts.length > 0 || pi).toBe(true);
          ports.slice(1).forEach(({ first }, n) => void expect(first).toBeGreaterThan(ports[n]!.last + 1));
          for (const list of [hosts, to]) {
            for (const one of list) {
              const others = list.filter((other) => other !== one && other.includes("/"));
              for (const other of others) expect(contains(other, one.split("/")[0]!)).toBe(false);
            }
          }
        }
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    },
  );
  fc.assert(property, { numRuns: 500 });
});
