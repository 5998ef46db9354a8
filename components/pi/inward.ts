import { everyServer, type Plan } from "../../site/plan.ts";
import { type FirewallRules, interfaces } from "../firewall.ts";
import { forwardedCalls } from "../forwards.ts";
import { ownInterfaces } from "./boxes.ts";

/**
 * Nobody begins a connection into the LAN from a bond, nor from a line's own interface, on which a box and its own LAN
 * stand: but by a forward of the site's, or where somebody translates the address on the Pi himself. On the LAN's interface
 * boxes and machines can't be told apart.
 */
export function inwardChain(plan: Plan): FirewallRules["chains"][number] {
  const bonds = everyServer(plan).map((each) => each.pi.bond);
  const doors = [...bonds, ...ownInterfaces(plan)];
  return {
    name: "inward",
    hook: "filter hook forward priority filter; policy accept",
    rules: [
      ...forwardedCalls(plan).map((call) => `iifname ${interfaces(bonds)} ${call} accept`),
      // What began before the Pi started, or forgot its connections: a machine that only listens says nothing by which it would be known.
      `iifname ${interfaces(bonds)} ip daddr ${plan.pi.lan} ct state new tcp flags & (fin | syn | rst | ack) == ack accept`,
      `iifname ${interfaces(doors)} ip daddr ${plan.pi.lan} ct state new ct status & dnat == 0 counter drop`,
    ],
  };
}
