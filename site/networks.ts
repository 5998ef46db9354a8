import {
  type Cidr,
  contains,
  isAddress,
  isLinkLocal,
  isPrivate,
  isReserved,
  nthAddress,
  overlap,
  parseCidr,
  specialRange,
} from "./address.ts";
import { addressOnLan, judged, type Verdict } from "./fields.ts";
import { isOnLan } from "./lineInterface.ts";
import type { Mistake } from "./mistake.ts";
import { asRecord, asRecords, type Raw, rawLogins, rawServers } from "./raw.ts";

/** What a bond's network could be instead, beside those that it can't share addresses with. */
function choose(taken: string[] = []): string {
  const free = [defaultNetwork, "10.83.83.0/30", "192.168.83.0/30"].find(
    (each) => !taken.some((other) => overlap(each, other)),
  );
  return `Choose a private network that is free at both ends, such as ${free ?? "a /30 of your own"}.`;
}

/** What a bond's network can't be. */
function judgeBondNetwork(value: unknown): Verdict {
  const cidr = parseCidr(value);
  const mend = choose();
  if (!cidr) return { reason: "is not an IPv4 network with its prefix", mend };
  const special = specialRange(cidr.address);
  if (special) return { reason: special, mend };
  if (isLinkLocal(cidr.address)) return { reason: "is of addresses that no router passes on", mend };
  if (!isPrivate(cidr)) {
    return { reason: "is no private network: out on the internet these addresses are others'", mend };
  }
  if (cidr.prefix > 30) return { reason: "has no room for two hosts", mend };
  if (cidr.network === value) return undefined;
  const reason = "is an address inside a network; the two ends' own are counted from the network's first";
  return { reason, mend: `Write ${cidr.network}.` };
}

/** The main bond's, where the config has none. */
export const defaultNetwork = "172.16.16.0/30";

/** The network of a bond. */
export const bondNetwork = judged(judgeBondNetwork);

/** The network of a backup's bond: unless it is given, the first /30 after the main bond's, the second, and so on. */
export function networkOf({ network }: { network?: unknown }, index: number, bond: Cidr): unknown {
  if (network !== undefined) return network;
  const size = Math.max(2 ** (32 - bond.prefix), 4);
  return `${nthAddress(bond.network, size + 4 * index)}/30`;
}

/** A network of the site. */
interface Own {
  /** The field that says it, or could. */
  path: string;
  what: string;
  /** What the config has there. */
  value: unknown;
  network: Cidr;
}

/** The bonds' networks and the Pi's LAN beside one another, and whoever can't have an address in one of them. */
export function networkContradictions(site: Raw, lines: Raw[]): Mistake[] {
  const all = ownNetworks(site);
  const bonds = all.filter(({ path }) => path !== "pi.address");
  return [
    ...bonds.flatMap((bond) => {
      const { path, value, network } = bond;
      const derived =
        value === undefined ? `without it the bond's network is ${network.network}, which ` : "";
      const at = { path, value };
      const wrong = value === undefined ? judgeBondNetwork(network.network) : undefined;
      const mend = choose(all.filter((each) => each !== bond).map((each) => each.network.network));
      if (wrong) return [{ ...at, reason: `${derived}${wrong.reason}`, mend }];
      return all.slice(0, all.indexOf(bond)).flatMap((other) => {
        if (!overlap(network.network, other.network.network)) return [];
        return [{ ...at, reason: `${derived}overlaps ${other.what} ${other.network.network}`, mend }];
      });
    }),
    ...strangers(site).flatMap((each) =>
      inside(each, all, "Give the server's own address, or choose another network."),
    ),
    ...logins(site).flatMap((each) =>
      inside(each, bonds, "Give an address that is there without the bond, which an `up` may make anew."),
    ),
    ...sources(site).flatMap((each) =>
      inside(each, all, "Give the lines' own public addresses: the server sees the tunnels come from these."),
    ),
    ...boxes(lines, asRecord(site.pi)).flatMap((each) =>
      inside(each, bonds, "Give the box another address, or the bond another network."),
    ),
  ];
}

/** The site's own networks that are as they have to be: the Pi's LAN, and the bonds'. */
export function ownNetworks(site: Raw): Own[] {
  const pi = asRecord(site.pi);
  const network = lanOf(pi);
  const lan = network && { path: "pi.address", what: "the Pi's LAN", value: pi.address, network };
  return [...(lan ? [lan] : []), ...bondNetworks(site)];
}

/** The Pi's address on its LAN; undefined where it is not as it has to be. */
export function lanOf({ address }: Raw): Cidr | undefined {
  return addressOnLan.safeParse(address).success ? parseCidr(address) : undefined;
}

/** Why an address is no machine's on the Pi's LAN; undefined where it can be one's. */
export function notOnLan({ network }: Cidr, address: string): string | undefined {
  if (!contains(network, address)) return `is outside the Pi's LAN ${network}`;
  return isReserved(network, address) ? `is no host's address in ${network}` : undefined;
}

/** Those that are as they have to be, and those that are derived. */
function bondNetworks({ bond, backups }: Raw): Own[] {
  const { network: value } = asRecord(bond);
  if (value !== undefined && judgeBondNetwork(value)) return [];
  const main = parseCidr(value ?? defaultNetwork)!;
  const others = asRecords(backups).flatMap((each, index): Own[] => {
    if (each.network !== undefined && judgeBondNetwork(each.network)) return [];
    const network = parseCidr(networkOf(each, index, main));
    const path = `backups[${index}].network`;
    return network ? [{ path, what: path, value: each.network, network }] : [];
  });
  return [{ path: "bond.network", what: "bond.network", value, network: main }, ...others];
}

type Placed = Pick<Mistake, "path" | "value">;

/** The servers' addresses. */
function strangers(site: Raw): Placed[] {
  return rawServers(site).flatMap(({ path, raw, bindPath, bind }) => [
    { path: `${path}.address`, value: raw.address },
    { path: bindPath, value: bind },
  ]);
}

/** Where SSH goes to. */
function logins(site: Raw): Placed[] {
  return rawLogins(site).flatMap(({ path, ssh }) => [
    { path: `${path}.ssh.host`, value: ssh.host },
    { path: `${path}.ssh.jump.host`, value: asRecord(ssh.jump).host },
  ]);
}

/** Whence tunnels are to be taken. */
function sources({ vpn }: Raw): Placed[] {
  const given = asRecord(vpn).sources;
  return (Array.isArray(given) ? given : []).map((value, index) => ({
    path: `vpn.sources[${index}]`,
    value,
  }));
}

/** The boxes on interfaces of their own; the others must be on the LAN. */
function boxes(lines: Raw[], pi: Raw): Placed[] {
  return lines.flatMap((line, index) =>
    isOnLan(line, pi) ? [] : [{ path: `lines[${index}].gateway`, value: line.gateway }],
  );
}

/** What is wrong with an address, or a network, that shares addresses with some of the site's own. */
export function inside({ path, value }: Placed, networks: Pick<Own, "network">[], mend: string): Mistake[] {
  const given = isAddress(value) ? `${value}/32` : parseCidr(value)?.network;
  if (given === undefined) return [];
  return networks
    .filter(({ network }) => overlap(network.network, given))
    .map(({ network }) => {
      const stands = isAddress(value) ? "stands inside" : "shares addresses with";
      const reason = `${stands} ${network.network}, a network of the site itself`;
      return { path, value, reason, mend };
    });
}
