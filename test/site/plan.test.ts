import fc from "fast-check";
import { expect, test } from "vitest";
import { nthAddress } from "../../site/address.ts";
import { largestOverhead } from "../../site/mtu.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

test("the example's plan", () => {
  expect(planSite(parseSite(exampleSite()))).toMatchSnapshot();
});

test("tunnels of a line with several stand among the others'", () => {
  const site = exampleSite((s) => (s.lines[0].tunnels = 4));
  const { tunnels } = planSite(parseSite(site));
  expect(tunnels.map(({ name }) => name)).toEqual(["ovh", "ovh-2", "orange", "ovh-3", "ovh-4"]);
});

const line = fc.record({
  name: fc.stringMatching(/^[a-z][a-z0-9]{0,9}$/),
  tunnels: fc.integer({ min: 1, max: 8 }),
  // Below that eight tunnels' ARP probes leave little else.
  down: fc.integer({ min: 500, max: 60_000 }).map((rate) => `${rate} kbit/s`),
  mtu: fc.integer({ min: 576, max: 1500 }),
  fragment: fc.boolean(),
});

test("every right config has a plan in which nothing is used twice", () => {
  const lines = fc.uniqueArray(line, { minLength: 1, maxLength: 8, selector: ({ name }) => name });
  const property = fc.property(
    fc.stringMatching(/^[a-z][a-z0-9]{0,7}$/),
    lines,
    fc.integer({ min: 1, max: 65000 }),
    (name, some, firstPort) => {
      const site = exampleSite((s) => {
        Object.assign(s, { name, vpn: { firstPort } });
        s.lines = some.map((each, n) => ({ ...each, up: "1 Mbit/s", gateway: `192.168.1.${n + 10}` }));
      });
      const plan = planSite(parseSite(site));
      const distinct = (values: (string | number)[]) => expect(new Set(values).size).toBe(values.length);
      distinct(plan.tunnels.map(({ port }) => port));
      distinct(plan.tunnels.map((tunnel) => tunnel.name));
      distinct(plan.lines.map(({ mark }) => mark));
      const piTables = [...plan.lines.map(({ table }) => table), plan.bondTable];
      distinct(piTables);
      // 253 to 255 are the system's own.
      for (const table of [...piTables, plan.serverTable]) expect(table).toBeGreaterThan(255);
      const interfaces = [plan.pi.bond, plan.server.bond, ...plan.pi.taps, ...plan.server.taps];
      distinct(interfaces);
      for (const each of interfaces) expect(each.length).toBeLessThanOrEqual(15);
      expect(plan.tunnels.length).toBe(plan.lines.reduce((sum, each) => sum + each.tunnels, 0));
      const allCut = plan.lines.every(({ fragment }) => fragment);
      for (const { fragment, mtu } of plan.lines) {
        if (!fragment || allCut) expect(plan.bond.mtu + 66).toBeLessThanOrEqual(mtu);
        // Headers of IPv4, TCP and the tunnel, and what `fragment` adds: TCP is never cut.
        const segment = plan.bond.segment ?? plan.bond.mtu - 40;
        expect(segment + 40 + largestOverhead + (fragment ? 4 : 0)).toBeLessThanOrEqual(mtu);
      }
    },
  );
  fc.assert(property, { numRuns: 200 });
});

test("ports by hand leave the counted ones as they are", () => {
  const site = exampleSite((s) => {
    s.lines[0].tunnels = 2;
    s.lines[1].port = 443;
  });
  expect(
    planSite(parseSite(site)).lines.map(({ tunnelPlans }) => tunnelPlans.map(({ port }) => port)),
  ).toEqual([[1194, 1195], [443]]);
});

test("a large MTU by hand keeps TCP whole on the lines that cut packets", () => {
  const site = exampleSite((s) => {
    s.bond = { mtu: 1500 };
    for (const line of s.lines) line.fragment = true;
  });
  // 1492 less 70 of the tunnel, 4 of fragment, 40 of IPv4 and TCP.
  expect(planSite(parseSite(site)).bond).toMatchObject({ mtu: 1500, segment: 1378 });
});

test("a line that cuts packets doesn't bound the others' MTU", () => {
  const site = exampleSite((s) => Object.assign(s.lines[0], { mtu: 1400, fragment: true }));
  expect(planSite(parseSite(site)).bond).toMatchObject({ mtu: 1422, segment: 1286 });
});

test("addresses carry over the bytes of a network", () => {
  expect(nthAddress("10.0.0.254/31", 2)).toBe("10.0.1.0");
});
