import { z } from "zod";
import { list, told } from "./fields.ts";

/** A chain of somebody else's firewall, in nftables' words: `ip filter FORWARD`. */
const chain = told(
  (value) => /^(ip|inet) [\w.-]+ [\w.-]+$/.test(value) && !value.includes(" adsl_bonding_"),
  "is no chain of somebody else's firewall",
  "Write its family, table and name as `nft list chains` shows them, such as ip filter FORWARD (which is where iptables, ufw and Docker have it).",
);

const chains = list(chain, { none: "must name a chain" }).default([]);

/**
 * Chains of somebody else's that drop what the site needs, and get a rule of ours that lets just that through. No
 * accept in a table of our own could: a packet has to pass every table.
 */
const onAnyHost = {
  /** Those of the hook forward, for what passes between the bond and anything else. Default: none. */
  forward: chains,
};

/** The field `letThrough` of the Pi. */
export const letThrough = z.strictObject(onAnyHost).prefault({});

/** The same of a server, which the tunnels call too. */
export const letThroughOnServer = z
  .strictObject({
    ...onAnyHost,
    /** Those of the hook input, for the tunnels' ports. Default: none. */
    input: chains,
  })
  .prefault({});
