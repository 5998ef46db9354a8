import { expect, test } from "vitest";
import { encapsulations } from "../../site/mtu.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { framing, hasQueues, type ShapedLine, tunnelRate } from "../../site/shaping.ts";
import { exampleSite } from "../example.ts";

// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
const shapingOf = (change?: (site: any) => void) => planSite(parseSite(exampleSite(change))).shaping!;

const orange: ShapedLine = { down: 7072, up: 832, encapsulation: "pppoe-llc", tunnels: 1 };
const arpAlone = { arpInterval: 100, probesPerSecond: 0 };

test("ARP probes and answers of 3 cells, 20 a second, take 25.4 kbit/s of a tunnel; 64 at an interval of 40", () => {
  expect(832_000 - tunnelRate(orange, "up", arpAlone)).toBe(25_440);
  expect(832_000 - tunnelRate(orange, "up", { ...arpAlone, arpInterval: 40 })).toBe(63_600);
  // What the lab's best figures were measured with: 1605 kbit/s up.
  expect(Math.round((2 * 0.995 * tunnelRate(orange, "up", arpAlone)) / 1000)).toBe(1605);
});

test("the loss watch's empty pings are 2 cells each, 10 a second", () => {
  const watched = tunnelRate(orange, "up", { arpInterval: 100, probesPerSecond: 10 });
  expect(tunnelRate(orange, "up", arpAlone) - watched).toBe(8_480);
});

test("a line's tunnels share it: 20/1 Mbit/s with four, 5/0.5 with one, carry 4974.6 and 224.6 kbit/s each", () => {
  const fast: ShapedLine = { down: 20_000, up: 1_000, encapsulation: "pppoe-llc", tunnels: 4 };
  expect(tunnelRate(fast, "down", arpAlone)).toBe(4_974_560);
  expect(tunnelRate(fast, "up", arpAlone)).toBe(224_560);
});

test("the example's taps: what a tunnel carries away from each end, and half the line's round trip", () => {
  expect(shapingOf()).toMatchInlineSnapshot(`
    {
      "at": "bond",
      "pi": [
        {
          "framing": "atm overhead 106",
          "oneWay": 25000,
          "rate": 857770,
          "tap": "tap0",
        },
        {
          "framing": "atm overhead 106",
          "oneWay": 12500,
          "rate": 794090,
          "tap": "tap1",
        },
      ],
      "server": [
        {
          "framing": "atm overhead 106",
          "oneWay": 25000,
          "rate": 7162090,
          "tap": "tap0-dev",
        },
        {
          "framing": "atm overhead 106",
          "oneWay": 12500,
          "rate": 7002890,
          "tap": "tap1-dev",
        },
      ],
    }
  `);
});

test("a packet costs the tunnel's 66 bytes and what the line adds, on the dearest line where they differ", () => {
  expect(framing([{ encapsulation: "pppoe-llc" }])).toBe("atm overhead 106");
  expect(framing([{ encapsulation: "ethernet" }])).toBe("noatm overhead 84");
  expect(framing([{ encapsulation: "ethernet" }, { encapsulation: "pppoa-vc" }])).toBe("atm overhead 84");
});

test("a tunnel over TCP, whose full packets take two segments, or one that cuts packets, has larger headers", () => {
  // 66 and 26 of the tunnel, twice 40 of the line, 52 of the second segment's headers, half a cell of 48.
  expect(framing([{ encapsulation: "pppoe-llc", protocol: "tcp" }])).toBe("atm overhead 248");
  expect(framing([{ encapsulation: "ethernet", protocol: "tcp" }])).toBe("noatm overhead 180");
  expect(framing([{ encapsulation: "pppoe-llc", fragment: true }, orange])).toBe("atm overhead 110");
});

test("no line's packets cost more than tc takes for an overhead, 256 bytes", () => {
  for (const encapsulation of Object.keys(encapsulations) as (keyof typeof encapsulations)[]) {
    for (const of of [{ protocol: "tcp" }, { protocol: "udp", fragment: true }] as const) {
      const [, overhead] = /overhead (\d+)$/.exec(framing([{ encapsulation, ...of }]))!;
      expect(Number(overhead)).toBeLessThanOrEqual(256);
    }
  }
});

test("no queue is wanted where QoS is off and no latencies differ", () => {
  const off = (site: { qos: object; lines: { latency?: number }[] }) => {
    site.qos = { enabled: false };
    for (const line of site.lines) delete line.latency;
  };
  expect(shapingOf(off)).toBeUndefined();
  expect(hasQueues(shapingOf((site) => (site.qos = { enabled: false })))).toBe(false);
});

test("in active-backup the one tunnel that carries has all of its line, without ARP probes, and none waits for another", () => {
  const { at, pi, server } = shapingOf((site) => {
    site.bond = { mode: "active-backup" };
  });
  expect(at).toBe("activeSlave");
  expect(pi.map(({ rate, oneWay }) => [rate, oneWay])).toEqual([
    [883_082, 0],
    [819_402, 0],
  ]);
  expect(server[1]!.rate).toBe(7_028_202);
});

test("in balance-xor each tap has a queue of its own, at its line's own rate and framing, with the ARP probes in it", () => {
  const { at, pi } = shapingOf((site) => {
    site.bond = { mode: "balance-xor" };
    site.lines[1].encapsulation = "ethernet";
  });
  expect(at).toBe("eachSlave");
  expect(pi).toEqual([
    { tap: "tap0", rate: 883_082, framing: "atm overhead 106", oneWay: 0 },
    { tap: "tap1", rate: 824_178, framing: "noatm overhead 84", oneWay: 0 },
  ]);
});

test("in balance-xor a tap's queue leaves room for the ARP probes of backups' bonds", () => {
  const { pi } = shapingOf((site) => {
    site.bond = { mode: "balance-xor" };
    site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
  });
  // 0.995 of 896 kbit/s less the watch's 8.48 and one bond's 25.44.
  expect(pi[0]!.rate).toBe(857_770);
});

test("lines of the same latency wait for none", () => {
  const { pi } = shapingOf((site) => (site.lines[1].latency = 50));
  expect(pi.map(({ oneWay }) => oneWay)).toEqual([0, 0]);
});
