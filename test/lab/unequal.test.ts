import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import {
  cut,
  down,
  exec,
  facts,
  lose,
  type Measured,
  measure,
  type Ping,
  ping,
  reset,
  restore,
  slow,
  up,
} from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { dropAnswers, now } from "./direct.ts";
import { eventually, largestIsWhole, must, mustUp, slavesSettle } from "./site.ts";

/** One line is twice as fast as the other, and they put different things around a packet: PPPoA in cells, and Ethernet. */
const labFile = fileURLToPath(new URL("unequal.json", import.meta.url));
const far = "198.51.100.7";
const bytes = { down: 6_000_000, up: 800_000 };
const sum = { down: 0, up: 0 };

let stack: Stack;

beforeAll(async () => {
  await up({ site: labFile });
  await reset();
  stack = await openStack(await facts());
  for (const via of ["ovh", "orange"]) {
    for (const direction of ["down", "up"] as const) {
      sum[direction] += (await measure({ via, direction, bytes: bytes[direction] / 2 })).mbits;
    }
  }
});

// Other scenarios want the usual site.
afterAll(async () => {
  await down();
});

async function overTheBond(direction: "down" | "up"): Promise<Measured> {
  const measured = await measure({ via: "bond", direction, bytes: bytes[direction], ping: true });
  const share = (measured.mbits / sum[direction]).toFixed(3);
  console.log(
    `${direction}: ${measured.mbits.toFixed(2)} Mbit/s, ${share} of the sum, ping beside it ${measured.ping!.avgMs} ms`,
  );
  return measured;
}

/** What the watch has told of lines that it took out. */
const outs = "journalctl -q -o cat -u adsl-dev-watch | grep 'is out'";
const watched = async () => (await exec("pi", outs)).stdout;

const qdiscs = (host: string) => must(host, "tc qdisc show");

test("two tunnels over the faster line: one transfer uses both lines for what each has", async () => {
  await stack.configure((site) => {
    site.lines[0].tunnels = 2;
    Object.assign(site.lines[0], { price: 29.99 });
    Object.assign(site.lines[1], { price: 19.99 });
    Object.assign(site.server, { price: 6 });
    site.costs = { once: [{ what: "installation", price: 48, months: 24 }] };
    site.activation = { wayOut: "198.51.100.80" };
  });
  // The lines' and the server's, and a month's part of what was paid once.
  expect(await mustUp(stack)).toMatch(/monthlyCost.*57\.98/s);
  await slavesSettle(3);
  expect(await externalAddress()).toBe("203.0.113.10");
  // The slower line's tunnel stands between the faster one's: no burst goes over one line.
  expect(await must("pi", "grep '^Slave Interface' /proc/net/bonding/bond0")).toMatch(
    /tap0\n.*tap2\n.*tap1\n/,
  );
  // With a tunnel each, the bond could carry twice the slower line: two thirds of the sum. Of all that is there, a tenth is
  // not used: a packet is counted in cells, with Ethernet's bytes around it, though it goes by either line.
  expect((await overTheBond("down")).mbits / sum.down).toBeGreaterThan(0.8);
  expect((await overTheBond("up")).mbits / sum.up).toBeGreaterThan(0.7);
});

test("the largest packet of the bond is whole on a line of PPPoA and on one of Ethernet", async () => {
  await largestIsWhole({ ovh: 1500, orange: 1500 });
});

test("less of the lines is used where the site asks for it, and without queues nothing of them is left", async () => {
  const rate = async () => Number(/cake .* bandwidth (\d+)Kbit/.exec(await qdiscs("server"))?.[1]);
  const whole = await rate();
  await stack.configure((site) => {
    site.lines[0].tunnels = 2;
    site.lines[0].mtu = 1400;
    site.qos = { share: 0.5 };
    site.watch = { loss: 40, clean: 30 };
  });
  await mustUp(stack);
  await slavesSettle(3);
  expect((await rate()) / whole).toBeGreaterThan(0.48);
  expect((await rate()) / whole).toBeLessThan(0.52);
  const slower = await overTheBond("down");
  expect(slower.mbits / sum.down).toBeLessThan(0.5);
  // A line whose box takes less than its kind does, as the config says.
  await must("guest", "ip -n ovh link set dev wan mtu 1400");
  await largestIsWhole({ ovh: 1400, orange: 1400 });
  // A quarter is less than counts here.
  const fourth = await dropAnswers("ovh", 4);
  await must("guest", "sleep 15");
  expect(await watched()).toBe("");
  await fourth.end();
  await lose("ovh", 60, "in");
  await eventually("pi", outs, 20);
  const cleanFrom = await now();
  await restore("ovh");
  await slavesSettle(3, 60);
  const back = (await now()) - cleanFrom;
  expect(back).toBeGreaterThan(27);
  expect(back).toBeLessThan(40);

  await stack.configure((site) => {
    site.lines[0].tunnels = 2;
    site.qos = { enabled: false };
  });
  await mustUp(stack);
  await slavesSettle(3);
  // The delays that make the lines equal stay.
  for (const host of ["pi", "server"]) expect(await qdiscs(host)).not.toContain("cake");
  // What waits now waits in the boxes, and pings behind it.
  const without = await overTheBond("down");
  expect(without.ping!.avgMs).toBeGreaterThan(slower.ping!.avgMs + 20);
});

test("balance-xor by layer2+3 takes a line by the two ends' addresses", async () => {
  await stack.configure((site) => {
    site.bond = { mode: "balance-xor", hashPolicy: "layer2+3" };
    site.watch = { enabled: false };
    site.activation = { wayOut: false };
  });
  await mustUp(stack);
  await slavesSettle(2);
  await must("pi", "! systemctl cat adsl-dev-watch");
  expect(await must("pi", "cat /proc/net/bonding/bond0")).toContain("Transmit Hash Policy: layer2+3 (2)");
  expect(await must("pi", "ip link show")).not.toContain("tap2");
  const sent = async () => {
    const counters =
      "/sys/class/net/tap0-dev/statistics/tx_bytes /sys/class/net/tap1-dev/statistics/tx_bytes";
    return (await must("server", `cat ${counters}`)).trim().split("\n").map(Number);
  };
  const before = await sent();
  await measure({ via: "bond", direction: "down", bytes: 2_000_000, flows: 8 });
  const [most, least] = (await sent()).map((count, n) => count - before[n]!).sort((a, b) => b - a);
  // All eight downloads are between the same two machines.
  expect(most).toBeGreaterThan(2_000_000);
  expect(least).toBeLessThan(100_000);
});

/** What a line's box has sent over it, by the kernel's count, and when, s. */
async function sentOver(line: string): Promise<{ packets: number; bytes: number; time: number }> {
  const counters = "/sys/class/net/wan/statistics";
  const found = await must(line, `cat ${counters}/tx_packets ${counters}/tx_bytes; date +%s.%N`);
  const [packets, bytes, time] = found.trim().split("\n").map(Number);
  return { packets: packets!, bytes: bytes!, time: time! };
}

/** Small packets over a line: their payload by UDP, and the bytes that whatever its box has sent costs there. */
type Flood = {
  line: string;
  payload: number;
  spent: (sent: { packets: number; bytes: number }) => number;
};

/** A line's uplink while a quarter more small packets are sent than it takes: the part of it that is used, and pings beside them. */
async function flood({ line, payload, spent }: Flood): Promise<{ used: number; beside: Ping }> {
  const { up } = (await facts()).site.lines.find(({ name }) => name === line)!;
  // Around the payload: 28 of UDP and IPv4, 66 of the tunnel, and 14 of Ethernet's header, which the kernel counts.
  const cost = spent({ packets: 1, bytes: payload + 28 + 66 + 14 });
  const rate = Math.round((1.25 * up * 1000 * payload) / cost);
  const flooding = must("client", `iperf3 -c ${far} --udp --bitrate ${rate} --length ${payload} --time 14`);
  await must("guest", "sleep 2");
  const before = await sentOver(line);
  const beside = await ping("client", far, 30);
  const after = await sentOver(line);
  await flooding;
  // What still waits at the tap would go among the next ones.
  await eventually("pi", "! tc -s qdisc show | grep -q 'backlog [1-9]'", 30);
  const sent = { packets: after.packets - before.packets, bytes: after.bytes - before.bytes };
  const used = (spent(sent) * 8) / (after.time - before.time) / (up * 1000);
  console.log(
    `${payload} bytes over ${line}: ${used.toFixed(3)} of it is used, ping ${beside.avgMs} / ${beside.maxMs} ms`,
  );
  return { used, beside };
}

/** Something happens while one line is cut, and all goes by the other. */
async function without(line: string, happens: () => Promise<void>): Promise<void> {
  await cut(line);
  try {
    await slavesSettle(1);
    await happens();
  } finally {
    await restore(line);
  }
  await slavesSettle(2, 60);
}

/** The few other packets are about as large, and go for such ones where the cells are counted. */
const floods: (Flood & { other: string })[] = [
  // With the 28, the 66 and PPPoA's 10 they fill three cells; with a byte more they take four.
  { line: "ovh", other: "orange", payload: 40, spent: ({ packets }) => packets * 3 * 53 },
  { line: "ovh", other: "orange", payload: 41, spent: ({ packets }) => packets * 4 * 53 },
  // Ethernet's 18 are the 14 and a check sum.
  { line: "orange", other: "ovh", payload: 40, spent: ({ packets, bytes }) => bytes + 4 * packets },
];

// Of PPPoA's bytes each one counts here: one too few, and the box would get a third more than it can send; one too many,
// and a quarter of the line would lie idle. Of Ethernet's it takes three too few, or eight too many, to be seen; in full
// packets it would take ten times that. The server counts by the same words: its downlinks take more than is sent here.
test.each(floods)(
  "packets of $payload bytes fill $line, and none waits in its box",
  async ({ other, ...packets }) => {
    await without(other, async () => {
      const idle = await ping("client", far, 20);
      const { used, beside } = await flood(packets);
      expect(used).toBeGreaterThan(0.95);
      expect(beside.avgMs).toBeLessThan(idle.avgMs + 30);
    });
  },
);

test("on a line that takes a little more for a packet than the config says they wait in the box", async () => {
  const { other, ...packets } = floods.at(-1)!;
  await without(other, async () => {
    // Three cells are 159 bytes, and the Pi counts 152: in five seconds the box's queue is full.
    await slow(packets.line, { encapsulation: "pppoa-vc" });
    const idle = await ping("client", far, 20);
    expect((await flood(packets)).beside.avgMs).toBeGreaterThan(idle.avgMs + 100);
  });
});
