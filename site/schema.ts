import { z } from "zod";
import { backupsField } from "./backups.ts";
import { bondModeFields } from "./bondMode.ts";
import { bypassField, fallbackField } from "./bypass.ts";
import { findContradictions } from "./contradictions.ts";
import { costs, price } from "./cost.ts";
import {
  addressOnLan,
  choice,
  hostAddress,
  interfaceName,
  label,
  list,
  ownInterfaceName,
  rate,
  whole,
} from "./fields.ts";
import { forwardsField } from "./forwards.ts";
import { lan } from "./lan.ts";
import { letThrough } from "./letThrough.ts";
import { gateway } from "./lineInterface.ts";
import { ConfigError, type Mistake } from "./mistake.ts";
import { type Encapsulation, encapsulations } from "./mtu.ts";
import { bondNetwork, defaultNetwork } from "./networks.ts";
import { ovh } from "./ovh.ts";
import type { Raw } from "./raw.ts";
import { qos } from "./shaping.ts";
import { ssh } from "./ssh.ts";
import { innerMtuField, lineTunnelFields, smallestMtu, tunnelFields } from "./tunnels.ts";
import { watch } from "./watch.ts";
import { wayOut } from "./wayOut.ts";

const line = z.strictObject({
  /** The line's name in files, units and outputs, unique in the site. */
  name: label("line", 10),
  /** Address of the provider's box, or `dhcp` where DHCP tells it on the line's own interface. */
  gateway,
  /** The Pi's interface towards the box. Default: `pi.interface`. */
  interface: interfaceName.optional(),
  /** Rate towards the site as the box shows it (on ADSL the ATM rate), e.g. `7232 kbit/s`. */
  down: rate,
  /** Rate away from the site, as for `down`. */
  up: rate,
  /** What the line puts around IP packets: see `encapsulations` in mtu.ts. Default pppoe-llc, the most usual. */
  encapsulation: choice(
    Object.keys(encapsulations) as Encapsulation[],
    "Write ethernet for VDSL, fibre, cable or 4G, pppoe-ethernet where the box dials there; on ADSL pppoe-llc where you don't know, the most usual; docs/reference.md tells the others.",
  ).default("pppoe-llc"),
  /** Largest IP packet the line passes, bytes. Default: by the encapsulation. */
  mtu: whole(smallestMtu, 1500, "bytes").optional(),
  /** Tunnels over this line: more of them give it a greater share of the bond's packets. Default 1. */
  tunnels: whole(1, 8, "tunnels").default(1),
  ...lineTunnelFields,
  /** What it costs a month, in costs.currency. */
  price: price.optional(),
  /**
   * Its idle round trip in milliseconds, as a ping through the box alone shows it: packets over faster lines then
   * wait for those of the slowest. Default: unknown, and nothing waits.
   */
  latency: whole(1, 2000, "milliseconds").optional(),
});

const schema = z.strictObject({
  /** The site's name: part of all names on a server that several sites may share. */
  name: label("site", 8),
  server: z.strictObject({
    /** Public IPv4 address of the server. */
    address: hostAddress,
    ssh,
    /** Where it is to be looked up at OVH, read-only: see ovh.ts. Default: nowhere. */
    ovh: ovh.optional(),
    /** What it costs a month, in costs.currency. */
    price: price.optional(),
    /** What of its own firewall gets an exception: see letThrough.ts. Default: nothing. */
    letThrough,
  }),
  /** Servers that take over when those before them are dead, each with a bond of its own: see backups.ts. Default: none. */
  backups: backupsField,
  pi: z.strictObject({
    /** The Pi's address with its LAN's prefix, such as 192.168.1.252/24. */
    address: addressOnLan,
    /** The Pi's interface on that LAN. Default eth0. */
    interface: interfaceName.default("eth0"),
    ssh,
    /** What of its own firewall gets an exception: see letThrough.ts. Default: nothing. */
    letThrough,
  }),
  /** One to eight lines. */
  lines: list(line, {
    most: 8,
    none: "must hold a line",
    mend: "Write one to eight lines, each behind a dash.",
  }),
  bond: z
    .strictObject({
      /** Network between the two ends of the bond: the server has its first address, the Pi its second. */
      network: bondNetwork.default(defaultNetwork),
      /** Name of the bond's interface on the Pi; on the server it is bond-SITE. Default bond0. */
      interface: ownInterfaceName.default("bond0"),
      ...bondModeFields,
      /** MTU inside the tunnels, bytes. Default: what fills the lines' cells. */
      mtu: innerMtuField,
    })
    .prefault({}),
  vpn: z
    .strictObject({
      ...tunnelFields,
      /** Seconds between OpenVPN's own pings, and after how many of silence a tunnel is closed. */
      keepalive: z
        .strictObject({
          interval: whole(1, 60, "seconds").default(1),
          timeout: whole(2, 600, "seconds").default(4),
        })
        .prefault({}),
    })
    .prefault({}),
  qos,
  watch,
  /** Ports of the server that machines of the site answer. Default: none. */
  forwards: forwardsField,
  /** Traffic that leaves past the bond, directly by a line: see bypass.ts. Default: none. */
  bypass: bypassField,
  /**
   * Whether traffic leaves by a box while the bond has no live slave: by main's default route, by a line's name, or not
   * at all. Default true.
   */
  fallback: fallbackField,
  activation: z
    .strictObject({
      /** Seconds after which a host undoes a change that no fresh login has confirmed. Default 90. */
      confirmWithin: whole(30, 900, "seconds").default(90),
      wayOut,
    })
    .prefault({}),
  /** What the Pi serves on its LAN: see lan.ts. Default: nothing. */
  lan: lan.optional(),
  /** The prices that no line and no server has: see cost.ts. */
  costs: costs.prefault({}),
});

/** A site's config with every default filled in and rates in kbit/s. */
export type Site = z.output<typeof schema>;
export type Line = Site["lines"][number];
export type { Ssh } from "./ssh.ts";

/**
 * Reads a site's config.
 * @param beside what else the project's config holds: fields that are not indented enough would be left out without a word
 * @throws ConfigError with every mistake in it: of single fields, and of fields that contradict one another
 */
export function parseSite(raw: unknown, beside: Raw = {}): Site {
  const result = schema.safeParse(raw);
  const mistakes = result.success ? [] : result.error.issues.flatMap((issue) => toMistakes(issue, raw));
  // What is wrong by itself is told once, and not how it stands beside others.
  const told = new Set(mistakes.map(({ path }) => path));
  mistakes.push(...findContradictions(raw).filter(({ path }) => !told.has(path)));
  mistakes.push(...Object.entries(beside).map(([key, value]) => ({ path: key, value, ...astray })));
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return result.data!;
}

const astray = {
  hidden: true,
  reason: "stands beside the site, where nothing is read",
  mend: "Indent it as far as the site's own fields, below adsl-bonding:site, or take it out.",
};

/** What is wrong, and what to do, where a value is of another kind altogether. */
const kinds: Record<string, Pick<Mistake, "reason" | "mend">> = {
  object: {
    reason: "must hold fields of its own",
    mend: "Write its fields below it, indented, each with a colon; docs/reference.md lists them.",
  },
  array: { reason: "must be a list", mend: "Write its entries below it, each behind a dash." },
};

/** The schema has issues of three codes alone: all but fields' names and kinds are told by checks of our own. */
function toMistakes(issue: z.core.$ZodIssue, raw: unknown): Mistake[] {
  const path = pathText(issue.path);
  const value = valueAt(raw, issue.path);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: pathText([...issue.path, key]),
      value: valueAt(raw, [...issue.path, key]),
      hidden: true,
      reason: "no such field exists",
      mend: `Correct its name or take it out; fields here are ${fieldsAt(issue.path).join(", ")}. docs/reference.md tells of them.`,
    }));
  }
  if (value === undefined) {
    return [{ path, value, reason: "the site needs it", mend: "Add it; docs/reference.md says what it is." }];
  }
  if (issue.code === "custom") {
    return [{ path, value, ...(issue.params as Pick<Mistake, "reason" | "mend" | "hidden">) }];
  }
  const kind = kinds[(issue as z.core.$ZodIssueInvalidType).expected]!;
  if (value !== null) return [{ path, value, ...kind, hidden: true }];
  const mend = isNeeded(issue.path, raw) ? kind.mend : "Take it out, or write what belongs there.";
  return [{ path, value, reason: "has nothing below it", mend }];
}

/** The names of the fields that a part of the config can have. */
function fieldsAt(path: readonly PropertyKey[]): string[] {
  const part = path.reduce<z.core.$ZodType>((at, key) => {
    const inner = bare(at);
    if (inner instanceof z.ZodArray) return inner.element;
    return inner instanceof z.ZodObject ? inner.shape[key as string] : inner;
  }, schema);
  const found = bare(part);
  return found instanceof z.ZodObject ? Object.keys(found.shape) : [];
}

/** A schema without what says that it may be left out. */
function bare(part: z.core.$ZodType): z.core.$ZodType {
  const optional =
    part instanceof z.ZodOptional || part instanceof z.ZodDefault || part instanceof z.ZodPrefault;
  return optional ? bare(part.unwrap()) : part;
}

/** Whether a part that is there could not be left out. */
function isNeeded(path: readonly PropertyKey[], raw: unknown): boolean {
  const without = structuredClone(raw);
  const last = path.at(-1);
  if (last === undefined) return true;
  if (typeof last === "number") return false;
  delete (valueAt(without, path.slice(0, -1)) as Raw)[last as string];
  const issues = schema.safeParse(without).error?.issues ?? [];
  return issues.some((issue) => pathText(issue.path) === pathText(path));
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    // A name may be nothing at all: `"": 5`.
    const name = part === "" ? '""' : String(part);
    return text ? `${text}.${name}` : name;
  }, "");
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown> | null)?.[part], raw);
}
