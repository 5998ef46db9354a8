import { leavesDirectly } from "../../site/bypass.ts";
import { byDhcp } from "../../site/lineInterface.ts";
import { everyServer, type Plan, type PlannedLine, serverAddresses } from "../../site/plan.ts";
import { hasQueues } from "../../site/shaping.ts";
import { anyOf, type FirewallRules } from "../firewall.ts";

/** The set that holds the hardware address of a line's box, which the gateways script keeps. */
export function boxSet(line: string): string {
  return `box_${line}`;
}

/** The counter of what leaves by a line's box past the tunnels. */
export function directCounter(line: string): string {
  return `direct_${line}`;
}

/** The lines' interfaces that are not the LAN's, each once. */
export function ownInterfaces({ lines, pi }: Pick<Plan, "lines" | "pi">): string[] {
  const devices = lines.map((line) => line.interface).filter((device) => device !== pi.interface);
  return [...new Set(devices)];
}

/**
 * The interfaces, from one to the other, between which the Pi forwards past the bonds: the LAN's to the boxes and back, by which a
 * server's own address is reached in any case, and within the LAN, where boxes stand on it, or a LAN host calls a forwarded port.
 */
export function pastBond(plan: Pick<Plan, "lines" | "pi" | "forwards">): [string, string][] {
  const { lines, pi, forwards } = plan;
  const onLan = forwards.length > 0 || lines.some((line) => line.interface === pi.interface);
  return [
    ...(onLan ? [[pi.interface, pi.interface] satisfies [string, string]] : []),
    ...ownInterfaces(plan).flatMap((door): [string, string][] => [
      [pi.interface, door],
      [door, pi.interface],
    ]),
  ];
}

/**
 * The Pi's dealings with the boxes past the tunnels. A connection that enters by a box is answered through it, whatever
 * route main has to the caller: a box is known by its hardware address. And whatever leaves by a box has an address of the
 * Pi's there: the box answers to nobody else, where it is not on the LAN itself.
 */
export function piBoxes(plan: Plan): Required<FirewallRules> {
  const { lines, pi, bond, direct, shaping } = plan;
  const ours = [pi.lan, bond.network, ...pi.otherNetworks].join(", ");
  const marks = `{ ${lines.map(({ mark }) => mark).join(", ")} }`;
  // What asked for another way than this interface's, and was not answered there.
  const asked = (device: string) => [
    ...everyServer(plan).map(({ bondMark }) => bondMark),
    ...lines.filter((line) => direct.fallback && line.interface !== device).map(({ stayMark }) => stayMark),
  ];
  const elsewhere = notServers(plan);
  const ownDoors = new Set(ownInterfaces(plan));
  // On an interface of its own whatever leaves, be it for a box or for what else stands there.
  const leaving = new Set(
    lines.map((line) => (ownDoors.has(line.interface) ? out(line.interface) : towards(line, plan))),
  );
  const stray = `ip saddr ${pi.lan} ct direction original ct state established ct status & snat == 0`;
  const counted = leavesDirectly(direct) && hasQueues(shaping);
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
          // What answers may be a machine behind the Pi, too, where the operator translates the address here.
          `ct direction reply ct mark ${marks} meta mark set ct mark`,
        ],
      },
      {
        name: "entered",
        hook: "filter hook prerouting priority dstnat + 10; policy accept",
        // A socket that is connected takes its mark from these (tcp_fwmark_accept), and so its very first route.
        rules: [`fib daddr type local ct direction original ct mark ${marks} meta mark set ct mark`],
      },
      {
        name: "box_answers",
        hook: "route hook output priority mangle; policy accept",
        rules: [`meta mark 0 ct direction reply ct mark ${marks} meta mark set ct mark`],
      },
      {
        name: "boxes",
        hook: "nat hook postrouting priority srcnat; policy accept",
        // The servers' addresses are left to whatever led there before: whoever deploys from the LAN keeps his connection while
        // this is loaded, and while destroy takes it away.
        rules: [...leaving].map((way) => `ip saddr { ${ours} } ${way} ${elsewhere} masquerade`),
      },
      ...(ownDoors.size > 0
        ? [
            {
              name: "strays",
              hook: "filter hook forward priority filter; policy accept",
              // What began in the bond, which is dead now: no box off the LAN could answer it. TCP waits (connections.ts).
              // What has only asked, in vain, is reset, so that its program asks anew, under another address.
              rules: [...ownDoors].flatMap((device) => [
                `${out(device)} ${stray} meta l4proto != tcp reject`,
                `${out(device)} ip saddr ${pi.lan} ct state new ct mark ${anyOf(asked(device))} meta l4proto tcp reject with tcp reset`,
              ]),
            },
          ]
        : []),
      ...(counted
        ? [
            {
              name: "direct",
              hook: "filter hook postrouting priority mangle; policy accept",
              // All but the tunnels themselves: what the LAN sends to a server's own address leaves by a box, too.
              rules: lines.flatMap((line) => {
                const way = towards(line, plan);
                const counted = `counter name ${directCounter(line.name)}`;
                return [
                  `${way} ${elsewhere} ${counted}`,
                  `${way} ${servers(plan)} meta mark != ${marks} ${counted}`,
                ];
              }),
            },
          ]
        : []),
    ],
  };
}

/** What is not for a server itself, in nftables' words: its addresses are reached as they were before us. */
export function notServers(plan: Plan): string {
  return `ip daddr != ${anyOf(serverAddresses(plan))}`;
}

function servers(plan: Plan): string {
  return `ip daddr ${anyOf(serverAddresses(plan))}`;
}

/**
 * What leaves by a line's box, in nftables' words: on an interface that no other line has, and that is not the LAN's, all that
 * leaves there. Elsewhere the next hop tells, which DHCP can't have given: it gives an interface one box alone.
 */
export function towards(line: PlannedLine, { lines, pi }: Pick<Plan, "lines" | "pi">): string {
  const { interface: device, gateway } = line;
  const shared =
    device === pi.interface || lines.some((other) => other !== line && other.interface === device);
  return shared && gateway !== byDhcp ? `${out(device)} rt ip nexthop ${gateway}` : out(device);
}

function out(device: string): string {
  return `oifname "${device}"`;
}
