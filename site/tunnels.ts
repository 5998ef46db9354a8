import { z } from "zod";
import { addressOrNetwork, bindAddress, choice, list, whole, yesOrNo } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import { encapsulationOf, encapsulations, fragmentHeader, innerMtu, largestOverhead } from "./mtu.ts";
import type { Raw } from "./raw.ts";
import type { Line, Site } from "./schema.ts";
import { loginPorts } from "./ssh.ts";

/** Ciphers whose headers mtu.ts counts; the older ones of OpenVPN cost more and are refused in 2.7. */
const ciphers = ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"] as const;

const anywhere = {
  reason: "holds every address",
  mend: "Take `sources` out: without it tunnels are taken from anywhere.",
};

/** The fields of `vpn` that hold for all tunnels. */
export const tunnelFields = {
  /** UDP port of the first tunnel on the server; each further one has the next. Default 1194. */
  firstPort: whole(1, 65535, "a port").default(1194),
  /** The server's own address that the tunnels listen on. Default: all of them. */
  bind: bindAddress.optional(),
  /** Whence the server takes tunnels: the lines' own public addresses or names. Default: from anywhere. */
  sources: list(addressOrNetwork(anywhere, true), { none: "must name an address" }).optional(),
  /** Ciphers in the order of preference. */
  ciphers: list(choice(ciphers, "Write it so; CBC ciphers such as the how-to's are not taken."), {
    none: "must name a cipher",
  }).default(["AES-256-GCM", "CHACHA20-POLY1305"]),
  /** Packets that a tap queues while its OpenVPN is busy. Default 1000. */
  txqueuelen: whole(1, 100_000, "packets").default(1000),
  /** How late a packet may come, behind how many others, before OpenVPN takes it for a replayed one. */
  replayWindow: z
    .strictObject({
      packets: whole(64, 65536, "packets").default(512),
      seconds: whole(1, 600, "seconds").default(15),
    })
    .prefault({}),
  /** How much OpenVPN writes to the journal, its `verb`. Default 3. */
  verbosity: whole(0, 11, "OpenVPN's levels").default(3),
  /** Which keys all lines have: another number gives them new ones. Default 1. */
  keys: whole(1, 9999, "rotations").default(1),
};

/** The fields of a line that say how its tunnels travel. */
export const lineTunnelFields = {
  /** UDP, or TCP as the last resort where the provider blocks UDP. Default udp. */
  protocol: choice(
    ["udp", "tcp"],
    "Write udp; tcp only for a line whose provider blocks UDP (IPv4 either way).",
  ).default("udp"),
  /** Port of the line's first tunnel on the server, its others follow. Default: counted from vpn.firstPort. */
  port: whole(1, 65535, "a port").optional(),
  /** Whether OpenVPN cuts packets that are too large for this line. Default false. */
  fragment: yesOrNo.default(false),
  /** Which keys this line has: another number gives it new ones. Default 1. */
  keys: whole(1, 9999, "rotations").default(1),
};

/** What a line's key pair is called on both hosts: another name is another pair. Lines' names have no hyphen. */
export function keyName({ name, keys }: Line, ofAll: number): string {
  return keys === 1 && ofAll === 1 ? name : `${name}-${ofAll}-${keys}`;
}

/** What every IPv4 host has to take in one piece (RFC 791). */
export const smallestMtu = 576;

/** The MTU inside the tunnels by hand, bytes: a field of `bond`. */
export const innerMtuField = whole(smallestMtu, 1500, "bytes").optional();

/** Largest inner packet that travels over a line in one piece, bytes. */
function wholeMtu({ encapsulation, mtu, fragment }: Line): number {
  const lineMtu = mtu ?? encapsulations[encapsulation].mtu;
  return innerMtu(encapsulation, lineMtu, largestOverhead + (fragment ? fragmentHeader : 0));
}

/**
 * The MTU inside the tunnels, one for all since any packet may take any of them, and the largest TCP segment
 * where packets of that MTU would be cut on the way (undefined where none are). Lines that cut packets
 * don't bound it, OpenVPN's `fragment` or TCP, unless all do.
 */
export function planMtu({ bond, lines }: Pick<Site, "bond" | "lines">): {
  mtu: number;
  segment: number | undefined;
} {
  const datagrams = among(lines, ({ protocol }) => protocol === "udp");
  const smallest = (some: Line[]) => Math.min(...some.map(wholeMtu));
  const whole = smallest(datagrams);
  const mtu = bond.mtu ?? smallest(among(datagrams, ({ fragment }) => !fragment));
  // 40: IPv4's and TCP's headers.
  return { mtu, segment: mtu > whole ? whole - 40 : undefined };
}

/** The lines of a kind, or all where there are none of it. */
function among(lines: Line[], kind: (line: Line) => boolean): Line[] {
  const some = lines.filter(kind);
  return some.length > 0 ? some : lines;
}

/** What one line's tunnels can't be, and what the tunnels of several can't be together. */
export function tunnelContradictions(lines: Raw[], vpn: Raw, bond: Raw, site: Raw): Mistake[] {
  return [
    ...ports(lines, vpn.firstPort, loginPorts(site)),
    ...fragments(lines),
    ...sizes(lines, bond.mtu),
    ...twice(vpn.ciphers),
  ];
}

/** A cipher that is named again; what is no cipher is told by itself. */
function twice(given: unknown): Mistake[] {
  const all: unknown[] = Array.isArray(given) ? given : [];
  return all.flatMap((value, index) => {
    const first = all.indexOf(value);
    if (first === index || !ciphers.some((each) => each === value)) return [];
    const reason = `vpn.ciphers[${first}] names it already`;
    const mend = "Take it out: each cipher stands once, where it is to be preferred.";
    return [{ path: `vpn.ciphers[${index}]`, value, reason, mend }];
  });
}

/** Each tunnel's port on the server, by the same count as the plan's. */
export function countPorts<Port>(lines: { port?: Port; tunnels: number }[], first: number) {
  let number = 0;
  return lines.map(({ port, tunnels }) =>
    Array.from({ length: tunnels }, (_, nth) => {
      const counted = first + number++;
      return typeof port === "number" ? port + nth : counted;
    }),
  );
}

/** The same of a config that may have mistakes. */
export function portsOf(lines: Raw[], first: number): number[][] {
  const counted = lines.map(({ port, tunnels }) => ({
    port,
    tunnels: Number.isInteger(tunnels) && Number(tunnels) <= 8 ? Math.max(Number(tunnels), 1) : 1,
  }));
  return countPorts(counted, first);
}

function ports(lines: Raw[], given: unknown, logins: ReturnType<typeof loginPorts>): Mistake[] {
  const first = given ?? 1194;
  if (typeof first !== "number") return [];
  const mistakes: Mistake[] = [];
  const taken = new Map<number, number>();
  portsOf(lines, first).forEach((numbers, index) => {
    const own = typeof lines[index]!.port === "number";
    const [path, value] = own ? [`lines[${index}].port`, lines[index]!.port] : ["vpn.firstPort", given];
    const derived = own || given !== undefined ? "" : "is 1194 without it, which ";
    const last = numbers.at(-1)!;
    if (last > 65535 && !mistakes.some((mistake) => mistake.path === path)) {
      const reason = `the tunnels would need ports up to ${last}`;
      mistakes.push({ path, value, reason, mend: `Choose ${Number(value) - (last - 65535)} or less.` });
    }
    const clash = numbers.find((number) => taken.has(number));
    if (clash !== undefined) {
      const reason = `${derived}gives a tunnel of lines[${index}] the port ${clash}, which lines[${taken.get(clash)}] has already`;
      mistakes.push({
        path,
        value,
        reason,
        mend: "Choose another: each tunnel needs a port of its own, be it UDP or TCP.",
      });
    }
    const login = isTcp(lines[index]!) && logins.find(({ port }) => numbers.includes(port));
    if (login) {
      const reason = `${derived}gives a tunnel of lines[${index}] ${login.whose} SSH port ${login.port}`;
      mistakes.push({
        path,
        value,
        reason,
        mend: `Choose another, such as ${login.port === 443 ? 8443 : 443}: nobody could log in there.`,
      });
    }
    for (const number of numbers) taken.set(number, index);
  });
  return mistakes;
}

/** However it is written: that it has to be in small letters is told beside. */
function isTcp({ protocol }: Raw): boolean {
  return typeof protocol === "string" && protocol.toLowerCase() === "tcp";
}

function fragments(lines: Raw[]): Mistake[] {
  return lines.flatMap(({ protocol, fragment }, index) => {
    if (protocol !== "tcp" || fragment !== true) return [];
    const mend = "Take it out, or write `protocol: udp`.";
    return [
      { path: `lines[${index}].fragment`, value: true, reason: "TCP cuts its packets by itself", mend },
    ];
  });
}

/** An MTU by hand that doesn't fit a line which doesn't cut packets. */
function sizes(lines: Raw[], mtu: unknown): Mistake[] {
  if (typeof mtu !== "number") return [];
  return lines.flatMap((line, index) => {
    const encapsulation = encapsulationOf(line);
    const passes = line.mtu ?? (encapsulation && encapsulations[encapsulation].mtu);
    if (line.fragment === true || line.protocol === "tcp" || typeof passes !== "number") return [];
    if (mtu + largestOverhead <= passes) return [];
    const reason = `makes packets of ${mtu + largestOverhead} bytes, more than the ${passes} that lines[${index}] passes`;
    const most = passes - largestOverhead;
    const less = most >= smallestMtu ? `Write ${most} or less, take it out,` : "Take it out,";
    const mend = `${less} or give lines[${index}] \`fragment: true\`.`;
    return [{ path: "bond.mtu", value: mtu, reason, mend }];
  });
}
