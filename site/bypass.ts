import { z } from "zod";
import { type Cidr, holds, isAddress, parseCidr } from "./address.ts";
import { addressOrNetwork, choice, hostBits, isLabel, judged, list, oneOrMore, told } from "./fields.ts";
import { backwards, type PortRange, portRange } from "./forwards.ts";
import { boxAt } from "./lineInterface.ts";
import type { Mistake } from "./mistake.ts";
import { notOnLan, ownNetworks } from "./networks.ts";
import { asRecord, asRecords, type Raw, serverAddresses } from "./raw.ts";

/** Names of code points (RFC 2474, RFC 2597, RFC 3246, RFC 5865). */
const codePoints = new Map<string, number>(
  Object.entries({
    ...Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`cs${n}`, 8 * n])),
    ...Object.fromEntries([1, 2, 3, 4].flatMap((n) => [1, 2, 3].map((m) => [`af${n}${m}`, 8 * n + 2 * m]))),
    ef: 46,
    va: 44,
  }),
);

/** Reads a code point, its number or its name; undefined when it is neither. */
function parseDscp(value: unknown): number | undefined {
  if (typeof value === "string") {
    return /^\d+$/.test(value) ? parseDscp(Number(value)) : codePoints.get(value.toLowerCase());
  }
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 63 ? Number(value) : undefined;
}

const ports = portRange("Write it such as 443 or 27000-27015; several in brackets, such as [80, 443].");

const anywhere = {
  reason: "holds every address, and so chooses nothing",
  mend: "Take `to` out: without it traffic to any address is meant; another field then has to choose.",
};

/** What traffic can be chosen by; each choice needs one of them at least. */
const selectors = {
  /** Default: any, or with `ports` both TCP and UDP. */
  protocol: choice(["tcp", "udp", "both"], "Write tcp, udp or both.").optional(),
  /** Destination ports: one, a range `first-last`, or a list of them. */
  ports: oneOrMore(ports, { none: "names no port" }).optional(),
  /** Whose: addresses and networks of the LAN, and `pi`. Default: all LAN hosts and the Pi. */
  hosts: list(
    judged((value) => {
      if (value === "pi" || isAddress(value)) return undefined;
      const network = parseCidr(value);
      if (network) return hostBits(network);
      return {
        reason: "is neither an IPv4 address, nor a network, nor `pi`",
        mend: "Write a LAN host's address such as 192.168.1.20, a part of the LAN such as 192.168.1.32/28, or pi.",
      };
    }),
    { none: "names nobody" },
  ).optional(),
  /** Whereto: addresses and networks. */
  to: list(addressOrNetwork(anywhere), { none: "names no network" }).optional(),
  /** Its code point, 0 to 63 or a name. */
  dscp: z
    .custom<number | string>((value) => parseDscp(value) !== undefined, {
      params: {
        reason: "is no code point of DSCP",
        mend: "Write a number from 0 to 63, or a name such as ef, af41 or cs5.",
      },
    })
    .transform((value) => parseDscp(value)!)
    .optional(),
};

/** One of the site's lines, which is told beside the lines' own names. */
const lineOfSite = told((value) => value !== "", "is no line of the site", "Write the name of one.");

/** The field `bypass` of a site. */
export const bypassField = list(z.strictObject({ line: lineOfSite, ...selectors })).default([]);

/** The field `fallback` of a site. */
export const fallbackField = z
  .custom<boolean | string>((value) => typeof value === "boolean" || typeof value === "string", {
    params: {
      reason: "is neither true, nor false, nor a line",
      mend: "Write true, false, or the line's name.",
    },
  })
  .default(true);

/** Traffic that leaves past the bond. */
export interface Bypass {
  /** Mark of its connections: that of its line's way. */
  mark: number;
  protocols: ("tcp" | "udp")[];
  ports: PortRange[];
  /** Networks of the LAN, and whether the Pi itself. */
  hosts: string[];
  pi: boolean;
  to: string[];
  dscp: number | undefined;
}

/** The way past the bond by one line, or by the next one that works. */
export interface Way {
  mark: number;
  table: number;
  /** Lines in the order in which they are taken. */
  lines: string[];
}

/** What leaves past the bond, and how. */
export interface Direct {
  bypass: Bypass[];
  /** The ways that are used. */
  ways: Way[];
  /** What traffic without a live slave is routed by; undefined: by nothing, it waits. */
  fallback: "main" | Way | undefined;
}

/** Whether anything may leave past the bond: by choice, or where no slave lives, and then to its end. */
export function leavesDirectly({ bypass, fallback }: Direct): boolean {
  return bypass.length > 0 || fallback !== undefined;
}

const firstMark = 0xad11;
const firstTable = 21011;

export function planDirect(
  bypass: z.output<typeof bypassField>,
  fallback: boolean | string,
  lines: { name: string }[],
  lan: Cidr,
): Direct {
  const names = lines.map(({ name }) => name);
  const ways = names.map((_, index) => ({
    mark: firstMark + index,
    table: firstTable + index,
    lines: [...names.slice(index), ...names.slice(0, index)],
  }));
  const wayOf = (line: string) => ways[names.indexOf(line)]!;
  const used = new Set([fallback, ...bypass.map(({ line }) => line)]);
  return {
    bypass: bypass.map((each) => ({ mark: wayOf(each.line).mark, ...choiceOf(each, lan) })),
    ways: ways.filter((_, index) => used.has(names[index]!)),
    fallback: typeof fallback === "string" ? wayOf(fallback) : fallback ? "main" : undefined,
  };
}

/** What an entry chooses, whatever its line. */
function choiceOf(
  { protocol, ports = [], hosts, to = [], dscp }: z.output<typeof bypassField>[number],
  { address, network }: Cidr,
): Omit<Bypass, "mark"> {
  const all = hosts ?? [network, "pi"];
  const isPi = (host: string) => ["pi", address].includes(single(host));
  return {
    protocols: protocolsOf(protocol ?? (ports.length > 0 ? "both" : undefined)),
    ports: mergeRanges(ports),
    hosts: outermost(all.filter((host) => !isPi(host))),
    pi: all.some(isPi),
    to: outermost(to),
    dscp,
  };
}

/** The entries that are left nothing by an earlier one, with that: the first that fits counts. */
export function eclipsed(bypass: unknown, lan: Cidr): { index: number; by: number }[] {
  const choices = bypassField.parse(bypass).map((each) => choiceOf(each, lan));
  return choices.flatMap((choice, index) => {
    const by = choices.findIndex((earlier) => covers(earlier, choice));
    return by < index ? [{ index, by }] : [];
  });
}

/** Whether a choice holds all that the other one does. Where it names nothing of a kind, anything of that will do. */
function covers(one: Omit<Bypass, "mark">, other: Omit<Bypass, "mark">): boolean {
  const within = (network: string, all: string[]) => all.some((each) => standsIn(each, network));
  const every = <Value>(all: Value[], some: Value[], held: (value: Value) => boolean) =>
    all.length === 0 || (some.length > 0 && some.every(held));
  return (
    every(one.protocols, other.protocols, (each) => one.protocols.includes(each)) &&
    every(one.ports, other.ports, ({ first, last }) =>
      one.ports.some((range) => range.first <= first && last <= range.last),
    ) &&
    every(one.to, other.to, (each) => within(each, one.to)) &&
    other.hosts.every((each) => within(each, one.hosts)) &&
    (one.pi || !other.pi) &&
    (one.dscp === undefined || one.dscp === other.dscp)
  );
}

function protocolsOf(protocol: "tcp" | "udp" | "both" | undefined): Bypass["protocols"] {
  if (protocol === undefined) return [];
  return protocol === "both" ? ["tcp", "udp"] : [protocol];
}

/** Ranges that touch or overlap become one: nftables takes no others. */
function mergeRanges(ranges: PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else merged.push({ first, last });
  }
  return merged;
}

/** The networks that stand in no other of them, as nftables writes them. */
function outermost(networks: string[]): string[] {
  const whole = [...new Set(networks.map((each) => single(parseCidr(each)?.network ?? each)))];
  return whole.filter((each) => !whole.some((other) => other !== each && standsIn(other, each)));
}

/** A network of one address as that address; whatever else as it is. */
function single<Value>(value: Value) {
  return typeof value === "string" ? value.replace(/\/32$/, "") : value;
}

/** Whether a network holds an address or another network wholly. */
function standsIn(network: string, value: unknown): boolean {
  const [outer, inner] = [network, value].map((each) => parseCidr(isAddress(each) ? `${each}/32` : each));
  return outer !== undefined && inner !== undefined && holds(outer.network, inner);
}

/** The entries of a list, each with its path; what is no list stands for itself. */
function entries(path: string, value: unknown): Pick<Mistake, "path" | "value">[] {
  if (value === undefined) return [];
  return Array.isArray(value)
    ? value.map((each, n) => ({ path: `${path}[${n}]`, value: each }))
    : [{ path, value }];
}

/** Choices that choose nothing, or what never leaves; lines that the site doesn't have. */
export function directContradictions(site: Raw, lines: Raw[], lan: Cidr | undefined): Mistake[] {
  return [
    ...asRecords(site.bypass).flatMap((each, index) => {
      const path = `bypass[${index}]`;
      return [
        ...unknownLine(`${path}.line`, each.line, lines),
        ...choosesNothing(path, each, lan),
        ...entries(`${path}.ports`, each.ports).flatMap((at) => backwards(at.path, at.value)),
        ...strangers(`${path}.hosts`, each.hosts, lan, lines, asRecord(site.pi)),
        ...reachedAnyway(`${path}.to`, each.to, site),
      ];
    }),
    ...unknownLine("fallback", site.fallback, lines),
  ];
}

function unknownLine(path: string, value: unknown, lines: Raw[]): Mistake[] {
  const names = lines.map(({ name }) => name).filter((name) => isLabel(name, 10));
  if (typeof value !== "string" || names.length < lines.length || names.includes(value)) return [];
  const also = path === "fallback" ? "true, false (without quotes), or " : "";
  return [
    { path, value, reason: "is no line of the site", mend: `Write ${also}one of ${names.join(", ")}.` },
  ];
}

function choosesNothing(path: string, each: Raw, lan: Cidr | undefined): Mistake[] {
  const given = Object.keys(selectors).filter((name) => {
    return each[name] !== undefined && !(name === "hosts" && isEverybody(each.hosts, lan));
  });
  const ordinary = given.length === 1 && parseDscp(each.dscp) === 0;
  if (given.length > 0 && !ordinary) return [];
  const reason = `chooses ${ordinary ? "what ordinary packets carry" : "nothing"}, and so would take all traffic past the bond`;
  const mend = `Give it one of ${Object.keys(selectors).join(", ")}.`;
  return [{ path, value: each, reason, mend }];
}

/** Whether these are the Pi and its whole LAN, of whom all traffic is. */
function isEverybody(hosts: unknown, lan: Cidr | undefined): boolean {
  return (
    Array.isArray(hosts) && lan !== undefined && ["pi", lan.network].every((each) => hosts.includes(each))
  );
}

/** Hosts whose traffic never comes by the Pi. */
function strangers(path: string, hosts: unknown, lan: Cidr | undefined, lines: Raw[], pi: Raw): Mistake[] {
  if (!lan) return [];
  const judge = (value: unknown) => {
    const host = single(value);
    const box = boxAt(host, lines, pi);
    if (isAddress(host)) {
      return notOnLan(lan, host) ?? (box && `is ${box}, which sends by its own line and not by the Pi`);
    }
    const network = parseCidr(host)?.network;
    if (network === undefined || standsIn(lan.network, network)) return undefined;
    const where = standsIn(network, lan.network) ? "reaches beyond" : "is outside";
    return `${where} the Pi's LAN ${lan.network}`;
  };
  return entries(path, hosts).flatMap((at) => {
    const reason = judge(at.value);
    const mend = "Give LAN hosts' addresses, parts of the LAN, or pi for the Pi itself.";
    return reason === undefined ? [] : [{ ...at, reason, mend }];
  });
}

/** Destinations that the Pi has rules for ahead of any bypass's (components/pi/routes.ts), and so never leave by a line. */
function reachedAnyway(path: string, to: unknown, site: Raw): Mistake[] {
  const servers = serverAddresses(site)
    .filter(({ address }) => isAddress(address))
    .map(({ path: server, address }) => ({
      network: `${address}/32`,
      reason: `is an address of ${server} itself, which is reached as ever, whatever a bypass says`,
      mend: "Take it out. A network that holds more than the server may stand here.",
    }));
  const own = ownNetworks(site).map(({ what, network: { network } }) => ({
    network,
    reason: `stands inside ${what} ${network}, to which no line leads`,
    mend: "Give addresses or networks out on the internet; LAN hosts belong under `hosts`.",
  }));
  return entries(path, to).flatMap((at) => {
    const found = [...servers, ...own].find(({ network }) => standsIn(network, at.value));
    return found ? [{ ...at, reason: found.reason, mend: found.mend }] : [];
  });
}
