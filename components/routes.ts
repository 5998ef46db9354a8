import type { Names } from "./names.ts";
import { renderStateScript } from "./script.ts";

/** One of our routing rules, as `ip rule` takes it. */
export interface Rule {
  pref: number;
  /** What it applies to: `fwmark 1`, `to 192.0.2.1`; everything when empty. */
  selector?: string;
  table: number | "main";
  /** What else is asked of the table: `suppress_prefixlength 0`. */
  options?: string;
}

/** What a machine's routes script sets. */
export interface Routes {
  rules: Rule[];
  /** `ip route replace` without its first words, comments between them allowed. */
  routes: string[];
  /** The tables of our own that the routes stand in. */
  tables: number[];
}

/** A script that sets rules and routes in tables of our own. */
export function renderRoutesScript(names: Names, { rules, routes, tables }: Routes): string {
  const selected = rules.map(({ pref, selector, table, options }) => ({
    listed: `pref ${pref} lookup ${table}`,
    rule: [`pref ${pref}`, selector, `lookup ${table}`, options].filter(Boolean).join(" "),
  }));
  return renderStateScript({
    about: "Rules and routes of our own.",
    kept: names.picture("routes"),
    set: [
      ...routes.map((route) => (route.startsWith("#") ? route : `ip route replace ${route}`)),
      ...selected.map(({ listed, rule }) => `ip rule show ${listed} | grep -q . || ip rule add ${rule}`),
    ],
    unset: [
      ...selected.map(({ rule }) => `ip rule del ${rule} 2>/dev/null || true`),
      ...tables.map((table) => `ip route flush table ${table} 2>/dev/null || true`),
    ],
    show: [
      ...selected.map(({ listed }) => `ip rule show ${listed} | sed "s/^[0-9]*:[[:space:]]*/rule /"`),
      // A link that is down for now is no route that was taken away.
      ...tables.map(
        (table) =>
          `ip route show table ${table} 2>/dev/null | sed "s/ linkdown//; s/ dead//; s/ *$/ table ${table}/; s/^/route /"`,
      ),
    ],
  });
}
