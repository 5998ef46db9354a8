import { expect, test } from "vitest";
import { renderFirewall } from "../../components/firewall.ts";
import { namesOf } from "../../components/names.ts";
import { piFirewall } from "../../components/pi/firewall.ts";
import { renderGateways } from "../../components/pi/gateways.ts";
import { piRoutes } from "../../components/pi/routes.ts";
import { renderRoutesScript } from "../../components/routes.ts";
import { shaperService } from "../../components/shaper/shaper.ts";
import { examplePlan } from "../example.ts";

/** One line on the LAN, one with two tunnels on an interface of its own. */
// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
const choose = (s: any) => {
  Object.assign(s.lines[1], { gateway: "dhcp", interface: "eth1", tunnels: 2, encapsulation: "ethernet" });
  s.bypass = [
    { line: "orange", protocol: "udp", ports: ["27015-27030", 3074, "27020-27040"], hosts: ["192.168.1.20"] },
    {
      line: "ovh",
      to: ["198.51.100.0/24", "198.51.100.7", "192.0.2.9/32"],
      hosts: ["pi", "192.168.1.32/28"],
    },
    { line: "ovh", dscp: "EF" },
    { line: "ovh", ports: 123, hosts: ["192.168.1.252"] },
  ];
  s.fallback = "orange";
};
const chosen = examplePlan(choose);

test("chosen traffic past the bond: rules, routes, what follows the lines, what the shaper leaves free", () => {
  const names = namesOf(chosen);
  expect(renderFirewall(names, piFirewall(chosen))).toMatchSnapshot("firewall");
  expect(renderRoutesScript(names, piRoutes(chosen))).toMatchSnapshot("routes");
  expect(renderGateways(chosen, names)).toMatchSnapshot("gateways");
  const shaper = (host: "pi" | "server") => shaperService(chosen, host)[0]!.files[1]!.text as string;
  expect(shaper("pi")).toMatchSnapshot("shaper");
  expect(shaper("server")).not.toContain("nft");
});

test("in balance-xor each tap's queue leaves room for what its own line carries directly", () => {
  const plan = examplePlan((s) => {
    choose(s);
    s.bond = { mode: "balance-xor" };
  });
  expect(shaperService(plan, "pi")[0]!.files[1]!.text).toMatchSnapshot();
});

test("what leaves directly by two boxes on one interface of their own is counted for each, and masqueraded once", () => {
  const { chains } = piFirewall(
    examplePlan((s) => {
      Object.assign(s.lines[0], { gateway: "10.0.2.1", interface: "eth1" });
      Object.assign(s.lines[1], { gateway: "10.0.2.2", interface: "eth1" });
      s.lines.push({ ...s.lines[1], name: "alone", gateway: "dhcp", interface: "eth2" });
      s.bypass = [{ line: "orange", protocol: "udp", ports: 3074 }];
    }),
  );
  const rulesOf = (name: string) => chains.find((chain) => chain.name === name)!.rules;
  const notOurs = "ip daddr 203.0.113.10 meta mark != { 44289, 44290, 44291 }";
  expect(rulesOf("direct")).toEqual([
    'oifname "eth1" rt ip nexthop 10.0.2.1 ip daddr != 203.0.113.10 counter name direct_ovh',
    `oifname "eth1" rt ip nexthop 10.0.2.1 ${notOurs} counter name direct_ovh`,
    'oifname "eth1" rt ip nexthop 10.0.2.2 ip daddr != 203.0.113.10 counter name direct_orange',
    `oifname "eth1" rt ip nexthop 10.0.2.2 ${notOurs} counter name direct_orange`,
    'oifname "eth2" ip daddr != 203.0.113.10 counter name direct_alone',
    `oifname "eth2" ${notOurs} counter name direct_alone`,
  ]);
  const ours = "ip saddr { 192.168.1.0/24, 172.16.16.0/30 }";
  expect(rulesOf("boxes")).toEqual([
    `${ours} oifname "eth1" ip daddr != 203.0.113.10 masquerade`,
    `${ours} oifname "eth2" ip daddr != 203.0.113.10 masquerade`,
  ]);
  expect(rulesOf("strays")).toHaveLength(4);
  expect(rulesOf("begun")).toEqual([
    'oifname "eth1" rt ip nexthop 10.0.2.1 ip daddr != 203.0.113.10 meta l4proto tcp ct state new ct mark { 0, 44338, 44339 } ct mark set 44337',
    'oifname "eth1" rt ip nexthop 10.0.2.2 ip daddr != 203.0.113.10 meta l4proto tcp ct state new ct mark { 0, 44337, 44339 } ct mark set 44338',
    'oifname "eth2" ip daddr != 203.0.113.10 meta l4proto tcp ct state new ct mark { 0, 44337, 44338 } ct mark set 44339',
  ]);
});

test("without a fallback the last rule leads nowhere; by default main is asked after the bond", () => {
  const rulesOf = (fallback: unknown) => piRoutes(examplePlan((s) => Object.assign(s, { fallback }))).rules;
  expect(rulesOf(false)).toContainEqual({ pref: 31900, table: 21010 });
  expect(piRoutes(examplePlan((s) => (s.fallback = false))).routes).toContain(
    "unreachable default metric 4096 table 21010",
  );
  expect(rulesOf("orange")).toContainEqual({ pref: 31900, table: 21012 });
  expect(rulesOf(true).at(-1)).toEqual({ pref: 31300, table: 21000 });
});

test("what the Pi tells the LAN of a connection stays on the LAN wherever connections have a bond's mark", () => {
  const inside = { pref: 1099, selector: "to 192.168.1.0/24", table: "main" };
  const withForward = examplePlan((s) => (s.forwards = [{ ports: 8080, to: "192.168.1.10" }]));
  expect(piRoutes(withForward).rules).toContainEqual(inside);
  expect(piRoutes(examplePlan(() => {})).rules).not.toContainEqual(inside);
});
