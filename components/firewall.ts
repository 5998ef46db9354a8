import type { Names } from "./names.ts";
import { renderStateScript } from "./script.ts";

/** The chains' rules for one host, in nftables' words. */
export interface FirewallRules {
  /** Every chain with its hook and its rules. */
  chains: { name: string; hook: string; rules: string[] }[];
  /** Sets that a program of ours fills: name and type of each. Default: none. */
  sets?: { name: string; type: string }[];
}

/** A ruleset of one table of our own, which replaces itself as a whole and touches no other. */
export function renderFirewall(names: Names, { chains, sets = [] }: FirewallRules): string {
  const table = `inet ${names.nftTable}`;
  const held = sets.map(({ name, type }) => `  set ${name} {\n    type ${type};\n  }`);
  const text = chains.map(
    ({ name, hook, rules }) =>
      `  chain ${name} {\n    type ${hook};\n${rules.map((rule) => `    ${rule}\n`).join("")}  }`,
  );
  return `#!/usr/sbin/nft -f
# One table of our own; it comes and goes as a whole.
table ${table} {}
delete table ${table}
table ${table} {
${[...held, ...text].join("\n\n")}
}
`;
}

/**
 * TCP's segments are cut to what fits through the bond, for all who don't learn its MTU by themselves; and to
 * what a line passes whole, where larger packets would have to be cut there.
 */
export function clampSegments(bond: string, segment: number | undefined): string {
  return `oifname "${bond}" tcp flags syn / syn,rst tcp option maxseg size set ${segment ?? "rt mtu"}`;
}

/** The script that loads the ruleset, and that can tell what of it is gone; counters and sets' elements come and go. */
export function renderFirewallScript(names: Names): string {
  const table = `inet ${names.nftTable}`;
  return renderStateScript({
    about: "The firewall table of our own.",
    kept: names.picture("firewall"),
    set: [`nft -f ${names.firewallRules}`],
    unset: [`nft delete table ${table} 2>/dev/null || true`],
    show: [`nft -s -t list table ${table} 2>/dev/null | sed "s/^[[:space:]]*//; s/ {$//; /^}/d; /^$/d"`],
  });
}
