import { parseCidr } from "./address.ts";
import { bondTo } from "./backups.ts";
import { networkOf } from "./networks.ts";
import type { Site } from "./schema.ts";

/** Marks and tables of the Pi's bonds, beside those of the lines (plan.ts). */
const mainBond = { mark: 0xad00, table: 21000 };
const firstBackup = { mark: 0xad20, table: 21020 };

/** One of the site's servers, and what is its own of the bond to it. */
export interface Server {
  host: string;
  at: string;
  given: Pick<Site["server"], "address" | "ssh" | "ovh" | "letThrough">;
  bind: string | undefined;
  network: string;
  /** The bond's name on the Pi. */
  bond: string;
  mark: number;
  table: number;
}

/** The site's servers, the main one first. */
export function serversOf({ server, backups, bond, vpn }: Site): Server[] {
  const main = {
    host: "server",
    at: "",
    given: server,
    bind: vpn.bind,
    network: bond.network,
    bond: bond.interface,
    ...mainBond,
  };
  const others = backups.map((backup, index) => ({
    host: backup.name,
    at: `-at-${backup.name}`,
    given: backup,
    bind: backup.bind,
    network: String(networkOf(backup, index, parseCidr(bond.network)!)),
    bond: bondTo(backup.name),
    mark: firstBackup.mark + index,
    table: firstBackup.table + index,
  }));
  return [main, ...others];
}
