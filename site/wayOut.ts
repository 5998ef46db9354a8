import { z } from "zod";
import { isAddress, isPrivate, isReachable } from "./address.ts";
import type { Mistake } from "./mistake.ts";
import { inside, lanOf } from "./networks.ts";
import { asRecord, type Raw, rawServers } from "./raw.ts";

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
export function wayOutContradictions(site: Raw): Mistake[] {
  const { wayOut: value } = asRecord(site.activation);
  if (!isAddress(value)) return [];
  const path = "activation.wayOut";
  const isServer = rawServers(site).some(({ raw, bind }) =>
    [raw.address, bind, asRecord(raw.ssh).host].includes(value),
  );
  if (isServer) {
    return [{ path, value, reason: "is a server of the site itself", mend }];
  }
  if (isPrivate({ address: value, prefix: 32 })) {
    return [{ path, value, reason: "is an address that nobody has on the internet", mend }];
  }
  const lan = lanOf(asRecord(site.pi));
  return inside({ path, value }, lan ? [{ network: lan }] : [], mend);
}
