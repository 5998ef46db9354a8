import type { Plan } from "../../site/plan.ts";
import type { Routes } from "../routes.ts";

/** In which order the Pi asks our rules, all ahead of the system's own for main (32766). */
const preference = {
  tunnels: 1000,
  lan: 1050,
  server: 1100,
  answers: 1150,
  specific: 1200,
  bypass: 1250,
  bond: 1300,
  fallback: 1900,
};

/** Routing table of the LAN's own network. */
const lanTable = 20999;

/** Routing table of a site whose traffic is not to leave past the bond. */
const nowhereTable = 21010;

/**
 * The Pi's rules and tables. In this order: a tunnel's own packets leave by its box or not at all; the
 * server's own address is reached outside the bond; answers to what came in by the bond leave by it; whatever main knows better than a default route stays as
 * it is; what is to leave past the bond does; the rest goes through the bond. The network manager's default route in main is
 * never touched: it is the way out when the bond has no live slave, unless the site names another or wants none.
 */
export function piRoutes({ lines, server, pi, bondTable, bondMark, forwards, direct }: Plan): Routes {
  const { ways, fallback } = direct;
  const last = fallback === "nowhere" ? nowhereTable : fallback === "main" ? undefined : fallback.table;
  const lan = lanFirst(lines, pi);
  return {
    rules: [
      ...lines.map(({ mark, table }) => ({ pref: preference.tunnels, selector: `fwmark ${mark}`, table })),
      ...lan.rules,
      { pref: preference.server, selector: `to ${server.address}`, table: "main" },
      // Where main has no default route, as in a set-up that leaves it to the bond: by the first line's box.
      { pref: preference.server + 1, selector: `to ${server.address}`, table: lines[0]!.table },
      ...(forwards.length > 0
        ? [{ pref: preference.answers, selector: `fwmark ${bondMark}`, table: bondTable }]
        : []),
      { pref: preference.specific, table: "main", options: "suppress_prefixlength 0" },
      ...ways.map(({ mark, table }) => ({ pref: preference.bypass, selector: `fwmark ${mark}`, table })),
      { pref: preference.bond, table: bondTable },
      ...(last ? [{ pref: preference.fallback, table: last }] : []),
    ],
    routes: [
      "# A line's packets leave by its box, whose route gateways.service sets and keeps, or not at all.",
      ...lines.map(({ table }) => `unreachable default metric 4096 table ${table}`),
      ...lan.routes,
      `default via ${pi.peerAddress} dev ${pi.bond} table ${bondTable}`,
      ...(last === nowhereTable ? [`unreachable default metric 4096 table ${nowhereTable}`] : []),
    ],
    tables: [
      ...lines.map(({ table }) => table),
      ...lan.tables,
      bondTable,
      ...ways.map(({ table }) => table),
      ...(last === nowhereTable ? [nowhereTable] : []),
    ],
  };
}

/**
 * Keeps the LAN's addresses on the LAN. A box on an interface of its own may well use the same network, as
 * most boxes are delivered, and main then holds that network twice.
 */
export function lanFirst(lines: Plan["lines"], { lan, interface: device, address }: Plan["pi"]): Routes {
  if (lines.every((line) => line.interface === device)) return { rules: [], routes: [], tables: [] };
  return {
    rules: [{ pref: preference.lan, selector: `to ${lan}`, table: lanTable }],
    routes: [`${lan} dev ${device} src ${address} table ${lanTable}`],
    tables: [lanTable],
  };
}
