import type { Plan } from "../../site/plan.ts";
import { clampSegments, type FirewallRules } from "../firewall.ts";
import { serverForwards } from "../forwards.ts";

/** The server's rules: the site leaves under the server's address, and nobody begins a connection into it but by a forward. */
export function serverFirewall(plan: Plan): FirewallRules {
  const { pi, server, bond } = plan;
  const inside = [pi.lan, bond.network, ...pi.otherNetworks];
  const { chains, accepts } = serverForwards(plan);
  return {
    chains: [
      ...chains,
      ...tunnelSources(plan),
      {
        name: "forward",
        hook: "filter hook forward priority filter; policy accept",
        rules: [
          clampSegments(server.bond, bond.segment),
          ...accepts,
          `oifname "${server.bond}" ct state new counter drop`,
        ],
      },
      {
        name: "postrouting",
        hook: "nat hook postrouting priority srcnat; policy accept",
        rules: [`ip saddr { ${inside.join(", ")} } oifname != "${server.bond}" masquerade`],
      },
    ],
  };
}

/** Where the site's tunnels come from known addresses only, nobody else gets as far as OpenVPN. */
function tunnelSources({ lines, vpn }: Plan): FirewallRules["chains"] {
  const { sources } = vpn;
  if (!sources) return [];
  const rules = (["udp", "tcp"] as const).flatMap((protocol) => {
    const of = lines.filter((line) => line.protocol === protocol);
    const ports = of.flatMap(({ tunnelPlans }) => tunnelPlans.map(({ port }) => port));
    if (ports.length === 0) return [];
    const match = `${protocol} dport { ${ports.join(", ")} }`;
    return [...sources.map((source) => `${match} ip saddr ${source} accept`), `${match} counter drop`];
  });
  return [{ name: "sources", hook: "filter hook input priority filter; policy accept", rules }];
}
