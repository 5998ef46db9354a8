import type { Bypass } from "../../site/bypass.ts";
import type { Plan } from "../../site/plan.ts";
import type { FirewallRules } from "../firewall.ts";

/**
 * The Pi's choice of what leaves past the bond: a connection is chosen by its first packet, and its mark then sends all
 * that follow the same way. What has a mark already is a tunnel's, or came by a bond or a box.
 */
export function piBypass({ direct: { bypass }, pi }: Plan): FirewallRules["chains"] {
  if (bypass.length === 0) return [];
  const marks = `{ ${[...new Set(bypass.map(({ mark }) => mark))].join(", ")} }`;
  const follow = `meta mark 0 ct mark ${marks} meta mark set ct mark`;
  const fresh = "ct state new ct mark 0 meta mark 0 fib daddr type unicast";
  const rules = (some: Bypass[], from: (each: Bypass) => string[]) =>
    some.map((each) => [...from(each), fresh, ...words(each)].join(" "));
  const lan = bypass.filter(({ hosts }) => hosts.length > 0);
  const own = bypass.filter((each) => each.pi);
  const inside = `iifname "${pi.interface}"`;
  const chains = [
    {
      name: "bypass",
      hook: "filter hook prerouting priority mangle; policy accept",
      chosen: rules(lan, ({ hosts }) => [inside, `ip saddr ${oneOf(hosts)}`]),
      // What comes back is marked, too: without a bond and a fallback its sender has no other route (src_valid_mark).
      follow,
    },
    {
      name: "own_bypass",
      hook: "route hook output priority mangle; policy accept",
      chosen: rules(own, () => []),
      follow: `ct direction original ${follow}`,
    },
  ];
  return chains
    .filter(({ chosen }) => chosen.length > 0)
    .map(({ chosen, follow: last, ...chain }) => ({ ...chain, rules: [...chosen, last] }));
}

/** What a choice goes by, and the mark that it gives. */
function words({ protocols, ports, to, dscp, mark }: Bypass): string[] {
  return [
    ...(to.length > 0 ? [`ip daddr ${oneOf(to)}`] : []),
    ...(dscp === undefined ? [] : [`ip dscp ${dscp}`]),
    ...(protocols.length > 0 ? [`meta l4proto ${oneOf(protocols)}`] : []),
    ...(ports.length > 0
      ? [`th dport ${oneOf(ports.map(({ first, last }) => (first === last ? first : `${first}-${last}`)))}`]
      : []),
    `ct mark set ${mark}`,
  ];
}

function oneOf(values: (string | number)[]): string {
  return `{ ${values.join(", ")} }`;
}
