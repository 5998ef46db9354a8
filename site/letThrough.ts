import { z } from "zod";
import { judged, list } from "./fields.ts";

/** The hooks after which base chains are called, by iptables always. */
const hooks = ["input", "forward", "output", "prerouting", "postrouting"];

/** Chains of somebody else's firewall at a hook, in nftables' words: `ip filter FORWARD`. */
function chainsOf(hook: string) {
  const usual = `ip filter ${hook.toUpperCase()}`;
  const chain = judged((value) => {
    const [, name] =
      /^(?:ip|inet) (?!adsl_bonding_)[\w.-]+ ([\w.-]+)$/.exec(typeof value === "string" ? value : "") ?? [];
    if (name === undefined) {
      const mend = `Write its family, table and name as \`nft list chains\` shows them, such as ${usual} (which is where iptables, ufw and Docker have it).`;
      return { reason: "is no chain of somebody else's firewall", mend };
    }
    const other = hooks.find((each) => each === name.toLowerCase() && each !== hook);
    if (other === undefined) return undefined;
    return { reason: `is a chain of the hook ${other}, not of ${hook}`, mend: `Write ${usual}, say.` };
  });
  return list(chain, { none: "must name a chain" }).default([]);
}

/**
 * Chains of somebody else's that drop what the site needs, and get a rule of ours that lets just that through. No
 * accept in a table of our own could: a packet has to pass every table.
 */
export const letThrough = z
  .strictObject({
    /** Those of the hook forward, for what passes between the bond and anything else. Default: none. */
    forward: chainsOf("forward"),
    /** Those of the hook input, for what the site asks of the host itself: pings, and a server's tunnels. Default: none. */
    input: chainsOf("input"),
  })
  .prefault({});
