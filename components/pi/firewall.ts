import type { Plan } from "../../site/plan.ts";
import { clampSegments, type FirewallRules } from "../firewall.ts";
import { piForwards } from "../forwards.ts";
import { piBoxes } from "./boxes.ts";
import { piBypass } from "./bypass.ts";

/** The Pi's rules: tunnel packets that lost their mark would travel by another's box, so they are dropped. */
export function piFirewall(plan: Plan): FirewallRules {
  const { lines, pi, server, bond } = plan;
  const boxes = piBoxes(plan);
  return {
    objects: boxes.objects,
    chains: [
      {
        name: "tunnels",
        hook: "filter hook output priority filter; policy accept",
        rules: lines.flatMap(({ tunnelPlans, mark, protocol }) =>
          tunnelPlans.map(
            ({ port }) =>
              `ip daddr ${server.address} ${protocol} dport ${port} meta mark != ${mark} counter drop`,
          ),
        ),
      },
      {
        name: "forward",
        hook: "filter hook forward priority mangle; policy accept",
        rules: [clampSegments(pi.bond, bond.segment)],
      },
      ...piForwards(plan),
      ...boxes.chains,
      ...piBypass(plan),
    ],
  };
}
