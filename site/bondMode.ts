import { choice, whole } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import type { Raw } from "./raw.ts";

/** The bonding modes of the kernel that serve over tunnels; docs/reference.md says what each is for. */
export const bondModes = ["balance-rr", "balance-xor", "active-backup"] as const;
export type BondMode = (typeof bondModes)[number];

/** What balance-xor takes a packet's tunnel from (kernel: Documentation/networking/bonding). */
export const hashPolicies = ["layer2", "layer2+3", "layer3+4"] as const;
export type HashPolicy = (typeof hashPolicies)[number];

/** Used where a site of balance-xor names none: the only one that tells two connections of one host apart. */
const defaultPolicy: HashPolicy = "layer3+4";
/** Probes that may go missing before a tunnel counts as dead: the kernel's own default. */
const defaultMissed = 2;
const defaultInterval = 100;
const arpInterval = whole(20, 1000, "milliseconds").default(defaultInterval);

/** The interval of a config that may have mistakes, milliseconds: the default where it is none. */
export function arpIntervalOf({ arpInterval: given }: Raw): number {
  return arpInterval.safeParse(given).data ?? defaultInterval;
}

/** The fields of `bond` that say how it spreads packets and watches its tunnels. */
export const bondModeFields = {
  /** How packets are spread over the tunnels. Default balance-rr. */
  mode: choice(
    bondModes,
    "Write balance-rr, unless docs/reference.md gives you a reason for another.",
  ).default("balance-rr"),
  /** What balance-xor chooses the tunnel by. Default layer3+4. */
  hashPolicy: choice(hashPolicies, "Write layer3+4: it spreads most.").optional(),
  /** Time between two ARP probes on each tunnel, milliseconds. Default 100. */
  arpInterval,
  /** Intervals without an answer after which a tunnel is out (the kernel's arp_missed_max). Default 2. */
  arpMissed: whole(1, 255, "probes").default(defaultMissed),
};

/** How the bond spreads packets, with the hash that goes with it. */
export function planMode(bond: { mode: BondMode; hashPolicy?: HashPolicy | undefined }) {
  return { mode: bond.mode, hashPolicy: bond.hashPolicy ?? defaultPolicy };
}

/** Fields of the bond that its mode leaves without a meaning. */
export function modeContradictions({ mode = "balance-rr", ...bond }: Raw, lines: Raw[]): Mistake[] {
  const mistakes: Mistake[] = [];
  if (!bondModes.some((each) => each === mode)) return mistakes;
  if (bond.hashPolicy !== undefined && mode !== "balance-xor") {
    mistakes.push({
      path: "bond.hashPolicy",
      value: bond.hashPolicy,
      reason: `has no meaning in the mode ${mode}`,
      mend: "Take it out, or write `mode: balance-xor`.",
    });
  }
  if (mode !== "active-backup") return mistakes;
  for (const field of ["arpInterval", "arpMissed"]) {
    if (bond[field] === undefined) continue;
    mistakes.push({
      path: `bond.${field}`,
      value: bond[field],
      reason: "has no meaning in the mode active-backup, whose idle tunnels carry no ARP",
      mend: "Take it out: there vpn.keepalive alone says when a tunnel is dead.",
    });
  }
  lines.forEach(({ tunnels }, index) => {
    if (typeof tunnels !== "number" || tunnels <= 1) return;
    mistakes.push({
      path: `lines[${index}].tunnels`,
      value: tunnels,
      reason: "is more than active-backup can use: one tunnel at a time carries everything",
      mend: "Write 1, or choose another bond.mode.",
    });
  });
  return mistakes;
}
