import { everyServer, type Plan } from "../../site/plan.ts";
import { clampSegments, type FirewallRules, unplacedResets } from "../firewall.ts";
import { callsOf, piForwards } from "../forwards.ts";
import { piBoxes } from "./boxes.ts";
import { piBypass } from "./bypass.ts";
import { canStray, connectionChains, deadBonds } from "./connections.ts";
import { inwardChain } from "./inward.ts";
import { stayChains } from "./stays.ts";

/** The Pi's rules: tunnel packets that lost their mark would travel by another's box, so they are dropped. */
export function piFirewall(plan: Plan): FirewallRules {
  const all = everyServer(plan);
  const boxes = piBoxes(plan);
  const silenced = plan.watch?.silence === true;
  return {
    objects: [
      ...(canStray(plan) ? [`set ${deadBonds} { type mark; }`] : []),
      ...(silenced ? ["set lossy { type mark; }"] : []),
      ...boxes.objects,
    ],
    chains: [
      {
        name: "tunnels",
        hook: "filter hook output priority filter; policy accept",
        rules: all.flatMap(({ lines, server }) =>
          lines.flatMap(({ tunnelPlans, mark, protocol }) =>
            tunnelPlans.flatMap(({ port }) => {
              const leaving = `ip daddr ${server.address} ${protocol} dport ${port}`;
              return [
                `${leaving} meta mark != ${mark} counter drop`,
                // Of a line that the watch has taken out.
                ...(silenced ? [`${leaving} meta mark @lossy counter drop`] : []),
              ];
            }),
          ),
        ),
      },
      {
        name: "forward",
        hook: "filter hook forward priority mangle; policy accept",
        rules: all.map(({ pi, bond }) => clampSegments(pi.bond, bond.segment)),
      },
      // The Pi itself learns the bond's MTU, but not what a line would have to cut.
      ...(plan.bond.segment
        ? [
            {
              name: "own_segments",
              hook: "filter hook output priority mangle; policy accept",
              rules: all.map(({ pi, bond }) => clampSegments(pi.bond, bond.segment)),
            },
          ]
        : []),
      ...connectionChains(plan),
      ...piForwards(plan),
      ...boxes.chains,
      inwardChain(plan),
      ...piBypass(plan),
      ...stayChains(plan),
      unplacedResets,
    ],
  };
}

/** Pings by the far ends; calls that are forwarded to the Pi, a LAN host's too; and what the LAN asks of dnsmasq. */
export function askedOfPi(plan: Plan): string[] {
  const { pi, lan } = plan;
  const bonds = everyServer(plan).map((each) => each.pi.bond);
  const own = plan.forwards.filter(({ host }) => host === undefined).flatMap(callsOf);
  const services = lan ? ["udp dport 53", "tcp dport 53", ...(lan.dhcp ? ["udp dport 67"] : [])] : [];
  return [
    ...bonds.flatMap((bond) => ["ip protocol icmp", ...own].map((match) => `iifname "${bond}" ${match}`)),
    ...own.map((match) => `iifname "${pi.interface}" ip saddr ${pi.lan} ${match}`),
    ...services.map((match) => `iifname "${pi.interface}" ${match}`),
  ];
}
