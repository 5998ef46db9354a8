import type { Plan } from "../../site/plan.ts";
import { clampSegments, type FirewallRules, unplacedResets } from "../firewall.ts";
import { serverForwards } from "../forwards.ts";
import { tunnelSources } from "./sources.ts";

/** The server's rules: the site leaves under the server's address, and nobody begins a connection into it but by a forward. */
export function serverFirewall(plan: Plan): FirewallRules {
  const { pi, server, bond, vpn } = plan;
  // Of several addresses the kernel would take its interface's first one.
  const under = vpn.bind ? `snat ip to ${vpn.bind}` : "masquerade";
  const inside = [pi.lan, bond.network, ...pi.otherNetworks];
  const { chains, accepts } = serverForwards(plan);
  const sources = tunnelSources(plan);
  return {
    objects: sources.objects,
    chains: [
      ...chains,
      ...sources.chains,
      {
        name: "forward",
        hook: "filter hook forward priority filter; policy accept",
        rules: [
          clampSegments(server.bond, bond.segment),
          ...accepts,
          `oifname "${server.bond}" ct state new counter drop`,
          // It would not be translated, and leave under an address that is none out there.
          `iifname "${server.bond}" ct state invalid counter drop`,
        ],
      },
      unplacedResets,
      {
        name: "postrouting",
        hook: "nat hook postrouting priority srcnat; policy accept",
        rules: [`ip saddr { ${inside.join(", ")} } oifname != "${server.bond}" ${under}`],
      },
    ],
  };
}

/** The tunnels; and pings, through the bond by each check, and from each line's box by the watch over its loss. */
export function askedOfServer({ lines }: Plan): string[] {
  const ports = lines.flatMap(({ protocol, tunnelPlans }) =>
    tunnelPlans.map(({ port }) => `${protocol} dport ${port}`),
  );
  return [...ports, "ip protocol icmp"];
}
