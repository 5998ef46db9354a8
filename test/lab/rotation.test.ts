import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, measure, restore } from "../../lab/index.ts";
import type { SiteConfig, Stack } from "../../lab/stack.ts";
import { now } from "./direct.ts";
import { deployedSite, eventually, must, mustUp, slavesSettle } from "./site.ts";

const far = "198.51.100.7";
const hosts = ["pi", "server"] as const;
const lines = ["ovh", "orange"] as const;

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

afterAll(async () => {
  await restore("ovh");
});

/** Names of the keys that a host holds. */
async function keysOn(host: string): Promise<string[]> {
  return (await must(host, "cd /etc/adsl-bonding/dev/keys && ls")).split("\n").filter(Boolean);
}

/** What both hosts should hold when these are the lines' keys. */
const pairs = (...names: string[]) => names.flatMap((name) => [`${name}.crt`, `${name}.key`]).sort();

/** What an end demands of the other: its fingerprint, a line. */
async function demanded(host: string): Promise<string[]> {
  return Promise.all(lines.map((line) => must(host, `grep : /etc/adsl-bonding/dev/peer-${line}.conf`)));
}

/** When a line's tunnel was started last, s by the guest's clock. */
async function startOf(host: string, line: string): Promise<number> {
  const unit = `adsl-dev-tunnel@${line}.service`;
  return Number(await must(host, `date +%s -d "$(systemctl show -P ExecMainStartTimestamp ${unit})"`));
}

/** Pings from the LAN 50 times a second, until it is ended: gives what was answered, and what was not. */
function startTrain(): { end(): Promise<Train> } {
  const running = exec("client", `echo $$ >/run/train; exec ping -n -D -i 0.02 ${far}`, {
    timeoutSeconds: 900,
  });
  return {
    async end() {
      await must("guest", "kill -INT $(cat /run/train)");
      return readTrain((await running).stdout);
    },
  };
}

interface Train {
  /** When an answer came, s. */
  answers: number[];
  /** When a ping was sent that none came to, s. */
  lost: number[];
}

function readTrain(output: string): Train {
  const seen = [...output.matchAll(/^\[([\d.]+)\] .*icmp_seq=(\d+) .*time=([\d.]+) ms/gm)].map((found) => ({
    at: Number(found[1]),
    sequence: Number(found[2]),
    sent: Number(found[1]) - Number(found[3]) / 1e3,
  }));
  expect(seen.length).toBeGreaterThan(500);
  const sent = new Map(seen.map((each) => [each.sequence, each.sent]));
  const lost: number[] = [];
  let last = seen[0]!.sent;
  for (let sequence = seen[0]!.sequence; sequence <= seen.at(-1)!.sequence; sequence++) {
    last = sent.get(sequence) ?? last + 0.02;
    if (!sent.has(sequence)) lost.push(last);
  }
  return { answers: seen.map(({ at }) => at).sort((a, b) => a - b), lost };
}

/** What whoever pinged saw within some time: the longest silence, and the times in which pings were lost. */
function seenWithin({ answers, lost }: Train, from: number, to: number) {
  const within = [from, ...answers.filter((at) => at > from && at < to), to];
  const gap = Math.max(...within.slice(1).map((at, n) => at - within[n]!));
  const spells: { from: number; to: number; lost: number }[] = [];
  for (const at of lost.filter((each) => each > from && each < to)) {
    const spell = spells.at(-1);
    if (spell && at - spell.to < 0.5) Object.assign(spell, { to: at, lost: spell.lost + 1 });
    else spells.push({ from: at, to: at, lost: 1 });
  }
  return { gap, spells: spells.map((each) => ({ lost: each.lost, seconds: each.to - each.from })) };
}

const inWords = ({ gap, spells }: ReturnType<typeof seenWithin>) =>
  `longest silence ${gap.toFixed(2)} s; pings lost: ${spells.map(({ lost, seconds }) => `${lost} within ${seconds.toFixed(2)} s`).join(", ") || "none"}`;

function withKeys(keys: number, change: (site: SiteConfig) => void = () => {}): Promise<void> {
  return stack.configure((site) => {
    site.vpn = { ...site.vpn, keys };
    change(site);
  });
}

test("all lines get new keys, and whoever pings or downloads sees no more than a line's failover", async () => {
  const before = { pi: await demanded("pi"), server: await demanded("server") };
  for (const host of hosts) expect(await keysOn(host)).toEqual(pairs("ovh", "orange"));
  await withKeys(2);
  const train = startTrain();
  const began = await now();
  const up = mustUp(stack);
  await eventually("pi", "[ -e /var/lib/adsl-bonding/dev/armed ]", 300);
  const download = {
    began: await now(),
    run: measure({ via: "bond", direction: "down", bytes: 45_000_000 }),
  };
  await up;
  const ended = await now();
  const starts = await Promise.all(
    hosts.map((host) => Promise.all(lines.map((line) => startOf(host, line)))),
  );
  // For comparison: what a line's end is like to the same train, beside the same download.
  await slavesSettle(2);
  const cutAt = await now();
  await cut("ovh");
  await slavesSettle(1);
  await must("guest", "sleep 5");
  const mended = await now();
  await restore("ovh");
  await slavesSettle(2, 60);
  const { mbits, seconds } = await download.run;
  const seen = await train.end();

  const rotation = seenWithin(seen, began, ended);
  const failover = seenWithin(seen, cutAt, mended);
  console.log(`all keys anew: ${inWords(rotation)}
a line cut: ${inWords(failover)}
a download meanwhile: ${mbits.toFixed(1)} Mbit/s, from ${(download.began - began).toFixed(0)} s to ${(download.began + seconds - began).toFixed(0)} s
tunnels started (pi, server): ${starts.map((each) => each.map((at) => (at - began).toFixed(0)).join(" ")).join(", ")} s after the up`);
  expect(rotation.gap).toBeLessThanOrEqual(Math.max(failover.gap, ...failover.spells.map((s) => s.seconds)));
  // The download was under way while the tunnels restarted, and when the line was cut.
  for (const at of [...starts.flat(), cutAt]) {
    expect(at).toBeGreaterThanOrEqual(Math.floor(download.began));
    expect(at).toBeLessThan(download.began + seconds);
  }
  for (const host of hosts) {
    const after = await demanded(host);
    for (const n of [0, 1]) expect(after[n]).not.toBe(before[host][n]);
    expect(await keysOn(host)).toEqual(pairs("ovh-2-1", "orange-2-1"));
  }
});

test("a second up changes nothing", async () => {
  expect(await mustUp(stack)).not.toMatch(/\d+ (created|updated|deleted|changes)/);
});

test("one line gets new keys, and the other's tunnel goes on", async () => {
  const other = await Promise.all(hosts.map((host) => startOf(host, "orange")));
  await withKeys(2, (site) => {
    site.lines[0].keys = 2;
  });
  await mustUp(stack);
  await slavesSettle(2);
  for (const host of hosts) expect(await keysOn(host)).toEqual(pairs("ovh-2-2", "orange-2-1"));
  expect(await Promise.all(hosts.map((host) => startOf(host, "orange")))).toEqual(other);
});

/** Begins an up, and ends its process at once when a file is there on the Pi. */
async function killedUp(file: string): Promise<void> {
  const end = new AbortController();
  const up = stack.pulumi(["up", "--yes", "--skip-preview"], { signal: end.signal });
  await eventually("pi", `[ -e ${file} ]`, 300);
  end.abort();
  expect((await up).code).not.toBe(0);
}

async function nextUp(keys: number): Promise<void> {
  await stack.pulumi(["cancel", "--yes"]);
  await withKeys(keys);
  await mustUp(stack);
  await slavesSettle(2, 60);
  for (const host of hosts) expect(await keysOn(host)).toEqual(pairs(`ovh-${keys}-1`, `orange-${keys}-1`));
}

test("a Pulumi killed when the new keys are made: the old ones go on, and the next up completes", async () => {
  await withKeys(3);
  await killedUp("/etc/adsl-bonding/dev/keys/ovh-3-1.crt");
  await slavesSettle(2);
  await nextUp(3);
});

test("a Pulumi killed while the hosts try the new keys: they go back to the old, and the next up completes", async () => {
  await withKeys(4, (site) => {
    site.activation = { confirmWithin: 30 };
  });
  await killedUp("/var/lib/adsl-bonding/dev/trying");
  for (const host of hosts) {
    await eventually(host, "cd /var/lib/adsl-bonding/dev && [ ! -e trying ] && [ ! -e undone ]", 90);
    expect(await keysOn(host)).toEqual(pairs("ovh-3-1", "orange-3-1", "ovh-4-1", "orange-4-1"));
    expect(await must(host, "grep -h ^key /etc/adsl-bonding/dev/tunnel-*.conf")).not.toContain("-4-1");
  }
  await slavesSettle(2, 60);
  await nextUp(4);
});
