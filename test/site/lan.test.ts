import { expect, test } from "vitest";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

const dhcp = { from: "192.168.1.100", to: "192.168.1.199" };

function lanOf(lan: unknown) {
  return planSite(parseSite(exampleSite((site) => (site.lan = lan)))).lan;
}

test("nothing is served unless the site says so", () => {
  expect(lanOf(undefined)).toBeUndefined();
});

test("defaults: half a day, and two resolvers out on the internet", () => {
  const upstream = ["9.9.9.9", "1.1.1.1"];
  expect(lanOf({ dhcp })).toEqual({ dhcp: { ...dhcp, lease: "12h" }, upstream });
  expect(lanOf({ dns: {} })).toEqual({ dhcp: undefined, upstream });
});

test.each<[string, string, unknown]>([
  ["a section that asks for nothing", "lan = {}: asks for nothing", {}],
  ["a range without its end", "lan.dhcp.to is missing", { dhcp: { from: dhcp.from } }],
  ["a last number alone", 'lan.dhcp.to = "199"', { dhcp: { ...dhcp, to: "199" } }],
  ["a range outside the LAN", "lan.dhcp.from", { dhcp: { ...dhcp, from: "192.168.0.100" } }],
  ["the broadcast address", "lan.dhcp.to", { dhcp: { ...dhcp, to: "192.168.1.255" } }],
  ["a range backwards", "comes before 192.168.1.199", { dhcp: { from: dhcp.to, to: dhcp.from } }],
  [
    "a range over a box",
    "holds 192.168.1.240, the box of lines[0]",
    { dhcp: { ...dhcp, to: "192.168.1.245" } },
  ],
  [
    "a range over the Pi",
    "192.168.1.252, the Pi itself",
    { dhcp: { from: "192.168.1.250", to: "192.168.1.253" } },
  ],
  ["a lease without its unit", "lan.dhcp.lease", { dhcp: { ...dhcp, lease: 12 } }],
  ["a lease of a minute", "lan.dhcp.lease", { dhcp: { ...dhcp, lease: "1m" } }],
  ["a box as resolver", "lan.dns.upstream[1]", { dns: { upstream: ["9.9.9.9", "192.168.1.254"] } }],
  ["the Pi as its own resolver", "is the Pi itself", { dns: { upstream: ["192.168.1.252"] } }],
  ["the Pi by its address in the bond", "is the Pi itself", { dns: { upstream: ["172.16.16.2"] } }],
  ["a resolver's name", "lan.dns.upstream[0]", { dns: { upstream: ["dns.quad9.net"] } }],
  ["no resolver", "lan.dns.upstream", { dns: { upstream: [] } }],
])("%s is told", (_, text, lan) => {
  expect(() => lanOf(lan)).toThrow(text);
});

test("the server's end of a bond may answer for names, the Pi's own in a backup's may not", () => {
  const site = (upstream: string) =>
    exampleSite((s) => {
      s.backups = [{ name: "spare", address: "203.0.114.20", ssh: s.server.ssh }];
      s.lan = { dns: { upstream: [upstream] } };
    });
  expect(() => parseSite(site("172.16.16.1"))).not.toThrow();
  expect(() => parseSite(site("172.16.16.6"))).toThrow("is the Pi itself");
});
