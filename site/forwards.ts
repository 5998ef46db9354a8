import { z } from "zod";
import { type Cidr, isAddress } from "./address.ts";
import { address, choice, list } from "./fields.ts";
import { boxAt } from "./lineInterface.ts";
import type { Mistake } from "./mistake.ts";
import { notOnLan } from "./networks.ts";
import { asRecord, asRecords, type Raw } from "./raw.ts";
import { loginPorts } from "./ssh.ts";
import { portsOf } from "./tunnels.ts";

/** Ports from the first to the last, both of them included. */
export interface PortRange {
  first: number;
  last: number;
}

/** Connections to some of the server's ports that a machine of the site answers. */
export interface Forward {
  protocols: ("tcp" | "udp")[];
  /** The server's ports. */
  ports: PortRange;
  /** The LAN host that answers; undefined where it is the Pi itself. */
  host: string | undefined;
  /** The answering machine's ports: as many, in the same order. */
  toPorts: PortRange;
}

/** Reads a port or `first-last`; undefined when it is neither. A range may stand backwards. */
export function parsePorts(value: unknown): PortRange | undefined {
  if (typeof value !== "number" && typeof value !== "string") return undefined;
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(value)) ?? [];
  const isPort = (text: string | undefined) => Number(text) >= 1 && Number(text) <= 65535;
  return isPort(first) && isPort(last) ? { first: Number(first), last: Number(last) } : undefined;
}

/** A port, or ports as `first-last`. */
export function portRange(mend: string) {
  const params = { reason: "is neither a port, 1 to 65535, nor a range of them", mend };
  return z
    .custom<number | string>((value) => parsePorts(value) !== undefined, { params })
    .transform((value) => parsePorts(value)!);
}

const ports = portRange(
  "Write a port such as 443, or the first and the last with a hyphen, such as 27000-27015; one entry for each.",
);

const protocols = { tcp: ["tcp"], udp: ["udp"], both: ["tcp", "udp"] } as const;

/** The protocols of a forward in a config that may have mistakes: none where it names none of ours. */
function protocolsOf({ protocol = "tcp" }: Raw): readonly string[] {
  const meant = typeof protocol === "string" ? protocol.toLowerCase() : undefined;
  return Object.entries(protocols).find(([name]) => name === meant)?.[1] ?? [];
}

/** The field `forwards` of a site. */
export const forwardsField = list(
  z.strictObject({
    /** What is forwarded. Default tcp. */
    protocol: choice(["tcp", "udp", "both"], "Write tcp, udp or both.").default("tcp"),
    /** The server's port, or its ports as `first-last`. */
    ports,
    /** Address of the LAN host that answers. Default: the Pi itself. */
    to: address.optional(),
    /** That machine's own port or ports, as many as `ports`. Default: the same. */
    toPorts: ports.optional(),
  }),
).default([]);

/** @param pi the Pi's own address: a forward to it is one to the Pi */
export function planForwards(forwards: z.output<typeof forwardsField>, pi: string): Forward[] {
  return forwards.map(({ protocol, ports, to, toPorts = ports }) => ({
    protocols: [...protocols[protocol]],
    ports,
    host: to === pi ? undefined : to,
    toPorts,
  }));
}

/** Forwards that can't be: backwards, uneven, to nowhere on the LAN, or of ports that something else has. */
export function forwardContradictions(raw: unknown, lan: Cidr | undefined, site: Raw): Mistake[] {
  if (!Array.isArray(raw)) return [];
  const taken = ownPorts(site);
  return raw.flatMap((value, index) => {
    const forward = asRecord(value);
    const path = `forwards[${index}]`;
    const range = parsePorts(forward.ports);
    const mistakes = [
      ...backwards(`${path}.ports`, forward.ports),
      ...backwards(`${path}.toPorts`, forward.toPorts),
      ...uneven(`${path}.toPorts`, range, forward.toPorts),
      ...outside(`${path}.to`, forward.to, lan),
      ...ofBox(`${path}.to`, forward.to, site),
    ];
    if (!range) return mistakes;
    const wanted = protocolsOf(forward).map((protocol) => ({
      ...range,
      protocol,
    }));
    const owners = taken.filter((one) => wanted.some((other) => collide(one, other)));
    for (const owner of new Set(owners.map((each) => each.owner))) {
      const mend = "Choose other ports on the server; `toPorts` leaves the answering machine's as they are.";
      mistakes.push({ path: `${path}.ports`, value: forward.ports, reason: `covers ${owner}`, mend });
    }
    taken.push(...wanted.map((each) => ({ ...each, owner: `a port that ${path} has already` })));
    return mistakes;
  });
}

interface Taken extends PortRange {
  protocol: unknown;
  owner: string;
}

/** The servers' ports that must stay their own: by them they are reached. */
function ownPorts(site: Raw): Taken[] {
  const { lines, vpn } = site;
  const logins = loginPorts(site).map(({ port, whose }) => {
    return { protocol: "tcp", first: port, last: port, owner: `${whose} SSH port ${port}` };
  });
  const first = asRecord(vpn).firstPort ?? 1194;
  const own = asRecords(lines);
  const tunnels = typeof first === "number" ? portsOf(own, first) : [];
  return [
    ...logins,
    ...tunnels.flatMap((numbers, index) =>
      numbers.map((port) => ({
        protocol: own[index]!.protocol ?? "udp",
        first: port,
        last: port,
        owner: `the port ${port} of a tunnel of lines[${index}]`,
      })),
    ),
  ];
}

function collide(one: Omit<Taken, "owner">, other: Omit<Taken, "owner">): boolean {
  return one.protocol === other.protocol && one.first <= other.last && other.first <= one.last;
}

export function backwards(path: string, value: unknown): Mistake[] {
  const range = parsePorts(value);
  if (!range || range.first <= range.last) return [];
  const mend = `Write ${range.last}-${range.first}.`;
  return [{ path, value, reason: "ends before it begins", mend }];
}

function uneven(path: string, from: PortRange | undefined, value: unknown): Mistake[] {
  const to = parsePorts(value);
  const count = ({ first, last }: PortRange) => last - first + 1;
  // One that stands backwards is told by itself.
  if (!from || !to || count(from) < 1 || count(to) < 1 || count(from) === count(to)) return [];
  const reason = `holds ${count(to)} ports where \`ports\` holds ${count(from)}`;
  return [{ path, value, reason, mend: "Give as many on both sides: each port goes to one other." }];
}

function outside(path: string, to: unknown, lan: Cidr | undefined): Mistake[] {
  if (!lan || !isAddress(to)) return [];
  const reason = notOnLan(lan, to);
  const mend = "Give the address of a machine on the Pi's LAN, or take it out for the Pi itself.";
  return reason === undefined ? [] : [{ path, value: to, reason, mend }];
}

/** A box doesn't route by the Pi: what it answers leaves by its own line, and the caller takes it for nobody's. */
function ofBox(path: string, to: unknown, site: Raw): Mistake[] {
  const box = boxAt(to, asRecords(site.lines), asRecord(site.pi));
  if (box === undefined) return [];
  const reason = `is ${box}, whose answers leave by its own line`;
  const mend = "Reach the box from a machine on the LAN, such as the Pi by a forward to its SSH.";
  return [{ path, value: to, reason, mend }];
}
