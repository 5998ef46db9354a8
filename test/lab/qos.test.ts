import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, type Measured, measure, ping, restore } from "../../lab/index.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";
import { deployedSite, eventually, must, queueRates, slavesSettle } from "./site.ts";

const far = "198.51.100.7";
/** What the lines carry of TCP payload, alone and one after another: the sum that the bond is held against. */
const sum = { down: 0, up: 0 };
/** Long enough that TCP's start does not count: some ten seconds each. */
const bytes = { down: 12_000_000, up: 1_600_000 };

beforeAll(async () => {
  await deployedSite();
  for (const via of ["ovh", "orange"]) {
    for (const direction of ["down", "up"] as const) {
      sum[direction] += (await measure({ via, direction, bytes: bytes[direction] / 2 })).mbits;
    }
  }
});

afterAll(async () => {
  await restore("ovh");
});

/** What the plan says of the queues, for the lines that live: cake shows whole kbit/s. */
function expected(lines: string[]): Record<string, number> {
  const { shaping, lines: planned } = planSite(parseSite(exampleSite()));
  const of = (end: "pi" | "server") => {
    const taps = planned.filter(({ name }) => lines.includes(name)).flatMap(({ tunnelPlans }) => tunnelPlans);
    const names = taps.map(({ piTap, serverTap }) => (end === "pi" ? piTap : serverTap));
    const live = shaping![end].filter(({ tap }) => names.includes(tap)).map(({ rate }) => rate);
    return Math.floor((live.length * Math.min(...live)) / 1000);
  };
  return { pi: of("pi"), server: of("server") };
}

/** The delays of the faster line's taps. */
async function delays(): Promise<Record<string, string | undefined>> {
  const of = async (host: string, tap: string) => {
    const found = await must(host, `tc qdisc show dev ${tap} root`);
    return /^qdisc netem .* delay (\S+)/.exec(found)?.[1];
  };
  return { pi: await of("pi", "tap1"), server: await of("server", "tap1-dev") };
}

/** Waits until the slaves are those of the lines, then sees that the rates are too, at once. */
async function followed(lines: string[]): Promise<void> {
  await slavesSettle(lines.length, 60);
  await must("guest", "sleep 1");
  expect(await queueRates()).toEqual(expected(lines));
}

function tell(what: string, { mbits, ping: alongside, retransmits }: Measured, whole: number): void {
  const share = (mbits / whole).toFixed(3);
  console.log(
    `${what}: ${mbits.toFixed(2)} Mbit/s, ${share} of the lines' sum, ${retransmits} retransmitted, ping ${alongside!.avgMs} / ${alongside!.maxMs} ms, ${alongside!.lost} lost`,
  );
}

test.each(["down", "up"] as const)(
  "one transfer %s uses the lines, and a ping beside it hardly waits",
  async (direction) => {
    const idle = await ping("client", far);
    const measured = await measure({ via: "bond", direction, bytes: bytes[direction], ping: true });
    tell(direction, measured, sum[direction]);
    expect(measured.mbits / sum[direction]).toBeGreaterThan(direction === "down" ? 0.9 : 0.8);
    // Without the queues it waits for 100 ms and more.
    expect(measured.ping!.avgMs).toBeLessThan(idle.avgMs + 30);
    expect(measured.ping!.lost).toBeLessThanOrEqual(1);
  },
);

/** Bytes that a LAN address gets of one large file in 15 s, over some connections at once. */
const downloads = `
  my ($from, $count) = @ARGV;
  for (1 .. $count) {
    next if fork;
    my $got = 0;
    $SIG{ALRM} = sub { print "$got\n"; exit };
    my $socket = IO::Socket::INET->new(PeerAddr => "${far}", PeerPort => 80, LocalAddr => $from) or exit 1;
    alarm 15;
    print $socket "GET /fair HTTP/1.0\r\n\r\n";
    while (my $read = sysread $socket, my $text, 65536) { $got += $read }
    exit 1;
  }
  wait for 1 .. $count`;

test("a LAN host with eight downloads gets no more than one with a single one", async () => {
  await must("guest", "yes letters | head -c 30000000 >/lab/far/fair");
  await must("client", "ip address add 192.168.1.11/24 dev eth0");
  const share = async (from: string, flows: number) => {
    const { stdout } = await exec("client", `perl -MIO::Socket::INET -e '${downloads}' ${from} ${flows}`, {
      timeoutSeconds: 90,
    });
    const each = stdout.trim().split("\n").map(Number);
    expect(each).toHaveLength(flows);
    return each.reduce((sum, bytes) => sum + bytes, 0);
  };
  const [many, one] = await Promise.all([share("192.168.1.10", 8), share("192.168.1.11", 1)]);
  await must("client", "ip address del 192.168.1.11/24 dev eth0");
  console.log(`eight downloads ${many} bytes, one of another host ${one}: ${(one! / many!).toFixed(2)}`);
  expect(many! + one!).toBeGreaterThan(12_000_000);
  expect(one! / many!).toBeGreaterThan(0.7);
  expect(one! / many!).toBeLessThan(1.3);
});

test("what is marked as urgent waits less than the same unmarked, beside many uploads", async () => {
  // As two calls: 50 packets a second of 160 bytes. One among so many uploads gets less than that by its fair share; what is
  // marked for expedited forwarding (RFC 3246: 46, with two more bits 0xb8) goes before all, up to a quarter of the line.
  const call = (options: string) => ping("client", far, 400, 0.02, `-s 160 ${options}`);
  const idle = await ping("client", far);
  const uploads = measure({ via: "bond", direction: "up", bytes: 1.5 * bytes.up, flows: 24 });
  await must("guest", "sleep 3");
  const [marked, unmarked] = await Promise.all([call("-Q 0xb8"), call("")]);
  await uploads;
  console.log(
    `marked ${marked.avgMs} / ${marked.maxMs} ms, ${marked.lost} lost; unmarked ${unmarked.avgMs} / ${unmarked.maxMs} ms, ${unmarked.lost} lost; idle ${idle.avgMs} ms`,
  );
  // A round of the uploads' full packets takes 200 ms alone.
  expect(unmarked.avgMs).toBeGreaterThan(idle.avgMs + 100);
  expect(marked.avgMs - idle.avgMs).toBeLessThan((unmarked.avgMs - idle.avgMs) / 3);
});

/** How many acknowledgements the Pi's queue has left out, for one after them says as much. */
async function leftOut(): Promise<number> {
  const [, counts] = /^ +ack_drop +(.*)$/m.exec(await must("pi", "tc -s qdisc show dev bond0 root"))!;
  return counts!
    .trim()
    .split(/ +/)
    .reduce((sum, count) => sum + Number(count), 0);
}

test("beside uploads that fill the uplink, a download's acknowledgements are left out of it where a later one says as much", async () => {
  const before = await leftOut();
  const [uploads, download] = await Promise.all([
    measure({ via: "bond", direction: "up", bytes: bytes.up, flows: 8 }),
    measure({ via: "bond", direction: "down", bytes: bytes.down / 2 }),
  ]);
  const count = (await leftOut()) - before;
  console.log(
    `uploads ${uploads.mbits.toFixed(2)} Mbit/s, download ${download.mbits.toFixed(2)}; ${count} acknowledgements left out`,
  );
  expect(count).toBeGreaterThan(0);
});

test("a line's death halves the rate at both ends, and its return brings it back", async () => {
  const whole = await queueRates();
  expect(whole).toEqual(expected(["ovh", "orange"]));
  expect(await delays()).toEqual({ pi: "12.5ms", server: "12.5ms" });
  await cut("ovh");
  await followed(["orange"]);
  // The line that is left waits for none.
  expect(await delays()).toEqual({ pi: undefined, server: undefined });
  const idle = await ping("client", far);
  for (const direction of ["down", "up"] as const) {
    const half = await measure({ via: "bond", direction, bytes: bytes[direction] / 2, ping: true });
    tell(`${direction}, one line`, half, sum[direction]);
    expect(half.ping!.avgMs).toBeLessThan(idle.avgMs + 30);
  }
  await restore("ovh");
  await followed(["ovh", "orange"]);
  expect(await delays()).toEqual({ pi: "12.5ms", server: "12.5ms" });
});

test("taken away, the queues leave none behind, and a ping waits in the boxes; set again, they are as before", async () => {
  const ends = { pi: "bond0", server: "bond-dev" };
  for (const host of Object.keys(ends)) {
    await must(host, "systemctl stop adsl-dev-shaper");
    expect(await must(host, "tc qdisc show")).not.toMatch(/cake|netem/);
  }
  for (const lines of ["both lines", "one line"]) {
    if (lines === "one line") await cut("ovh");
    await slavesSettle(lines === "one line" ? 1 : 2);
    for (const direction of ["down", "up"] as const) {
      const size = lines === "one line" ? bytes[direction] / 2 : bytes[direction];
      const measured = await measure({ via: "bond", direction, bytes: size, ping: true });
      tell(`${direction}, ${lines}, without queues`, measured, sum[direction]);
      // The proof that the queues are what keeps it short.
      expect(measured.ping!.avgMs).toBeGreaterThan(90);
    }
  }
  await restore("ovh");
  await slavesSettle(2, 60);
  for (const [host, bond] of Object.entries(ends)) {
    await must(host, "systemctl start adsl-dev-shaper");
    await eventually(host, `tc qdisc show dev ${bond} root | grep -q cake`, 10);
  }
  expect(await queueRates()).toEqual(expected(["ovh", "orange"]));
});
