import { expect, test } from "vitest";
import { atmCells, innerMtu, largestOverhead } from "../../site/mtu.ts";

test("an outer packet of 1496 bytes behind PPPoE LLC fills 32 cells exactly, one of 1500 needs 33", () => {
  expect(atmCells(1496, 40)).toBe(32);
  expect(atmCells(1500, 40)).toBe(33);
  expect(innerMtu("pppoe-llc", 1500)).toBe(1426);
});

test("a line's whole MTU is taken where it carries more per cell than the last full one", () => {
  // 1492 bytes are 1532 with their overhead, 4 bytes short of 32 cells.
  expect(innerMtu("pppoe-llc", 1492)).toBe(1422);
  expect(innerMtu("ethernet", 1500)).toBe(1430);
  expect(innerMtu("pppoe-ethernet", 1492)).toBe(1422);
});

test.each(["pppoe-llc", "pppoa-vc", "pppoe-ethernet", "ethernet"] as const)(
  "%s never makes a packet too large",
  (kind) => {
    for (let mtu = 576; mtu <= 1500; mtu++)
      expect(innerMtu(kind, mtu) + largestOverhead).toBeLessThanOrEqual(mtu);
  },
);
