import { z } from "zod";
import { type Cidr, contains, isAddress, nthAddress, overlap, parseCidr } from "./address.ts";
import { price } from "./cost.ts";
import { cidr, hostAddress, label } from "./fields.ts";
import { letThroughOnServer } from "./letThrough.ts";
import type { Mistake } from "./mistake.ts";
import { ovh } from "./ovh.ts";
import { asRecord, type Raw } from "./raw.ts";
import { ssh } from "./ssh.ts";

/** Names that hosts have already, in resources and messages. */
const taken = ["pi", "server"];

/** A server that takes over when those before it are dead. */
const backup = z.strictObject({
  /** Its name, part of names of files, units and interfaces on the Pi. */
  name: label("backup server", 8),
  /** Its public IPv4 address. */
  address: hostAddress,
  ssh,
  /** Its own address that the tunnels listen on, as `vpn.bind` is the main server's. Default: all of them. */
  bind: hostAddress.optional(),
  /** Network of its bond, as `bond.network` is of the main server's. Default: see networkOf. */
  network: cidr.optional(),
  /** Where it is looked up at OVH, as `server.ovh`. Default: nowhere. */
  ovh: ovh.optional(),
  /** What it costs a month, in costs.currency. */
  price: price.optional(),
  /** What of its own firewall gets an exception: see letThrough.ts. Default: nothing. */
  letThrough: letThroughOnServer,
});

/** The field `backups` of a site, in the order of preference. */
export const backupsField = z.array(backup).max(3, "holds more backup servers than three").default([]);

/** The name of the Pi's bond to a backup server. */
export function bondTo(name: string): string {
  return `bond-${name}`;
}

/** The network of a backup's bond: unless it is given, the first /30 after the main bond's, the second, and so on. */
export function networkOf({ network }: { network?: unknown }, index: number, bond: Cidr): unknown {
  if (network !== undefined) return network;
  const size = Math.max(2 ** (32 - bond.prefix), 4);
  return `${nthAddress(bond.network, size + 4 * index)}/30`;
}

/** What one backup can't be beside the others, the main server, and the networks of the site. */
export function backupContradictions(site: Raw, bond: Raw, lan: Cidr | undefined): Mistake[] {
  const backups = Array.isArray(site.backups) ? site.backups.map(asRecord) : [];
  const main = parseCidr(bond.network);
  const networks = main ? [main, ...backups.map((each, n) => parseCidr(networkOf(each, n, main)))] : [];
  const own = { address: asRecord(site.server).address, network: bond.network, what: "server" };
  const servers = [own, ...backups.map((each, n) => ({ ...each, what: `backups[${n}]` }))] as Raw[];
  return backups.flatMap((each, index) => [
    ...nameMistakes(backups, index),
    ...bondNameTaken(site, bond, each.name, index),
    ...addressMistakes(servers, index + 1, [lan, ...networks]),
    ...networkMistakes(each, index, networks, lan),
  ]);
}

function nameMistakes(backups: Raw[], index: number): Mistake[] {
  const { name } = backups[index]!;
  const first = backups.findIndex((other) => other.name === name);
  if (typeof name !== "string" || (first === index && !taken.includes(name))) return [];
  const reason = first === index ? "another host is called so" : `backups[${first}] has it already`;
  const mend = `Give each a name of its own, and none of ${taken.join(", ")}.`;
  return [{ path: `backups[${index}].name`, value: name, reason, mend }];
}

/** The Pi's interfaces are named by the backup: none of the Pi's others may be called so. */
function bondNameTaken(site: Raw, bond: Raw, name: unknown, index: number): Mistake[] {
  const lines = Array.isArray(site.lines) ? site.lines.map((each) => asRecord(each).interface) : [];
  const others = [asRecord(site.pi).interface, bond.interface, ...lines];
  const clash = others.find(
    (each) => each === bondTo(String(name)) || (typeof each === "string" && isTapOf(each, name)),
  );
  if (clash === undefined) return [];
  const reason = `the Pi's interface ${String(clash)} is called as one of this backup's would be`;
  return [{ path: `backups[${index}].name`, value: name, reason, mend: "Give the backup another name." }];
}

function isTapOf(device: string, name: unknown): boolean {
  return /^tap\d+-/.test(device) && device.replace(/^tap\d+-/, "") === name;
}

function addressMistakes(servers: Raw[], number: number, networks: (Cidr | undefined)[]): Mistake[] {
  const { address: value } = servers[number]!;
  const path = `backups[${number - 1}].address`;
  if (!isAddress(value)) return [];
  const first = servers.findIndex((other) => other.address === value);
  const twice: Mistake[] =
    first === number
      ? []
      : [
          {
            path,
            value,
            reason: `${String(servers[first]!.what)} has it already`,
            mend: "Give each server's own public address.",
          },
        ];
  const inside = networks.flatMap((network): Mistake[] => {
    if (!network || !contains(network.network, value)) return [];
    const reason = `stands inside ${network.network}, a network of the site itself`;
    const mend = "Give the server's public address, or choose another network.";
    return [{ path, value, reason, mend }];
  });
  return [...twice, ...inside];
}

/** @param networks the main bond's, then each backup's */
function networkMistakes(
  each: Raw,
  index: number,
  networks: (Cidr | undefined)[],
  lan: Cidr | undefined,
): Mistake[] {
  const network = networks[index + 1];
  if (!network) return [];
  // One that is derived is told as missing: the mend is to write it.
  const at = { path: `backups[${index}].network`, value: each.network };
  const derived = each.network === undefined ? `, ${network.network} without it,` : "";
  const mend = "Choose a private network that is free at both ends, such as 172.16.17.0/30.";
  if (network.prefix > 30) return [{ ...at, reason: "has no room for two hosts", mend }];
  const others = [
    { what: "the Pi's LAN", network: lan },
    { what: "bond.network", network: networks[0] },
    ...networks.slice(1, index + 1).map((other, n) => ({ what: `that of backups[${n}]`, network: other })),
  ];
  return others.flatMap(({ what, network: other }) => {
    if (!other || !overlap(network.network, other.network)) return [];
    const reason = `the bond's network${derived} overlaps ${what}, ${other.network}`;
    return [{ ...at, reason, mend }];
  });
}
