import { byDhcp } from "../../site/lineInterface.ts";
import { everyServer, type Plan, type PlannedLine } from "../../site/plan.ts";
import type { FirewallRules } from "../firewall.ts";

/** The set that holds the hardware address of a line's box, which the gateways script keeps. */
export function boxSet(line: string): string {
  return `box_${line}`;
}

/** The counter of what leaves by a line's box past the tunnels. */
export function directCounter(line: string): string {
  return `direct_${line}`;
}

/**
 * The Pi's dealings with the boxes past the tunnels. A connection that enters by a box is answered through it, whatever
 * route main has to the caller: a box is known by its hardware address. And whatever leaves by a box has an address of the
 * Pi's there: the box answers to nobody else, where it is not on the LAN itself.
 */
export function piBoxes(plan: Plan): Required<FirewallRules> {
  const { lines, pi, bond, direct, shaping } = plan;
  const servers = everyServer(plan).map(({ server }) => server.address);
  const others = servers.length === 1 ? servers[0] : `{ ${servers.join(", ")} }`;
  const own = [pi.lan, bond.network, ...pi.otherNetworks].join(", ");
  const marks = `{ ${lines.map(({ mark }) => mark).join(", ")} }`;
  const towards = (line: PlannedLine) => `${boxIs(line, pi.interface)} ip daddr != ${others}`;
  const counted = direct.bypass.length > 0 && shaping?.framing !== undefined;
  return {
    objects: [
      ...lines.map(({ name }) => `set ${boxSet(name)} { type ether_addr; }`),
      ...(counted ? lines.map(({ name }) => `counter ${directCounter(name)} { }`) : []),
    ],
    chains: [
      {
        name: "entering",
        hook: "filter hook prerouting priority mangle; policy accept",
        rules: [
          ...lines.map(
            ({ name, interface: device, mark }) =>
              `iifname "${device}" ether saddr @${boxSet(name)} ip saddr != ${pi.lan} fib daddr type local ct state new ct mark 0 ct mark set ${mark}`,
          ),
          // A socket that is connected takes its mark from these (tcp_fwmark_accept), and so its very first route.
          `fib daddr type local ct direction original ct mark ${marks} meta mark set ct mark`,
        ],
      },
      {
        name: "box_answers",
        hook: "route hook output priority mangle; policy accept",
        rules: [`meta mark 0 ct direction reply ct mark ${marks} meta mark set ct mark`],
      },
      {
        name: "boxes",
        hook: "nat hook postrouting priority srcnat; policy accept",
        // The servers' own addresses stay out of it: whoever deploys from the LAN keeps his connection while this is loaded.
        rules: lines.map((line) => `ip saddr { ${own} } ${towards(line)} masquerade`),
      },
      ...(counted
        ? [
            {
              name: "direct",
              hook: "filter hook postrouting priority mangle; policy accept",
              rules: lines.map((line) => `${towards(line)} counter name ${directCounter(line.name)}`),
            },
          ]
        : []),
    ],
  };
}

/** What leaves by a line's box, in nftables' words: on an interface of its own that is all. */
function boxIs({ interface: device, gateway }: PlannedLine, lan: string): string {
  const shared = device === lan && gateway !== byDhcp;
  return `oifname "${device}"${shared ? ` rt ip nexthop ${gateway}` : ""}`;
}
