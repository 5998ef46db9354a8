import { everyServer, type Plan, serverAddresses } from "../../site/plan.ts";
import { detourRoutes } from "../detour/detour.ts";
import type { Routes } from "../routes.ts";
import { staying } from "./stays.ts";

/**
 * In which order the Pi asks our rules, all ahead of the system's own for main (32766). Those that take whatever is left come
 * behind the rules of other software, such as Tailscale's for its own table (5270): its networks stay where they are.
 */
const preference = {
  tunnels: 1000,
  lan: 1050,
  answers: 1100,
  server: 1110,
  specific: 1200,
  bound: 1250,
  bypass: 31250,
  bond: 31300,
  instead: 31890,
  fallback: 31900,
};

/** Routing table of the LAN's own network. */
const lanTable = 20999;

/** Routing table of a site whose traffic is not to leave past the bond. */
const nowhereTable = 21010;

/**
 * The Pi's rules and tables. In this order: a tunnel's own packets leave by its box or not at all; what belongs to a connection of a
 * bond leaves by that, be it an operator's to a host that has just become a server of the site; the servers' own addresses are reached
 * outside the bonds; whatever main knows better than a default route stays as it is; what is bound to a bond goes by that; what is to
 * leave past the bonds does, and what began there; the rest goes through the first bond that has a live slave. The network manager's
 * default route in main is never touched: it is the way out when none has, unless the site names another or wants none.
 */
export function piRoutes(plan: Plan): Routes {
  const { lines, pi, forwards, direct } = plan;
  const { ways, fallback } = direct;
  const last = fallback ? (fallback === "main" ? undefined : fallback.table) : nowhereTable;
  const all = everyServer(plan);
  const lan = lanFirst(lines, pi);
  const detour = detourRoutes(plan, preference);
  const kept = forwards.length > 0 || all.length > 1 ? all : [];
  // What the Pi itself tells the LAN of a connection has the mark, too.
  const inside = { pref: preference.answers - 1, selector: `to ${pi.lan}`, table: "main" as const };
  return {
    rules: [
      ...lines.map(({ mark, table }) => ({ pref: preference.tunnels, selector: `fwmark ${mark}`, table })),
      ...lan.rules,
      ...(kept.length > 0 ? [inside] : []),
      ...kept.map(({ bondMark, bondTable }) => ({
        pref: preference.answers,
        selector: `fwmark ${bondMark}`,
        table: bondTable,
      })),
      ...serverAddresses(plan).flatMap((address, index) => {
        const first = { pref: preference.server + 2 * index, selector: `to ${address}` };
        // Where main has no default route, as in a set-up that leaves it to the bond: by the first line's box.
        return [
          { ...first, table: "main" as const },
          { ...first, pref: first.pref + 1, table: lines[0]!.table },
        ];
      }),
      { pref: preference.specific, table: "main", options: "suppress_prefixlength 0" },
      ...detour.rules,
      ...ways.map(({ mark, table }) => ({ pref: preference.bypass, selector: `fwmark ${mark}`, table })),
      ...staying(plan).map(({ stayMark, table }) => ({
        pref: preference.bypass,
        selector: `fwmark ${stayMark}`,
        table,
      })),
      ...all.map(({ bondTable }, index) => ({ pref: preference.bond + index, table: bondTable })),
      ...(last ? [{ pref: preference.fallback, table: last }] : []),
    ],
    routes: [
      "# A line's packets leave by its box, whose route gateways.service sets and keeps, or not at all.",
      ...lines.map(({ table }) => `unreachable default metric 4096 table ${table}`),
      ...lan.routes.flatMap((route) => [
        "# At a boot without the LAN's switch it can't be set yet: gateways.service does it with the address.",
        `${route} || true`,
      ]),
      ...all.map((each) => `default via ${each.pi.peerAddress} dev ${each.pi.bond} table ${each.bondTable}`),
      ...detour.routes,
      ...(last === nowhereTable ? [`unreachable default metric 4096 table ${nowhereTable}`] : []),
    ],
    tables: [
      ...lines.map(({ table }) => table),
      ...lan.tables,
      ...all.map(({ bondTable }) => bondTable),
      ...detour.tables,
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
