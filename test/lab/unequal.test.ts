import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { down, facts, type Measured, measure, reset, up } from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { must, mustUp, slavesSettle } from "./site.ts";

/** One line is twice as fast as the other. */
const labFile = fileURLToPath(new URL("unequal.json", import.meta.url));
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

const qdiscs = (host: string) => must(host, "tc qdisc show");

test("two tunnels over the faster line: one transfer uses both lines for what each has", async () => {
  await stack.configure((site) => {
    site.lines[0].tunnels = 2;
  });
  await mustUp(stack);
  await slavesSettle(3);
  expect(await externalAddress()).toBe("203.0.113.10");
  // The slower line's tunnel stands between the faster one's: no burst goes over one line.
  expect(await must("pi", "grep '^Slave Interface' /proc/net/bonding/bond0")).toMatch(
    /tap0\n.*tap2\n.*tap1\n/,
  );
  // With a tunnel each, the bond could carry twice the slower line: two thirds of the sum.
  expect((await overTheBond("down")).mbits / sum.down).toBeGreaterThan(0.8);
  expect((await overTheBond("up")).mbits / sum.up).toBeGreaterThan(0.7);
});

test("less of the lines is used where the site asks for it, and without queues nothing of them is left", async () => {
  const rate = async () => Number(/cake .* bandwidth (\d+)Kbit/.exec(await qdiscs("server"))?.[1]);
  const whole = await rate();
  await stack.configure((site) => {
    site.lines[0].tunnels = 2;
    site.qos = { share: 0.5 };
    site.watch = { loss: 40, clean: 30 };
  });
  await mustUp(stack);
  await slavesSettle(3);
  expect((await rate()) / whole).toBeGreaterThan(0.48);
  expect((await rate()) / whole).toBeLessThan(0.52);
  const slower = await overTheBond("down");
  expect(slower.mbits / sum.down).toBeLessThan(0.5);

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
  });
  await mustUp(stack);
  await slavesSettle(2);
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
