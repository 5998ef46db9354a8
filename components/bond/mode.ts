import type { Plan } from "../../site/plan.ts";

/** How one mode of bonding is made and watched. */
interface Mode {
  /** What it does with packets, in the words of the script's head. */
  does: string;
  /** Why its tunnels are watched as they are: comment lines. */
  why: string[];
  /** The words after `type bond`. */
  options: string;
}

/** The bond's mode in iproute2's words. */
export function bondMode({ mode, hashPolicy, arpInterval, arpMissed }: Plan["bond"], peer: string): Mode {
  const probes = {
    why: [
      "ARP probes to the far end watch each slave: a tap's carrier alone tells nothing of the line under it.",
      "arp_validate stays none: with balance-rr a validated slave never comes up.",
    ],
    options: `arp_interval ${arpInterval} arp_ip_target ${peer} arp_missed_max ${arpMissed}`,
  };
  switch (mode) {
    case "balance-rr":
      return {
        does: "balance-rr sends one packet over each in turn",
        why: probes.why,
        options: `mode balance-rr ${probes.options}`,
      };
    case "balance-xor":
      return {
        does: `balance-xor gives each ${flowOf[hashPolicy]} one of them`,
        why: probes.why,
        options: `mode balance-xor xmit_hash_policy ${hashPolicy} ${probes.options}`,
      };
    case "active-backup":
      return {
        does: "active-backup sends everything over the first that works",
        why: [
          "An idle tap gets no ARP, so carrier is watched: OpenVPN's keepalive closes the tap of a dead line, idle or",
          "not, and takes its carrier. One that opens is used a second later, when the far end has opened it too.",
          "For a moment the two ends may use different taps: what comes by the other is taken as well.",
        ],
        options: "mode active-backup miimon 100 updelay 1000 all_slaves_active 1",
      };
  }
}

/** What a hash tells apart, and so what stays on one line. */
const flowOf = {
  layer2: "pair of MAC addresses",
  "layer2+3": "pair of IP addresses",
  "layer3+4": "connection",
};
