import { afterAll, afterEach, beforeEach, expect } from "vitest";
import { exec } from "../../lab/index.ts";
import { must, slavesSettle } from "./site.ts";

/** The machine out on the internet, and the addresses that the site's lines and its server have there. */
export const far = "198.51.100.7";
export const seenBy = { ovh: "192.0.2.11", orange: "192.0.2.12", server: "203.0.113.10" };
const boxes = { ovh: "192.168.1.240", orange: "192.168.1.254" };
const pi = "192.168.1.252";

/** The box's own port forward: its public port 2222 is the Pi's SSH, at the Pi's address there. */
export async function openBox(line: keyof typeof boxes, to = pi): Promise<void> {
  const forward = `table ip ssh {
    chain inward { type nat hook prerouting priority dstnat; iifname "wan" tcp dport 2222 dnat to ${to}:22; }
  }`;
  await must(
    "guest",
    `ip netns exec ${line} nft '${forward}' && ip netns exec ${line} nft insert rule ip box forward ct status dnat accept`,
  );
}

/** The server's end of all tunnels is shut, or opened again: every line lives, and no tunnel. */
export async function shutTunnels(shut: boolean): Promise<void> {
  const drop = (hook: string) =>
    `chain ${hook} { type filter hook ${hook} priority -50; udp ${hook === "input" ? "d" : "s"}port { 1194, 1195 } drop; };`;
  const table = `table inet shut { ${drop("input")} ${drop("output")} }`;
  await must("server", shut ? `nft '${table}'` : "nft delete table inet shut");
}

/** All tunnels are shut, and stay so for a time, s, after the bond has seen it. */
export async function withoutTunnels(seconds: number): Promise<void> {
  await shutTunnels(true);
  await slavesSettle(0);
  await must("guest", `sleep ${seconds}`);
}

/** They are opened again, and the bond is whole. */
export async function tunnelsAgain(): Promise<void> {
  await shutTunnels(false);
  await slavesSettle(2, 60);
}

/**
 * A TCP transfer of the client's, the way its traffic goes by itself, while something happens from its third second on.
 * What became of it: whether all bytes came, how long it took, s, and what its program said.
 */
export async function transferWhile(
  direction: "down" | "up",
  bytes: number,
  happens: () => Promise<unknown>,
): Promise<{ whole: boolean; seconds: number; said: string }> {
  const running = exec("client", `/lab/measure.sh bond ${far} ${direction} ${bytes} 1 quiet`, {
    timeoutSeconds: 120,
  });
  await must("guest", "sleep 2");
  await happens();
  const { stdout, stderr, code } = await running;
  expect(code, stdout + stderr).toBe(0);
  const [, arrived, nanoseconds] = stdout.match(/transfer: (\d+) bytes, (\d+) ns/)!;
  return { whole: Number(arrived) === bytes, seconds: Number(nanoseconds) / 1e9, said: stderr };
}

/** A train of pings from the client, 50 a second; what ping(8) printed of them. */
export async function train(seconds: number, options = ""): Promise<string> {
  const { stdout } = await exec("client", `ping -n -D -O ${options} -i 0.02 -c ${seconds * 50} ${far}`, {
    timeoutSeconds: seconds + 20,
  });
  return stdout;
}

/** The longest gap between two answers of such a train within a time of it, seconds by the guest's clock. */
export function longestGap(output: string, from = 0, to = Number.POSITIVE_INFINITY): number {
  const times = [...output.matchAll(/^\[(\d+\.\d+)\].*bytes from/gm)]
    .map(([, at]) => Number(at))
    .filter((at) => at >= from && at <= to);
  expect(times.length).toBeGreaterThan(50);
  return longestOf(times);
}

/** The longest time between one of these moments and the next, s. */
export function longestOf(times: number[]): number {
  return Math.max(...times.slice(1).map((at, n) => at - times[n]!));
}

/** Begins a train of pings from the client, one in an interval, s; whatever train runs ends. */
export async function beginTrain(interval: number): Promise<void> {
  await must("guest", "systemctl stop train 2>/dev/null || true");
  const ping = `nsenter --net=/run/netns/client ping -n -D -i ${interval} ${far}`;
  await must("guest", `systemd-run -q --collect --unit train sh -c 'exec ${ping} >/run/train'`);
  await must("guest", "sleep 1");
}

/** Ends the train, of which so many answers must have come; the longest time between two, s, and how many pings got none. */
export async function endTrain(least = 50): Promise<{ gap: number; lost: number }> {
  await must(
    "guest",
    "sleep 1; systemctl kill -s INT train; while systemctl -q is-active train; do sleep 0.2; done",
  );
  const output = await must("guest", "cat /run/train");
  const answers = [...output.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq=(\d+) .*time=/gm)];
  const times = answers.map(([, at]) => Number(at));
  const count = Number(output.match(/^(\d+) packets transmitted/m)?.[1]);
  expect(times.length, output.slice(-500)).toBeGreaterThan(least);
  return { gap: longestOf(times), lost: count - new Set(answers.map(([, , sequence]) => sequence)).size };
}

/** Has a train go through each test of a file, five pings a second; at the end a table says what became of them. */
export function trainThroughEach(): void {
  const table = ["change under way | longest gap, s | pings lost, of five a second"];
  beforeEach(() => beginTrain(0.2));
  afterEach(async ({ task }) => {
    const { gap, lost } = await endTrain(5);
    const name = [task.suite?.name, task.name].filter(Boolean).join(" ");
    table.push([name, gap.toFixed(1), lost].join(" | "));
  });
  afterAll(() => console.log(table.join("\n")));
}

/** A line's box drops every nth answer to a ping towards the site, and nothing else, until that is ended. */
export async function dropAnswers(line: string, every: number): Promise<{ end: () => Promise<unknown> }> {
  const rule = `icmp type echo-reply numgen inc mod ${every} == 0 drop`;
  await must(
    line,
    `nft 'table ip answers { chain lost { type filter hook forward priority 0; ${rule}; }; }'`,
  );
  return { end: () => must(line, "nft delete table ip answers") };
}

/** What the guest's clock shows, s. */
export async function now(): Promise<number> {
  return Number(await must("guest", "date +%s.%N"));
}
