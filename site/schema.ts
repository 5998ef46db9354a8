import { z } from "zod";
import { isAddress, parseCidr } from "./address.ts";
import { findContradictions } from "./contradictions.ts";
import { ConfigError, type Mistake } from "./mistake.ts";
import { type Encapsulation, encapsulations } from "./mtu.ts";
import { parseRate } from "./rate.ts";

/** A check on one value, with what to tell when it fails. */
function told(check: (value: string) => boolean, reason: string, mend: string) {
  const right = (value: unknown) => typeof value === "string" && check(value);
  return z.custom<string>(right, { params: { reason, mend } });
}

/** A whole number within bounds; the unit is named in the message. */
function whole(min: number, max: number, unit: string) {
  const right = (value: unknown) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  const reason = `must be a whole number of ${unit} from ${min} to ${max}`;
  return z.custom<number>(right, { params: { reason, mend: `Write a number such as ${min}.` } });
}

const address = told(
  isAddress,
  "is not an IPv4 address",
  "Write four numbers with dots, such as 192.0.2.1 (IPv6 and names are not taken here).",
);

const cidr = told(
  (value) => parseCidr(value) !== undefined,
  "is not an IPv4 address with its network's prefix",
  "Write the address, a slash and the prefix, such as 192.168.1.252/24.",
);

const rate = told(
  (value) => parseRate(value) !== undefined && parseRate(value)! >= 1,
  "is no rate that a line can have",
  "Write the rate that the box shows, with its unit, such as 7232 kbit/s or 7.2 Mbit/s.",
).transform((value) => parseRate(value)!);

const label = (what: string, max: number) =>
  told(
    (value) => new RegExp(`^[a-z][a-z0-9]{0,${max - 1}}$`).test(value),
    `is no name for a ${what}`,
    `Use 1 to ${max} small letters and digits, a letter first: it becomes part of file and interface names.`,
  );

const interfaceName = told(
  (value) => /^[A-Za-z0-9._-]{1,15}$/.test(value),
  "is no name of a network interface",
  "Write it as `ip link` on the host shows it, such as eth0.",
);

const hostKey = told(
  (value) => /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+=*( .*)?$/.test(value),
  "is not an ed25519 or ECDSA host key",
  "On the host, `cat /etc/ssh/ssh_host_ecdsa_key.pub` shows it (or ed25519, where it has no other): write its first two words.",
).transform((value) => value.split(" ").slice(0, 2).join(" "));

const login = {
  /** Address or name that SSH connects to. Default: the host's own address. */
  host: z.string().min(1).optional(),
  /** TCP port of its sshd. Default 22. */
  port: whole(1, 65535, "a port").default(22),
  /** Who logs in: root, or somebody whose sudo asks for no password. Default root. */
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_.-]*$/i)
    .default("root"),
  /** File with the private key, `~` allowed. Default: the keys of the running ssh-agent. */
  privateKeyFile: z.string().min(1).optional(),
  /** The host's public key, `ssh-ed25519 AAAA…`: nothing else is ever accepted as this host. */
  hostKey,
};

/** How the operator's machine reaches a host. */
const ssh = z.strictObject({
  ...login,
  /** A host to go through on the way, as with `ssh -J`. */
  jump: z.strictObject({ ...login, host: z.string().min(1) }).optional(),
});

const line = z.strictObject({
  /** The line's name in files, units and outputs, unique in the site. */
  name: label("line", 10),
  /** Address of the provider's box on the Pi's network. */
  gateway: address,
  /** The Pi's interface towards the box. Default: `pi.interface`. */
  interface: interfaceName.optional(),
  /** Rate towards the site as the box shows it (on ADSL the ATM rate), e.g. `7232 kbit/s`. */
  down: rate,
  /** Rate away from the site, as for `down`. */
  up: rate,
  /** What the line puts around IP packets: see `encapsulations` in mtu.ts. Default pppoe-llc, the most usual. */
  encapsulation: z.enum(Object.keys(encapsulations) as [Encapsulation]).default("pppoe-llc"),
  /** Largest IP packet the line passes, bytes. Default: by the encapsulation. */
  mtu: whole(576, 1500, "bytes").optional(),
  /** Tunnels over this line: more of them give it a greater share of the bond's packets. Default 1. */
  tunnels: whole(1, 8, "tunnels").default(1),
});

const schema = z.strictObject({
  /** The site's name: part of all names on a server that several sites may share. */
  name: label("site", 8),
  server: z.strictObject({
    /** Public IPv4 address of the server. */
    address,
    ssh,
  }),
  pi: z.strictObject({
    /** The Pi's address with its LAN's prefix, such as 192.168.1.252/24. */
    address: cidr,
    /** The Pi's interface on that LAN. Default eth0. */
    interface: interfaceName.default("eth0"),
    ssh,
  }),
  /** One to eight lines. */
  lines: z.array(line).min(1, "must hold a line").max(8, "holds more lines than eight"),
  bond: z
    .strictObject({
      /** Network between the two ends of the bond: the server has its first address, the Pi its second. */
      network: cidr.default("172.16.16.0/30"),
      /** Name of the bond's interface on the Pi; on the server it is bond-SITE. Default bond0. */
      interface: interfaceName.default("bond0"),
      /** Time between two ARP probes on each tunnel, milliseconds. Default 100 (kernel: Documentation/networking/bonding). */
      arpInterval: whole(20, 1000, "milliseconds").default(100),
    })
    .prefault({}),
  vpn: z
    .strictObject({
      /** UDP port of the first tunnel on the server; each further one has the next. Default 1194. */
      firstPort: whole(1, 65535, "a port").default(1194),
      /** Seconds between OpenVPN's own pings, and after how many of silence a tunnel is closed. */
      keepalive: z
        .strictObject({
          interval: whole(1, 60, "seconds").default(1),
          timeout: whole(2, 600, "seconds").default(4),
        })
        .prefault({}),
    })
    .prefault({}),
  activation: z
    .strictObject({
      /** Seconds after which a host undoes a change that no fresh login has confirmed. Default 90. */
      confirmWithin: whole(30, 900, "seconds").default(90),
    })
    .prefault({}),
});

/** A site's config with every default filled in and rates in kbit/s. */
export type Site = z.output<typeof schema>;
export type Line = Site["lines"][number];
export type Ssh = z.output<typeof ssh>;

/**
 * Reads a site's config.
 * @throws ConfigError with every mistake in it: of single fields, and of fields that contradict one another
 */
export function parseSite(raw: unknown): Site {
  const result = schema.safeParse(raw);
  const mistakes = result.success ? [] : result.error.issues.flatMap((issue) => toMistakes(issue, raw));
  mistakes.push(...findContradictions(raw));
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return result.data!;
}

function toMistakes(issue: z.core.$ZodIssue, raw: unknown): Mistake[] {
  const path = pathText(issue.path);
  const value = valueAt(raw, issue.path);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: path ? `${path}.${key}` : key,
      value: valueAt(raw, [...issue.path, key]),
      reason: "no such field exists",
      mend: "Correct its name or take it out; docs/reference.md lists all fields.",
    }));
  }
  if (value === undefined) {
    return [{ path, value, reason: "the site needs it", mend: "Add it; docs/reference.md says what it is." }];
  }
  if (issue.code === "custom") {
    const { reason, mend } = issue.params as { reason: string; mend: string };
    return [{ path, value, reason, mend }];
  }
  return [
    { path, value, reason: issue.message.toLowerCase(), mend: "See docs/reference.md for what it may be." },
  ];
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text ? `${text}.${String(part)}` : String(part);
  }, "");
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown> | null)?.[part], raw);
}
