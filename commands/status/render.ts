import type { EndReport, LineReport, Report, Traffic } from "./report.ts";

const trafficHead = ["down", "up", "total down", "total up"];

/**
 * The report as a page for a terminal.
 * @param now the moment that it is of
 */
export function renderReport(report: Report, now: Date): string {
  const { site, ends, outside, lines, bond, changes, warnings, backups } = report;
  return [
    `Site ${site}, ${moment(now)} UTC`,
    "",
    ...table([["", "slaves up", "ping across the bond", "generation"], ...ends.map(endRow)]),
    "",
    outside,
    "",
    ...table([
      ["line", "pi", "server", ...trafficHead],
      ...lines.map(lineRow),
      ["all", "", "", ...trafficCells(bond)],
    ]),
    "",
    ...backups.flatMap(backupPart),
    "Last changes of lines and ways:",
    ...listed(
      changes.map(({ host, time, what }) => `${moment(new Date(time * 1000))}  ${host.padEnd(6)}  ${what}`),
    ),
    "",
    "Warnings:",
    ...listed(warnings),
    "",
  ].join("\n");
}

/** A backup's bond: its two ends, and its lines' traffic, which is none of the first table. */
function backupPart({ ends, lines }: Report["backups"][number]): string[] {
  const server = ends[1]!.host;
  return [
    `Backup ${server}:`,
    ...table([["", "slaves up", "ping across the bond", "generation"], ...ends.map(endRow)]),
    "",
    ...table([["line", "pi", server, ...trafficHead], ...lines.map(lineRow)]),
    "",
  ];
}

function moment(time: Date): string {
  return time.toISOString().slice(0, 19).replace("T", " ");
}

function listed(entries: string[]): string[] {
  return (entries.length > 0 ? entries : ["none"]).map((entry) => `  ${entry}`);
}

function endRow({ host, unreachable, slavesUp, slaves, ping, generation }: EndReport): string[] {
  if (unreachable !== undefined) return [host, "does not answer"];
  const rtt = ping?.ms === undefined ? "no answer" : `${ping.ms.toFixed(1)} ms`;
  const lost = ping && ping.answered < ping.sent ? `, ${ping.sent - ping.answered} of ${ping.sent} lost` : "";
  return [host, `${slavesUp} of ${slaves}`, `${rtt}${lost}`, generation ?? "none"];
}

function lineRow({ name, tunnels, up, traffic }: LineReport): string[] {
  const state = (count: number | undefined) => {
    if (count === undefined) return "?";
    if (tunnels > 1) return `${count} of ${tunnels}`;
    return count === 1 ? "up" : "down";
  };
  return [name, state(up.pi), state(up.server), ...trafficCells(traffic)];
}

function trafficCells(traffic: Traffic | undefined): string[] {
  if (!traffic) return ["?", "?", "?", "?"];
  const { down, up, totalDown, totalUp } = traffic;
  return [rate(down), rate(up), bytes(totalDown), bytes(totalUp)];
}

/** Bits per second in the unit that ADSL's rates are told in. */
function rate(bits: number): string {
  return `${(bits / 1000).toFixed(bits < 100_000 ? 1 : 0)} kbit/s`;
}

/** Bytes in decimal units, as rates are. */
function bytes(count: number): string {
  const steps = ["kB", "MB", "GB", "TB"];
  let value = count / 1000;
  while (value >= 1000 && steps.length > 1) {
    value /= 1000;
    steps.shift();
  }
  return `${value.toFixed(1)} ${steps[0]}`;
}

/** Rows in columns: the first row is the head. */
function table(rows: string[][]): string[] {
  const widths = rows.reduce<number[]>(
    (known, row) =>
      row.map((cell, n) => Math.max(cell.length, known[n] ?? 0)).concat(known.slice(row.length)),
    [],
  );
  return rows.map((row) => `  ${row.map((cell, n) => cell.padEnd(widths[n]!)).join("  ")}`.trimEnd());
}
