import { z } from "zod";
import { isAddress } from "./address.ts";
import { price } from "./cost.ts";
import { bindAddress, hostAddress, isLabel, label, list } from "./fields.ts";
import { letThrough } from "./letThrough.ts";
import type { Mistake } from "./mistake.ts";
import { bondNetwork } from "./networks.ts";
import { ovh } from "./ovh.ts";
import { asRecord, asRecords, type Raw, rawServers } from "./raw.ts";
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
  bind: bindAddress.optional(),
  /** Network of its bond, as `bond.network` is of the main server's. Default: see networkOf. */
  network: bondNetwork.optional(),
  /** Where it is looked up at OVH, as `server.ovh`. Default: nowhere. */
  ovh: ovh.optional(),
  /** What it costs a month, in costs.currency. */
  price: price.optional(),
  /** What of its own firewall gets an exception: see letThrough.ts. Default: nothing. */
  letThrough,
});

/** The field `backups` of a site, in the order of preference. */
export const backupsField = list(backup, { most: 8 }).default([]);

/** The name of the Pi's bond to a backup server. */
export function bondTo(name: string): string {
  return `bond-${name}`;
}

/** What one backup can't be beside the others and the main server. */
export function backupContradictions(site: Raw, bond: Raw): Mistake[] {
  const backups = asRecords(site.backups);
  const servers = rawServers(site);
  return backups.flatMap((each, index) => [
    ...nameMistakes(backups, index),
    ...bondNameTaken(site, bond, each.name, index),
    ...takenAddress(servers, index + 1),
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
  if (!isLabel(name, 8)) return [];
  const lines = Array.isArray(site.lines) ? site.lines.map((each) => asRecord(each).interface) : [];
  const { interface: main = "bond0" } = bond;
  const others = [asRecord(site.pi).interface, main, ...lines];
  const clash = others.find(
    (each) => typeof each === "string" && (each === bondTo(name) || isTapOf(each, name)),
  );
  if (clash === undefined) return [];
  const reason = `the Pi's interface ${clash} is called as one of this backup's would be`;
  return [{ path: `backups[${index}].name`, value: name, reason, mend: "Give the backup another name." }];
}

function isTapOf(device: string, name: string): boolean {
  return /^tap\d+-/.test(device) && device.replace(/^tap\d+-/, "") === name;
}

function takenAddress(servers: ReturnType<typeof rawServers>, number: number): Mistake[] {
  const { path, raw } = servers[number]!;
  const value = raw.address;
  const first = servers.findIndex((other) => other.raw.address === value);
  if (!isAddress(value) || first === number) return [];
  const reason = `${servers[first]!.path} has it already`;
  const mend = "Give each server's own public address.";
  return [{ path: `${path}.address`, value, reason, mend }];
}
