import { z } from "zod";
import { isPrivate, isReachable, parseCidr } from "./address.ts";
import type { Mistake } from "./mistake.ts";
import { asRecord, asRecords, type Raw } from "./raw.ts";

const mend =
  "Write an address on the internet, such as 1.1.1.1, or false where nothing behind the server ever answers.";

/**
 * An address on the internet, towards which the Pi sends packets that die at the first routers behind the server: their answers
 * prove the LAN's way out (components/pi/wayOut.ts). False: it is not proved. Default 1.1.1.1.
 */
export const wayOut = z
  .custom<string | false>((value) => value === false || isReachable(value), {
    params: { reason: "is neither the IPv4 address of a machine elsewhere nor false", mend },
  })
  .default("1.1.1.1");

/** A server's own answer proves nothing of what it passes on. */
export function wayOutContradictions({ activation, server, vpn, backups }: Raw): Mistake[] {
  const { wayOut: value } = asRecord(activation);
  const servers = [asRecord(server), asRecord(vpn), ...asRecords(backups)].flatMap(({ address, bind }) => [
    address,
    bind,
  ]);
  const path = "activation.wayOut";
  if (typeof value !== "string") return [];
  if (servers.includes(value)) return [{ path, value, reason: "is a server of the site itself", mend }];
  const cidr = parseCidr(`${value}/32`);
  return cidr && isPrivate(cidr)
    ? [{ path, value, reason: "is an address that nobody has on the internet", mend }]
    : [];
}
