import type { Plan, PlannedLine } from "../../site/plan.ts";
import { anyOf, type FirewallRules } from "../firewall.ts";
import { notServers, towards } from "./boxes.ts";

/** The lines by whose boxes traffic may leave while the bond is dead. */
export function staying({ lines, direct }: Pick<Plan, "lines" | "direct">): PlannedLine[] {
  return direct.fallback ? lines : [];
}

/**
 * TCP that began by a box while the bond was dead stays there when the bond is back: the far end knows it by the box's address,
 * and a download whose acknowledgements went by the bond would wait for ever. Everything else goes over with its next packet.
 */
export function stayChains(plan: Plan): FirewallRules["chains"] {
  const lines = staying(plan);
  if (lines.length === 0) return [];
  // Who was never answered may ask elsewhere: that box may be the dead one.
  const follow = `ct status seen-reply ct mark { ${lines.map(({ stayMark }) => stayMark).join(", ")} } meta mark set ct mark`;
  return [
    {
      name: "begun",
      hook: "filter hook postrouting priority mangle; policy accept",
      rules: lines.map((line) => {
        const others = lines.filter((other) => other !== line).map(({ stayMark }) => stayMark);
        return `${towards(line, plan)} ${notServers(plan)} meta l4proto tcp ct state new ct mark ${anyOf([0, ...others])} ct mark set ${line.stayMark}`;
      }),
    },
    {
      name: "stays",
      hook: "filter hook prerouting priority mangle; policy accept",
      rules: [`meta mark 0 ${follow}`],
    },
    {
      name: "own_stays",
      hook: "route hook output priority mangle; policy accept",
      rules: [`meta mark 0 ct direction original ${follow}`],
    },
  ];
}
