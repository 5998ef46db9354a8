import { readFile } from "node:fs/promises";
import { exec, LabError, type Site } from "../lab/index.ts";

/** What a running ping train and a running download saw of a line's cut and its return. */
export type Failover = {
  /** The longest time without an answer to a ping, from the cut to the line's return, s. */
  gap: number;
  /** The same, from the line's return on. */
  gapAfter: number;
  /** Pings without an answer among those sent in the 5 s after the cut, in the 5 s after the return, and else. */
  lostAtCut: number;
  lostAtReturn: number;
  lostElse: number;
  /** The longest time in which the download got nothing, s. */
  stall: number;
  /** Mbit/s of TCP payload before the cut, during it, and when both lines were back. */
  before: number;
  during: number;
  after: number;
  /** Seconds from the line's return until its slave was up at both ends; undefined when it never was. */
  back?: number;
  /** Seconds from the cut until the slave was down at the Pi and at the server; undefined when it never was. */
  downPi?: number;
  downServer?: number;
};

/** Where the bonds are, at both ends. */
export type Bonds = { pi: string; server: string };

const secondsBetweenPings = 0.02;

/** More than any download takes within the test: it is never to end by itself. */
const bytes = 90_000_000;

/** Cuts a line under load and restores it. */
export async function failover(site: Site, line: string, bonds: Bonds): Promise<Failover> {
  const script = await readFile(new URL("failover.sh", import.meta.url), "utf8");
  const words = [line, site.far.address, bytes, bonds.pi, bonds.server, site.lines.length];
  const { code, stdout, stderr } = await exec("guest", `sh -s -- ${words.join(" ")}`, {
    stdin: script,
    timeoutSeconds: 120,
  });
  if (code !== 0) throw new LabError(`the failover test ended with ${code}: ${stderr}`);
  return evaluate(stdout, site.lines.length);
}

/** Reads what failover.sh printed. */
export function evaluate(output: string, lines: number): Failover {
  const samples = (pattern: RegExp): [number, number][] =>
    [...output.matchAll(pattern)].map(([, at, value]) => [Number(at) / 1e9, Number(value)]);
  const moment = (word: string) => Number(output.match(new RegExp(`^${word} (\\d+)$`, "m"))?.[1]) / 1e9;
  const [cut, restored] = [moment("cut"), moment("restored")];
  const received = samples(/^bytes (\d+) (\d+)$/gm);
  const answers = [...output.matchAll(/^\[([\d.]+)\] .*icmp_seq=(\d+) .*time=([\d.]+) ms/gm)].map(
    (found) => ({
      at: Number(found[1]),
      sequence: Number(found[2]),
      seconds: Number(found[3]) / 1e3,
    }),
  );
  if (!(received.length > 50 && answers.length > 200 && cut && restored)) {
    throw new LabError(`the failover test gave too little to judge:\n${output.slice(-2000)}`);
  }
  const end = received.at(-1)![0];

  const rate = (from: number, to: number) => {
    const within = received.filter(([at]) => at >= from && at <= to);
    const [first, last] = [within[0]!, within.at(-1)!];
    return ((last[1] - first[1]) * 8e-6) / (last[0] - first[0]);
  };
  const gap = (times: number[], from: number, to: number) => {
    const within = [from, ...times.filter((at) => at > from && at < to), to];
    return Math.max(...within.slice(1).map((at, index) => at - within[index]!));
  };
  const fresh = received.filter(([, value], index) => index === 0 || value > received[index - 1]![1]);

  // Lost are the numbers without an answer; the last second's may still have been on their way.
  const answered = new Set(answers.map(({ sequence }) => sequence));
  const start = answers[0]!.at - answers[0]!.seconds - answers[0]!.sequence * secondsBetweenPings;
  const count = Math.max(...answered);
  // ping sends a little later than it means to: the mean interval is what it truly came to.
  const last = answers.find(({ sequence }) => sequence === count)!;
  const interval = (last.at - last.seconds - start) / count;
  const lost = Array.from({ length: count }, (_, index) => index + 1)
    .filter((sequence) => !answered.has(sequence))
    .map((sequence) => start + sequence * interval);
  // What was on its way at the cut was sent up to a loaded line's round trip before it.
  const lostWithin = (from: number) => lost.filter((at) => at > from - 0.5 && at < from + 5).length;

  const times = answers.map(({ at }) => at);
  const whole = (host: string) => samples(new RegExp(`^${host} (\\d+) (\\d+)$`, "gm"));
  const down = (host: string) => whole(host).find(([at, up]) => at > cut && up < lines)?.[0];
  // Back is since when nothing was missing any more: a slave may go down once more on its way.
  const backAt = (host: string) => {
    const seen = whole(host);
    const missing = seen.findLastIndex(([, up]) => up < lines);
    return seen[missing + 1]?.[0];
  };
  const backs = [backAt("pi"), backAt("server")];
  const since = (from: number, at: number | undefined) =>
    at === undefined ? undefined : Math.max(0, at - from);
  return {
    gap: gap(times, cut, restored),
    gapAfter: gap(times, restored, end),
    lostAtCut: lostWithin(cut),
    lostAtReturn: lostWithin(restored),
    lostElse: lost.length - lostWithin(cut) - lostWithin(restored),
    stall: gap(
      fresh.map(([at]) => at),
      cut,
      end,
    ),
    before: rate(cut - 4, cut),
    during: rate(cut + 3, restored),
    after: rate(end - 4, end),
    back: backs.includes(undefined) ? undefined : since(restored, Math.max(...(backs as number[]))),
    downPi: since(cut, down("pi")),
    downServer: since(cut, down("server")),
  };
}
