import { everyServer, type Plan, type PlannedLine } from "../../site/plan.ts";
import { anyOf, type FirewallRules, interfaces } from "../firewall.ts";
import { ownInterfaces } from "./boxes.ts";
import { staying } from "./stays.ts";

/** The set of the marks of bonds that are dead for good: hangup.pl keeps it. */
export const deadBonds = "dead";

/** Whether what belongs to a bond's connection has another way than that bond, which would be its end. */
export function canStray({ backups, direct }: Pick<Plan, "backups" | "direct">): boolean {
  return backups.length > 0 || direct.fallback !== undefined;
}

/**
 * What keeps a connection on the bond it began on: the connection has the bond's mark, and by that mark its packets
 * have a rule of their own, which gives way where the bond has no live slave. With one bond only answers need it: they
 * leave by the bond that the call came in by, whatever route main has to the caller. With several it is what makes a server's
 * return calm: what went over to a backup ends there. Nothing but marks of bonds is ever changed.
 */
export function connectionChains(plan: Plan): FirewallRules["chains"] {
  const all = everyServer(plan);
  if (!canStray(plan) && plan.forwards.length === 0) return [];
  const notBonds = `iifname != ${interfaces(all.map(({ pi }) => pi.bond))}`;
  const only = all.length === 1 ? "ct direction reply " : "";
  const marked = all.map(({ bondMark }) => `${only}ct mark ${bondMark} meta mark set ${bondMark}`);
  return [
    {
      name: "marks",
      hook: "filter hook prerouting priority mangle; policy accept",
      rules: [
        ...all.map(({ pi, bondMark }) => `iifname "${pi.bond}" ct state new ct mark set ${bondMark}`),
        ...marked.map((rule) => `${notBonds} ${rule}`),
      ],
    },
    { name: "answers", hook: "route hook output priority mangle; policy accept", rules: marked },
    ...(canStray(plan) ? failoverChains(all, notBonds, staying(plan)) : []),
  ];
}

/**
 * Where a connection's bond is dead its packets come to another one, or to a box. Nobody there can go on with TCP, nor with
 * the answers to a call that came in elsewhere: those stop here, and TCP is reset as soon as the bond counts as
 * dead (hangup.pl), for it may only be without a line for a moment. All else, and TCP that begins, goes on by the other way.
 */
function failoverChains(
  [main, ...backups]: Plan[],
  notBonds: string,
  stays: PlannedLine[],
): FirewallRules["chains"] {
  const all = [main!, ...backups];
  // What is told to others behind the Pi, as to a container there, is no stray.
  const doors = [...all.map(({ pi }) => pi.bond), main!.pi.interface, ...ownInterfaces(main!)];
  const ways = `oifname ${interfaces(doors)}`;
  // The Pi's own word to the LAN, that a packet was too large say, belongs to the connection too.
  const outward = `ip daddr != ${main!.pi.lan}`;
  const stray = all.flatMap(({ bondMark, pi }) => {
    // The way that was chosen at last: in output the interface may still be that of the first choice.
    const astray = `${outward} ct mark ${bondMark} rt ip nexthop != ${pi.peerAddress}`;
    const begun = "tcp flags & (syn | ack) != syn";
    return [
      `${astray} ${begun} ct mark @${deadBonds} counter reject with tcp reset`,
      `${astray} ${begun} drop`,
      `${astray} ct direction reply drop`,
    ];
  });
  return [
    {
      name: "stray",
      hook: "filter hook forward priority filter; policy accept",
      rules: stray.map((rule) => `${notBonds} ${ways} ${rule}`),
    },
    {
      name: "own_stray",
      hook: "filter hook output priority filter; policy accept",
      // The reset itself goes by the loopback.
      rules: stray.map((rule) => `${ways} ${rule}`),
    },
    {
      name: "leaving",
      hook: "filter hook postrouting priority mangle; policy accept",
      rules: all.map(({ pi, bondMark }) => {
        const others = all.map((each) => each.bondMark).filter((mark) => mark !== bondMark);
        // A box's may be here whom no box ever answered.
        const asked = stays.map(({ stayMark }) => stayMark);
        return `oifname "${pi.bond}" ct direction original ct mark ${anyOf([0, ...others, ...asked])} ct mark set ${bondMark}`;
      }),
    },
  ];
}
