import type { Plan } from "../../site/plan.ts";
import { clampSegments, type FirewallRules } from "../firewall.ts";

/** The server's rules: the site leaves under the server's address, and nobody begins a connection into it. */
export function serverFirewall({ pi, server, bond }: Plan): FirewallRules {
  return {
    chains: [
      {
        name: "forward",
        hook: "filter hook forward priority filter; policy accept",
        rules: [
          clampSegments(server.bond, bond.segment),
          `oifname "${server.bond}" ct state new counter drop`,
        ],
      },
      {
        name: "postrouting",
        hook: "nat hook postrouting priority srcnat; policy accept",
        rules: [`ip saddr { ${pi.lan}, ${bond.network} } oifname != "${server.bond}" masquerade`],
      },
    ],
  };
}
