import { z } from "zod";
import { arpIntervalOf, type BondMode } from "./bondMode.ts";
import { yesOrNo } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import {
  cellPayload,
  type Encapsulation,
  encapsulationOf,
  encapsulations,
  fragmentHeader,
  lineBytes,
  segmentHeaders,
  tunnelOverhead,
} from "./mtu.ts";
import { highestRate, parseRate } from "./rate.ts";
import { asRecord, asRecords, type Raw } from "./raw.ts";
import { probesPerSecond } from "./watch.ts";

/** What the shaper has to know of a line. */
export interface ShapedLine {
  /** Rates as the box shows them, kbit/s. */
  down: number;
  up: number;
  encapsulation: Encapsulation;
  tunnels: number;
  protocol?: "udp" | "tcp";
  fragment?: boolean;
  /** Idle round trip, ms. */
  latency?: number;
}

/** The traffic that passes the shaper by on every line: its watchers'. */
export interface Watchers {
  /** Milliseconds between two ARP probes of the bond on each tunnel; Infinity in a mode that has none. */
  arpInterval: number;
  /** Probes of the loss watch a second on each line. */
  probesPerSecond: number;
  /** Bonds over the lines, one a server: each has its own ARP probes on tunnels of its own. Default 1. */
  bonds?: number;
}

/** Bytes of an ARP packet for IPv4 (RFC 826), and of an empty ICMP echo request. */
const arpBytes = 28;
export const echoBytes = 28;

const share = z.custom<number>((value) => typeof value === "number" && value >= 0.5 && value <= 1, {
  params: {
    reason: "must be a number from 0.5 to 1",
    mend: "Write the part of the lines' rate that is to be used, without quotes: 0.95 for 95 %.",
  },
});

/** The config's section `qos`. */
export const qos = z
  .strictObject({
    /** Whether packets queue at the bond, where they can be put in order, and not in the boxes. Default true. */
    enabled: yesOrNo.default(true),
    /** Part of the rate that the lines carry, 0.5 to 1: what is left keeps the boxes' own queues empty. Default 0.995. */
    share: share.default(0.995),
  })
  .prefault({});

/**
 * What one tunnel of a line carries besides its watchers, bit/s: an equal share of the line, less the bond's
 * ARP probes, which pass the shaper by. Each end sends a probe an interval, and an answer to each of the far end's.
 */
export function tunnelRate(line: ShapedLine, direction: "up" | "down", watchers: Watchers): number {
  const { encapsulation, tunnels } = line;
  const { bonds = 1 } = watchers;
  const bits = (ipBytes: number) => 8 * lineBytes(encapsulation, ipBytes);
  const arp = (bonds * 2 * 1000 * bits(arpBytes + around(line))) / watchers.arpInterval;
  const echo = watchers.probesPerSecond * bits(echoBytes);
  return (line[direction] * 1000 - echo) / tunnels - arp;
}

/**
 * How tc-cake(8) is to count a packet of the bond. Which line it will travel by is not known yet: where they
 * differ it is counted as on the dearest, so that none is overfilled.
 */
export function framing(lines: Pick<ShapedLine, "encapsulation" | "protocol" | "fragment">[]): string {
  const overhead = Math.max(
    ...lines.map((line) => around(line) + encapsulations[line.encapsulation].overhead + secondSegment(line)),
  );
  const cells = lines.some(({ encapsulation }) => encapsulations[encapsulation].cells);
  return `${cells ? "atm" : "noatm"} overhead ${overhead}`;
}

/**
 * A full packet is more than one segment of a tunnel over TCP holds: the rest goes in a second one, with headers of its own, and
 * a last cell of its own that is half empty on average. (tc takes no overhead beyond 256 bytes.)
 */
function secondSegment({ protocol, encapsulation }: Pick<ShapedLine, "protocol" | "encapsulation">): number {
  if (protocol !== "tcp") return 0;
  const { overhead, cells } = encapsulations[encapsulation];
  return segmentHeaders + overhead + (cells ? cellPayload / 2 : 0);
}

/** Bytes around an inner IP packet: TCP's header with timestamps is 24 longer than UDP's, and OpenVPN adds a length of 2. */
function around({ protocol, fragment }: Pick<ShapedLine, "protocol" | "fragment">): number {
  return tunnelOverhead + (fragment ? fragmentHeader : 0) + (protocol === "tcp" ? 26 : 0);
}

/** One tap of an end, as the shaper's script reads it. */
export interface TapShare {
  tap: string;
  /** What its tunnel may carry away from this end, bit/s. */
  rate: number;
  /** How cake counts a packet; undefined when only latencies are made equal. */
  framing: string | undefined;
  /** Half of its line's round trip, µs: the tap of a faster line waits for the slowest. 0 where none is known. */
  oneWay: number;
}

/**
 * Where packets queue: at the bond, at what all live slaves carry, or the active one alone; or at each slave, at what
 * that one carries, where the bond gives them no equal shares.
 */
export type QueuesAt = "bond" | "activeSlave" | "eachSlave";

const queuesAt = {
  "balance-rr": "bond",
  "active-backup": "activeSlave",
  "balance-xor": "eachSlave",
} as const satisfies Record<BondMode, QueuesAt>;

/** The queues at both ends. */
export interface Shaping {
  at: QueuesAt;
  pi: TapShare[];
  server: TapShare[];
}

/** The site's queues; undefined when none is wanted. */
export function planShaping(
  { enabled, share: part }: z.output<typeof qos>,
  mode: BondMode,
  lines: (ShapedLine & { tunnelPlans: { piTap: string; serverTap: string }[] })[],
  { arpInterval, bonds = 1, probesPerSecond }: Watchers,
): Shaping | undefined {
  const at = queuesAt[mode];
  const watchers = {
    arpInterval: betweenProbes(mode, arpInterval),
    // ARP probes pass a bond's queue by. They wait in a slave's own, where they are counted with the rest, but for other bonds'.
    bonds: at === "eachSlave" ? bonds - 1 : bonds,
    probesPerSecond,
  };
  const unequal = at === "bond" && new Set(lines.map(({ latency }) => latency)).size > 1;
  if (!enabled && !unequal) return undefined;
  const taps = (end: "piTap" | "serverTap", direction: "up" | "down"): TapShare[] =>
    lines.flatMap((line) =>
      line.tunnelPlans.map((tunnel) => ({
        tap: tunnel[end],
        rate: Math.round(part * tunnelRate(line, direction, watchers)),
        framing: enabled ? framing(at === "eachSlave" ? [line] : lines) : undefined,
        oneWay: unequal ? Math.round((line.latency ?? 0) * 500) : 0,
      })),
    );
  return {
    at,
    pi: taps("piTap", "up"),
    server: taps("serverTap", "down"),
  };
}

/** Whether there are queues, and not delays alone. */
export function hasQueues(shaping: Shaping | undefined): shaping is Shaping {
  return shaping?.pi[0]?.framing !== undefined;
}

/** Milliseconds between two ARP probes in a mode: Infinity in active-backup, which has none. */
function betweenProbes(mode: unknown, arpInterval: number): number {
  return mode === "active-backup" ? Number.POSITIVE_INFINITY : arpInterval;
}

/** The mistakes of lines' rates and latencies that show only beside other fields. */
export function shapingContradictions(site: Raw, lines: Raw[], bond: Raw): Mistake[] {
  return [...latencies(lines), ...tooSlow(site, lines, bond), ...tooFast(lines)];
}

/** Beyond it no line has ATM cells: ADSL2+ ends at 24 Mbit/s (ITU-T G.992.5), VDSL at some 50. kbit/s. */
const fastestAtm = 60_000;

/** A line of cells that is faster than any: another unit was meant, or another encapsulation. */
function tooFast(lines: Raw[]): Mistake[] {
  return lines.flatMap((line, index) => {
    const encapsulation = encapsulationOf(line);
    if (!encapsulation || !encapsulations[encapsulation].cells) return [];
    return (["down", "up"] as const).flatMap((direction) => {
      const rate = parseRate(line[direction]);
      if (!rate || rate <= fastestAtm || rate > highestRate) return [];
      const reason = `is more than a line with the encapsulation ${encapsulation} carries, an ADSL's`;
      const mend =
        "Correct the unit; for fibre, cable or VDSL write `encapsulation: ethernet`, with PPPoE `pppoe-ethernet`.";
      return [{ path: `lines[${index}].${direction}`, value: line[direction], reason, mend }];
    });
  });
}

function latencies(lines: Raw[]): Mistake[] {
  if (lines.every(({ latency }) => latency === undefined)) return [];
  return lines.flatMap(({ latency }, index) => {
    if (latency !== undefined) return [];
    const reason = "other lines have theirs, and packets can only be delayed to match where all are known";
    const mend = "Measure it (ping through the box alone), or leave it out of all lines.";
    return [{ path: `lines[${index}].latency`, value: latency, reason, mend }];
  });
}

/** A tunnel that its ARP probes fill by more than half is no use, nor one to which the watch leaves next to nothing. */
function tooSlow({ backups, watch }: Raw, lines: Raw[], bond: Raw): Mistake[] {
  const arpInterval = betweenProbes(bond.mode, arpIntervalOf(bond));
  const bonds = 1 + asRecords(backups).length;
  const watched = lines.length > 1 && asRecord(watch).enabled !== false;
  return lines.flatMap((line, index) =>
    (["down", "up"] as const).flatMap((direction) => {
      const rate = parseRate(line[direction]);
      const encapsulation = encapsulationOf(line);
      const tunnels = line.tunnels ?? 1;
      if (!rate || !encapsulation || typeof tunnels !== "number" || tunnels < 1 || tunnels > 8) return [];
      const known = { down: rate, up: rate, encapsulation, tunnels };
      const left = tunnelRate(known, direction, { arpInterval, probesPerSecond: 0, bonds });
      const each = (rate * 1000) / tunnels;
      const at = { path: `lines[${index}].${direction}`, value: line[direction] };
      const carries = left >= each / 2;
      if (!carries) {
        const reason = `the ARP probes of ${tunnels === 1 ? "its tunnel" : `its ${tunnels} tunnels`} alone take ${((each - left) / 1000).toFixed(1)} kbit/s of each tunnel's share`;
        const mend = "Write the line's true rate, give it fewer tunnels, or raise bond.arpInterval.";
        return [{ ...at, reason, mend }];
      }
      const protocol = line.protocol === "tcp" ? "tcp" : "udp";
      const headers = { protocol, fragment: line.fragment === true } as const;
      const watchers = { arpInterval, probesPerSecond, bonds };
      if (!watched || tunnelRate({ ...known, ...headers }, direction, watchers) >= each / 10) return [];
      const reason = "the pings of the watch, and ARP probes if any, leave next to nothing of it";
      const mend = "Write the line's true rate, or set watch.enabled to false.";
      return [{ ...at, reason, mend }];
    }),
  );
}
