import { z } from "zod";
import { list, told, whole } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import { asRecords, type Raw } from "./raw.ts";

/** An amount of money in the site's one currency. */
export const price = z.custom<number>(
  (value) => typeof value === "number" && Number.isFinite(value) && value >= 0,
  {
    params: {
      reason: "is no price",
      mend: "Write the number alone, with a point and without quotes, such as 29.99; costs.currency says of what.",
    },
  },
);

/** What is paid beside the lines' and the server's monthly prices. */
export const costs = z.strictObject({
  /** The currency of all prices. Default EUR. */
  currency: told(
    (value) => /^[A-Z]{3}$/.test(value),
    "is no currency",
    "Write its three letters, such as EUR.",
  ).default("EUR"),
  /** What is paid once, installation fees and hardware, and over how many months it is written off. */
  once: list(
    z.strictObject({
      what: told(
        (value) => value.trim() !== "",
        "says nothing",
        "Say what was bought, such as Raspberry Pi.",
      ),
      price,
      months: whole(1, 240, "months"),
    }),
  ).default([]),
});

/** What a site costs a month. */
export interface MonthlyCost {
  /** The sum of all parts, e.g. `44.11 EUR`. */
  total: string;
  /** Each part that has a price, a month. */
  parts: Record<string, string>;
  /** What the total lacks: lines, or the server, without a price in the config. */
  unpriced: string[];
}

interface Priced {
  lines: { name: string; price?: number }[];
  server: { price?: number };
  backups?: { name: string; price?: number }[];
  costs: z.output<typeof costs>;
}

/**
 * What the site costs a month: the lines, the servers, and what was paid once, divided by its months. The
 * total is that of the exact amounts, rounded once. Undefined when nothing of the site has a price.
 */
export function monthlyCost({
  lines,
  server,
  backups = [],
  costs: { currency, once },
}: Priced): MonthlyCost | undefined {
  const monthly = [
    ...lines.map((line) => ({ what: `line ${line.name}`, price: line.price })),
    { what: "server", price: server.price },
    ...backups.map(({ name, price: amount }) => ({ what: `backup ${name}`, price: amount })),
  ];
  const known = [
    ...monthly.flatMap(({ what, price: amount }) => (amount === undefined ? [] : [{ what, amount }])),
    ...once.map(({ what, price: paid, months }) => ({ what: onceName(what, months), amount: paid / months })),
  ];
  if (known.length === 0) return undefined;
  const money = (amount: number) => `${amount.toFixed(2)} ${currency}`;
  return {
    total: money(known.reduce((sum, { amount }) => sum + amount, 0)),
    parts: Object.fromEntries(known.map(({ what, amount }) => [what, money(amount)])),
    unpriced: monthly.flatMap(({ what, price: amount }) => (amount === undefined ? [what] : [])),
  };
}

/** Parts of the cost are told by their names, so that no two may be the same. */
export function costsTwice(raw: Raw): Mistake[] {
  const once = asRecords(raw.once);
  const names = once.map(({ what, months }) =>
    typeof what === "string" && typeof months === "number" ? onceName(what, months) : undefined,
  );
  return once.flatMap(({ what }, index) => {
    const first = names.indexOf(names[index]!);
    if (first === index || names[index] === undefined) return [];
    const reason = `costs.once[${first}] is the same`;
    return [{ path: `costs.once[${index}].what`, value: what, reason, mend: "Give each its own name." }];
  });
}

function onceName(what: string, months: number): string {
  return `${what}, over ${months} months`;
}
