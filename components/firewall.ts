import type { End } from "../site/plan.ts";
import type { Names } from "./names.ts";
import { renderStateScript } from "./script.ts";

/** The chains' rules for one host, in nftables' words. */
export interface FirewallRules {
  /** What the rules refer to, a declaration each: named sets and counters. */
  objects?: string[];
  /** Every chain with its hook and its rules. */
  chains: { name: string; hook: string; rules: string[] }[];
}

/** A ruleset of one table of our own, which replaces itself as a whole and touches no other. */
export function renderFirewall(names: Names, { objects = [], chains }: FirewallRules): string {
  const table = `inet ${names.nftTable}`;
  const declared = objects.map((object) => `  ${object}\n`).join("");
  const text = chains.map(
    ({ name, hook, rules }) =>
      `  chain ${name} {\n    type ${hook};\n${rules.map((rule) => `    ${rule}\n`).join("")}  }`,
  );
  return `#!/usr/sbin/nft -f
# One table of our own; it comes and goes as a whole.
table ${table} {}
delete table ${table}
table ${table} {
${declared && `${declared}\n`}${text.join("\n\n")}
}
`;
}

/** Values as nftables compares one with them. */
export function anyOf(values: (string | number)[]): string {
  return values.length === 1 ? String(values[0]) : `{ ${values.join(", ")} }`;
}

/** Interfaces as nftables compares one with them. */
export function interfaces(names: string[]): string {
  return anyOf(names.map((name) => `"${name}"`));
}

/**
 * TCP's segments are cut to what fits through the bond, for all who don't learn its MTU by themselves; and to
 * what a line passes whole, where larger packets would have to be cut there.
 */
export function clampSegments(bond: string, segment: number | undefined): string {
  return `oifname "${bond}" tcp flags syn / syn,rst tcp option maxseg size set ${segment ?? "rt mtu"}`;
}

/**
 * Holds back the host's own resets to what its connection tracking can't place. A late or stray segment of a connection that is
 * translated here would pass for one to the host itself, which knows of none, and whose reset would end the connection at the
 * far end.
 */
export const unplacedResets: FirewallRules["chains"][number] = {
  name: "unplaced_resets",
  hook: "filter hook output priority filter; policy accept",
  rules: ["tcp flags & rst == rst ct state invalid counter drop"],
};

/** One rule of ours in a chain of somebody else's. */
export interface Exception {
  /** The chain's family, table and name. */
  chain: string;
  rule: string;
}

/**
 * The rules that let through, in other tables' chains, what is between bonds and anything else, what is forwarded past
 * them, and what the site asks of the host itself.
 * @param past interfaces, from one to the other, of what is forwarded past the bonds
 * @param asked what is let in, in nftables' words
 */
export function exceptionsOf(
  letThrough: End["letThrough"],
  bonds: string[],
  past: [string, string][],
  asked: string[],
): Exception[] {
  return [
    ...letThrough.forward.flatMap((chain) => [
      ...bonds.flatMap((bond) => [
        { chain, rule: `iifname "${bond}" accept` },
        { chain, rule: `oifname "${bond}" accept` },
      ]),
      ...past.map(([from, to]) => ({ chain, rule: `iifname "${from}" oifname "${to}" accept` })),
    ]),
    // One port, or range, each: iptables, whose chain it may be, could not show a set, nor a type of ICMP's in older releases.
    ...letThrough.input.flatMap((chain) => asked.map((match) => ({ chain, rule: `${match} accept` }))),
  ];
}

/**
 * The script that loads the ruleset, and that can tell what of it is gone; counters and sets' elements come and go.
 * @param also a command that completes a table just loaded
 */
export function renderFirewallScript(names: Names, exceptions: Exception[], also?: string): string {
  const table = `inet ${names.nftTable}`;
  const chains = [...new Set(exceptions.map(({ chain }) => chain))];
  const show = [
    `nft -s -t list table ${table} 2>/dev/null | sed "s/^[[:space:]]*//; s/ {$//; /^}/d; /^$/d"`,
    ...chains.map(
      (chain) =>
        `nft -s -p list chain ${chain} 2>/dev/null | sed -n '/comment "${names.mark}"/s/^[[:space:]]*/${chain}: /p'`,
    ),
  ];
  return renderStateScript({
    about: "The firewall table of our own.",
    kept: names.picture("firewall"),
    functions: [
      "# Loads our table; the keeper calls it too.",
      "load() {",
      `  nft -f ${names.firewallRules}`,
      ...(also ? [`  ${also}`] : []),
      "}",
      ...(exceptions.length > 0 ? ["", renderExceptions(names, exceptions)] : []),
      "",
    ].join("\n"),
    set: ["load", ...(exceptions.length > 0 ? ["let_through"] : [])],
    unset: [
      "# Without any table nothing is translated, and what comes from outside for the LAN would pass for the host's own, whose reset ends",
      "# every download: what follows replaces it as a whole.",
      `[ -e ${names.replaced} ] || nft delete table ${table} 2>/dev/null || true`,
      ...chains.map((chain) => `take_back ${chain}`),
    ],
    show,
  });
}

function renderExceptions({ mark }: Names, exceptions: Exception[]): string {
  const chains = [...new Set(exceptions.map(({ chain }) => chain))];
  const calls = chains.map((chain) => {
    const rules = exceptions.filter((each) => each.chain === chain).map(({ rule }) => rule);
    return `  let_in ${chain} <<'RULES'\n${rules.join("\n")}\nRULES\n`;
  });
  return `# Our rules in the chains of others, which drop what the site needs; each is known by its comment.
let_through() {
${calls.join("")}}

# let_in FAMILY TABLE CHAIN: rules as the first of the chain, unless as many of ours stand there. By their number, and not by their
# text, which nft may show in other words: what were never found would be put there again and again, for the keeper comes by here at
# whatever changes.
let_in() {
  rules=$(cat)
  found=$(nft -a list chain "$@" 2>/dev/null) || { echo "there is no chain $*" && return; }
  handles=$(printf '%s\\n' "$found" | ours)
  [ "$(printf '%s\\n' "$handles" | grep -c .)" != "$(printf '%s\\n' "$rules" | grep -c .)" ] || return 0
  {
    printf '%s\\n' "$handles" | sed -n "s/..*/delete rule $* handle &/p"
    printf '%s\\n' "$rules" | sed "s|.*|insert rule $* & comment \\"${mark}\\"|"
  } | nft -f -
}

take_back() {
  nft -a list chain "$@" 2>/dev/null | ours | while read -r handle; do nft delete rule "$@" handle "$handle"; done
}

# The handles of our rules in a chain that nft lists with them.
ours() { sed -n 's/.*comment "${mark}" # handle //p'; }`;
}
