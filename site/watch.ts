import { z } from "zod";
import type { BondMode } from "./bondMode.ts";
import { whole, yesOrNo } from "./fields.ts";

/** Probes a second on each line: a hundred in the ten seconds over which loss is counted. */
export const probesPerSecond = 10;

/** The config's section `watch`. */
export const watch = z
  .strictObject({
    /** Whether lines are watched for the loss of part of their packets, which ARP probes can't see. Default true. */
    enabled: yesOrNo.default(true),
    /** Per cent of packets lost over 10 s, there and back, from which a line is taken out. Default 20. */
    loss: whole(5, 90, "per cent").default(20),
    /** Seconds without loss after which it is used again. Default 60. */
    clean: whole(10, 3600, "seconds").default(60),
  })
  .prefault({});

/** One line as the watch knows it. */
export interface WatchedLine {
  name: string;
  /** Firewall mark by which a probe leaves by the line's own box. */
  mark: number;
  /** The Pi's taps of its tunnels: without their carrier both ends leave the line. */
  taps: string[];
}

/** The watch on the Pi over the lines' loss. */
export interface Watch {
  /** Whether the far end has no ARP probes, as in active-backup, and leaves a line only when its tunnels are silent. */
  silence: boolean;
  loss: number;
  clean: number;
  lines: WatchedLine[];
}

/** The site's watch; undefined when it is not wanted, or there is no other line to go by. */
export function planWatch(
  { enabled, loss, clean }: z.output<typeof watch>,
  mode: BondMode,
  lines: { name: string; mark: number; tunnelPlans: { piTap: string }[] }[],
): Watch | undefined {
  if (!enabled || lines.length < 2) return undefined;
  return {
    silence: mode === "active-backup",
    loss,
    clean,
    lines: lines.map(({ name, mark, tunnelPlans }) => ({
      name,
      mark,
      taps: tunnelPlans.map(({ piTap }) => piTap),
    })),
  };
}
