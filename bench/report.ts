import type { Measured, Ping, Site } from "../lab/index.ts";
import type { Failover } from "./failover.ts";

/** What is measured: the lines alone, this program's deployment, the how-to's settings. */
export const setups = {
  lines: "each line alone",
  program: "this program, stack dev",
  howto: "the how-to's settings",
} as const;

export type Setup = keyof typeof setups;

/** All figures of one set-up. */
export type Figures = {
  /** The kernel and OpenVPN at each end, as they say themselves. */
  kernel: string;
  openvpn: Record<string, string>;
  /** By the way: a line's name, or "bond". */
  ways: Record<string, { idle: Ping; down: Measured[]; up: Measured[] }>;
  failovers: Failover[];
};

export type Results = Partial<Record<Setup, Figures>>;

/** What the report says of the bench itself. */
export type Circumstances = { site: Site; clock: string; bytes: { down: number; up: number } };

/** The middle one of some numbers, or the mean of the middle two. */
export function median(values: number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** `median (min to max)`, or the one number there is. */
function spread(values: number[], digits: number): string {
  if (values.length === 0) return "-";
  const text = (value: number) => value.toFixed(digits);
  const [middle, low, high] = [median(values), Math.min(...values), Math.max(...values)].map(text);
  return low === high ? middle! : `${middle} (${low} to ${high})`;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** The report in Markdown: every figure in it comes from the results. */
export function renderReport(results: Results, { site, clock, bytes }: Circumstances): string {
  const present = Object.entries(results) as [Setup, Figures][];
  const any = present[0]![1];
  const versions = present.flatMap(([, { openvpn }]) => Object.values(openvpn));
  const lines = site.lines.map(
    ({ name, down, up, rtt, queue }) =>
      `${name} ${down}/${up} kbit/s (ATM) with ${rtt} ms and a queue of ${queue} packets`,
  );
  const runs = present.map(([setup, { ways, failovers }]) => {
    const each = Object.values(ways).flatMap(({ down, up }) => [down.length, up.length]);
    const cuts = failovers.length > 0 ? `, ${failovers.length} of each cut` : "";
    return `${setups[setup]}: ${Math.min(...each)}${cuts}`;
  });
  return `# Figures of the bench

Written by \`npm run bench\` from what it measured in the lab; figures are the median (lowest to highest).

- Clock: ${clock}. Kernel: ${any.kernel}. OpenVPN: ${[...new Set(versions)].join(", ")}.
- Lines: ${lines.join("; ")}.
- One TCP connection between the LAN's client and the far machine: ${bytes.down / 1e6} MB down, ${bytes.up / 1e6} MB up.
- Rates are of TCP payload, from before the connection to the last byte. The ping alongside goes 5 times a second; its
  average is the median of the runs' averages, its maximum that of all runs. The idle ping is of 50.
- Repetitions: ${runs.join("; ")}.

${(["down", "up"] as const).map((direction) => transfers(results, site, direction)).join("\n\n")}

## Idle ping

${table(
  ["set-up", "way", "average ms", "max ms", "lost"],
  present.flatMap(([setup, { ways }]) =>
    Object.entries(ways).map(([way, { idle }]) => [
      setups[setup],
      way,
      idle.avgMs.toFixed(1),
      idle.maxMs.toFixed(1),
      `${idle.lost} of ${idle.sent}`,
    ]),
  ),
)}

${cuts(results, site)}
`;
}

/** The lines' sum: of their medians. */
function sumOfLines(results: Results, site: Site, direction: "down" | "up"): number {
  const ways = results.lines?.ways ?? {};
  return site.lines.reduce(
    (sum, { name }) => sum + median((ways[name]?.[direction] ?? []).map(({ mbits }) => mbits)),
    0,
  );
}

function transfers(results: Results, site: Site, direction: "down" | "up"): string {
  const sum = sumOfLines(results, site, direction);
  const rows = (Object.entries(results) as [Setup, Figures][]).flatMap(([setup, { ways }]) =>
    Object.entries(ways).map(([way, figures]) => {
      const measured = figures[direction];
      const pings = measured.flatMap(({ ping }) => (ping ? [ping] : []));
      const share = way === "bond" && sum > 0;
      return [
        setups[setup],
        way,
        spread(
          measured.map(({ mbits }) => mbits),
          2,
        ),
        share
          ? spread(
              measured.map(({ mbits }) => mbits / sum),
              3,
            )
          : "-",
        spread(
          measured.map(({ retransmits }) => retransmits),
          0,
        ),
        `${median(pings.map(({ avgMs }) => avgMs)).toFixed(1)} / ${Math.max(...pings.map(({ maxMs }) => maxMs)).toFixed(1)}`,
        `${pings.reduce((all, { lost }) => all + lost, 0)} of ${pings.reduce((all, { sent }) => all + sent, 0)}`,
      ];
    }),
  );
  if (sum > 0) rows.splice(site.lines.length, 0, ["the lines' sum", "-", sum.toFixed(2), "1", "-", "-", "-"]);
  const head = [
    "set-up",
    "way",
    "Mbit/s",
    "of the sum",
    "retransmitted",
    "ping alongside avg / max, ms",
    "pings lost",
  ];
  return `## One ${direction === "down" ? "download" : "upload"}\n\n${table(head, rows)}`;
}

function cuts(results: Results, site: Site): string {
  const present = (Object.entries(results) as [Setup, Figures][]).filter(
    ([, { failovers }]) => failovers.length,
  );
  // What is told of each cut, in which field it stands, and its decimals.
  const rows: [string, keyof Failover, number][] = [
    ["longest time without a ping's answer, at the cut, s", "gap", 2],
    ["the same, at the return, s", "gapAfter", 2],
    ["pings lost at the cut", "lostAtCut", 0],
    ["pings lost at the return", "lostAtReturn", 0],
    ["pings lost before the cut and after the return", "lostElse", 0],
    ["longest standstill of the download, s", "stall", 1],
    ["download before the cut, Mbit/s", "before", 2],
    ["download during the cut, Mbit/s", "during", 2],
    ["download after the return, Mbit/s", "after", 2],
    ["slave down at the Pi after, s", "downPi", 1],
    ["slave down at the server after, s", "downServer", 1],
    ["slaves all up again after the return, s", "back", 1],
  ];
  const lines = rows.map(([what, field, digits]) => [
    what,
    ...present.map(([, { failovers }]) => {
      const values = failovers.map((cut) => cut[field]);
      return spread(
        values.filter((value) => value !== undefined),
        digits,
      );
    }),
  ]);
  return `## One line cut and restored

During a download over the bond, with a ping every 20 ms, ${site.lines[0]?.name} carries nothing in either direction for 8 s.
Lost at the cut or the return are pings sent in the 5 s after it or the half second before. Rates are of the last 4 s
before the cut, from 3 s after it to the return, and of the last 4 s, when all slaves had been up for some seconds.
Bytes and slaves are looked at every 0.2 s; a standstill or a slave's time is no finer than that.

${table(["", ...present.map(([setup]) => setups[setup])], lines)}`;
}
