import fc from "fast-check";
import { expect, test } from "vitest";
import { monthlyCost } from "../../site/cost.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

test("a site without prices has no cost", () => {
  expect(planSite(parseSite(exampleSite())).cost).toBeUndefined();
});

test("lines, server, and what was paid once over its months", () => {
  const site = exampleSite((s) => {
    s.lines[0].price = 29.99;
    s.lines[1].price = 20;
    s.server.price = 3.99;
    s.costs = {
      once: [
        { what: "installation of orange", price: 49, months: 24 },
        { what: "Raspberry Pi", price: 50, months: 36 },
      ],
    };
  });
  expect(planSite(parseSite(site)).cost).toEqual({
    total: "57.41 EUR",
    parts: {
      "line ovh": "29.99 EUR",
      "line orange": "20.00 EUR",
      server: "3.99 EUR",
      "installation of orange, over 24 months": "2.04 EUR",
      "Raspberry Pi, over 36 months": "1.39 EUR",
    },
    unpriced: [],
  });
});

test("what has no price is named, so that the total is not taken for the whole", () => {
  const site = exampleSite((s) => {
    s.lines[1].price = 20;
    s.costs = { currency: "CHF" };
  });
  expect(planSite(parseSite(site)).cost).toEqual({
    total: "20.00 CHF",
    parts: { "line orange": "20.00 CHF" },
    unpriced: ["line ovh", "server"],
  });
});

test("the total is the parts' sum, to the rounding of each", () => {
  const amount = fc.integer({ min: 0, max: 100_000 }).map((cents) => cents / 100);
  const once = fc.array(fc.record({ price: amount, months: fc.integer({ min: 1, max: 240 }) }), {
    maxLength: 5,
  });
  fc.assert(
    fc.property(amount, once, (server, paid) => {
      const named = paid.map((each, n) => ({ ...each, what: `thing ${n}` }));
      const cost = monthlyCost({
        lines: [],
        server: { price: server },
        costs: { currency: "EUR", once: named },
      })!;
      const parts = Object.values(cost.parts).map(Number.parseFloat);
      expect(parts).toHaveLength(paid.length + 1);
      const sum = parts.reduce((total, part) => total + part, 0);
      expect(Math.abs(Number.parseFloat(cost.total) - sum)).toBeLessThanOrEqual(
        0.005 * (parts.length + 1) + 1e-6,
      );
    }),
  );
});

test.each<[string, string, unknown]>([
  ["a price with its currency", "server.price", "3.99 EUR"],
  ["a negative price", "server.price", -1],
])("%s is told", (_, path, value) => {
  expect(() => parseSite(exampleSite((s) => (s.server.price = value)))).toThrow(`${path} = `);
});

test("what was paid once has a name of its own, and months", () => {
  const pi = { what: "Pi", price: 50, months: 36 };
  const message = (once: unknown[]) => () => parseSite(exampleSite((s) => (s.costs = { once })));
  expect(message([pi, pi])).toThrow("costs.once[1].what");
  expect(message([{ ...pi, months: 0 }])).toThrow("costs.once[0].months");
  expect(message([pi, { ...pi, months: 12 }])).not.toThrow();
});
