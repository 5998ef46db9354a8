import { z } from "zod";
import {
  type Cidr,
  contains,
  isAddress,
  isLinkLocal,
  isReachable,
  parseCidr,
  specialRange,
} from "./address.ts";
import type { Mistake } from "./mistake.ts";
import { highestRate, parseRate } from "./rate.ts";

/** What is wrong with a value, and what to do; undefined when nothing is. */
export type Verdict = Pick<Mistake, "reason" | "mend" | "hidden"> | undefined;

function telling<Value>(judge: (value: Value) => Verdict) {
  return (value: Value, context: z.RefinementCtx) => {
    const params = judge(value);
    if (params) context.addIssue({ code: "custom", params });
  };
}

/** A value of which there is more than one thing to tell. */
export function judged(judge: (value: unknown) => Verdict) {
  return z.custom<string>().superRefine(telling(judge));
}

/**
 * A check on one value, with what to tell when it fails.
 * @param hidden whether the value is not to be shown, since a person may have put a secret there
 */
export function told(check: (value: string) => boolean, reason: string, mend: string, hidden = false) {
  const right = (value: unknown) => typeof value === "string" && check(value);
  return z.custom<string>(right, { params: { reason, mend, hidden } });
}

/** How many entries a list can have. */
interface Bounds {
  most?: number;
  /** The reason why it can't be empty; undefined where it can. */
  none?: string;
  /** What to do where it is empty. */
  mend?: string;
}

/** A list. How many entries it has is told beside what is wrong with them. */
export function list<Entry extends z.ZodType>(entry: Entry, bounds: Bounds = {}) {
  const { most = Infinity, none, mend = "Write one at least, or take the field out." } = bounds;
  const judge = ({ length }: unknown[]): Verdict => {
    if (length === 0 && none !== undefined) return { reason: none, mend };
    if (length <= most) return undefined;
    return { reason: `holds ${length} entries, and can hold ${most}`, mend: `Leave ${most} at most.` };
  };
  return z.array(entry).superRefine(telling(judge), { when: ({ value }) => Array.isArray(value) });
}

/** One entry by itself, or a list of them; parsed, a list. */
export function oneOrMore<Value>(entry: z.ZodType<Value>, bounds: Bounds = {}) {
  return z.custom<unknown>().transform((value, context) => {
    const read = Array.isArray(value) ? list(entry, bounds).safeParse(value) : entry.safeParse(value);
    context.issues.push(...((read.error?.issues ?? []) as z.core.$ZodRawIssue[]));
    return [read.data ?? []].flat() as Value[];
  });
}

/** A whole number within bounds; the unit is named in the message. */
export function whole(min: number, max: number, unit: string) {
  const right = (value: unknown) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  const reason = `must be a whole number from ${min} to ${max} (${unit})`;
  return z.custom<number>(right, { params: { reason, mend: "Write such a number, without quotes." } });
}

/** One of a few words. */
export function choice<const Word extends string>(words: readonly Word[], mend: string) {
  const right = (value: unknown) => words.includes(value as Word);
  return z.custom<Word>(right, { params: { reason: `is none of ${words.join(", ")}`, mend } });
}

/** True or false. */
export const yesOrNo = z.custom<boolean>((value) => typeof value === "boolean", {
  params: { reason: "is neither true nor false", mend: "Write true or false, without quotes." },
});

const addressMend = "Write four numbers with dots, such as 192.0.2.1 (IPv6 and names are not taken here).";

/** An IPv4 address. */
export const address = told(isAddress, "is not an IPv4 address", addressMend);

const notElsewhere = "is not the IPv4 address of a machine elsewhere";

/** The IPv4 address of one machine that others can reach. */
export const hostAddress = told(isReachable, notElsewhere, addressMend);

/** An address of a server's own that it is to listen on. */
export const bindAddress = judged((value) => {
  if (isReachable(value)) return undefined;
  if (value !== "0.0.0.0") return { reason: notElsewhere, mend: addressMend };
  return {
    reason: "stands for all addresses",
    mend: "Leave it out: without it tunnels are taken on all of them.",
  };
});

/** The IPv4 address of a resolver: one on the very host that asks it too. */
export const resolverAddress = told(
  (value) => isReachable(value) || (isAddress(value) && contains("127.0.0.0/8", value)),
  "is not the IPv4 address of a resolver",
  addressMend,
);

/** A machine's address with the prefix of its LAN. */
export const addressOnLan = judged((value) => {
  const cidr = parseCidr(value);
  const mend = "Write the address, a slash and the LAN's prefix, such as 192.168.1.252/24.";
  if (!cidr) return { reason: "is not an IPv4 address with its network's prefix", mend };
  const special = specialRange(cidr.address);
  if (special) return { reason: special, mend };
  if (isLinkLocal(cidr.address)) return { reason: "is an address that no router passes on", mend };
  if (cidr.prefix >= 8) return undefined;
  return { reason: "takes a great part of the internet for the LAN; a LAN has /8 or a longer prefix", mend };
});

/** What is wrong with a network that is written by an address inside it: which of the two is meant can't be known. */
export function hostBits({ address, prefix, network }: Cidr): Verdict {
  if (network === `${address}/${prefix}`) return undefined;
  const mend = `Write ${network} where the network is meant, ${address} where that one machine is.`;
  return { reason: "is an address inside a network", mend };
}

/**
 * IPv4 addresses, and networks with their prefix length.
 * @param everything why one that holds all addresses is not taken, and what to do
 */
export function addressOrNetwork(everything: NonNullable<Verdict>, names = false) {
  const reason = names
    ? "is neither an IPv4 address, nor a network, nor a name"
    : "is neither an IPv4 address nor a network";
  const mend = names
    ? "Write it such as 192.0.2.1, 192.0.2.0/24 or home.example.net (IPv6 is not taken here)."
    : "Write it such as 192.0.2.1 or 192.0.2.0/24 (IPv6 and names are not taken here).";
  return judged((value) => {
    if (names && typeof value === "string" && isName(value)) return undefined;
    const network = parseCidr(isAddress(value) ? `${value}/32` : value);
    if (!network) return { reason, mend };
    if (network.prefix === 0) return everything;
    // 0.0.0.0/1 is half of all addresses, and no such range.
    const special = network.prefix >= 4 ? specialRange(network.address) : undefined;
    return special === undefined ? hostBits(network) : { reason: special, mend };
  });
}

/** Whether it is a name as DNS knows them, with a dot in it: not one that is all numbers. */
export function isName(value: string): boolean {
  return /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/i.test(value);
}

/** A rate with its unit; parsed, kbit/s. */
export const rate = judged((value) => {
  const kbits = parseRate(value);
  const mend = "Write the rate that the box shows, with its unit, such as 7232 kbit/s or 7.2 Mbit/s.";
  if (typeof value === "string" && /^\d+(,|\s+)\d/.test(value)) {
    return {
      reason: `has a ${value.includes(",") ? "comma" : "blank"} in its number`,
      mend: "Write a point before decimals, and nothing between thousands.",
    };
  }
  // Nobody writes a nought behind three decimals, nor parts of a bit.
  if (typeof value === "string" && kbits !== undefined && /\.(\d{3}\s*k|\d{2}0\s*m)/i.test(value)) {
    const reason = "has a point that may stand for thousands";
    return { reason, mend: `Write ${value.replace(".", "")}, or leave the last digits out.` };
  }
  if (kbits === undefined) return withoutRate(value, mend);
  if (kbits < 1) return { reason: noRate, mend };
  return kbits > highestRate
    ? { reason: "is more than any line has: 10 Gbit/s is the most", mend }
    : undefined;
}).transform((value) => parseRate(value)!);

const noRate = "is no rate that a line can have";

/** Why it is none: boxes show a number alone, or the unit in another spelling. */
function withoutRate(value: unknown, mend: string): Verdict {
  const text = typeof value === "number" ? String(value) : value;
  const [number, unit] = (typeof text === "string" && /^\d+(?:\.\d+)?\s*([a-z].*)?$/i.exec(text)) || [];
  if (number === undefined) return { reason: noRate, mend };
  if (unit === undefined) return { reason: "has no unit", mend };
  return {
    reason: "has a unit that is not taken",
    mend: "Write kbit/s or Mbit/s: kb/s and kbps mostly mean kbit/s, kB/s and ko/s are eight times as much.",
  };
}

/** Whether it is a name that can become part of file and interface names. */
export function isLabel(value: unknown, max: number): value is string {
  return typeof value === "string" && value.length <= max && /^[a-z][a-z0-9]*$/.test(value);
}

/** A name that becomes part of file and interface names.
 * @param max most letters
 */
export const label = (what: string, max: number) =>
  told(
    (value) => isLabel(value, max),
    `is no name for a ${what}`,
    `Use 1 to ${max} small letters and digits, a letter first: it becomes part of file and interface names.`,
  );

/** What Linux itself has among interfaces: the settings of all, and of those to come; the loopback; the list of bonds. */
const reserved = ["all", "default", "lo", "bonding_masters"];

function nameOfInterface(form: RegExp, reason: string, mend: string) {
  return judged((value) => {
    if (typeof value !== "string" || !form.test(value)) return { reason, mend };
    return reserved.includes(value)
      ? { reason: "is a name that Linux keeps for its own use", mend }
      : undefined;
  });
}

/** A network interface as the host names it. */
export const interfaceName = nameOfInterface(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/,
  "is no name of a network interface",
  "Write it as `ip link` on the host shows it, such as eth0.",
);

/** An interface of our own making. */
export const ownInterfaceName = nameOfInterface(
  /^[A-Za-z][A-Za-z0-9_-]{0,14}$/,
  "is no name for a bond",
  "Use 1 to 15 letters, digits, - and _, a letter first, such as bond0.",
);
