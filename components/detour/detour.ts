import { everyServer, type Plan } from "../../site/plan.ts";
import { namesOf } from "../names.ts";
import { canStray } from "../pi/connections.ts";
import type { Routes } from "../routes.ts";
import { daemonUnit, type Service } from "../unit.ts";
import { insteadTable, renderDetour } from "./script.ts";

/** Routing tables for what is bound to a bond's device, by their distance to the table of the bond. */
const boundTables = 60;

/** Whether the site has another way than a server that passes nothing on, and wants the way out proved. */
function hasDetour(plan: Plan): boolean {
  return plan.wayOut !== false && canStray(plan);
}

/**
 * The Pi's routes by which a bond can be asked whether anything answers behind it while nothing else goes by it: what a program binds to
 * the bond's device leaves by that. And the rule for the box that is taken in place of the fallback's own.
 */
export function detourRoutes(plan: Plan, pref: { bound: number; instead: number }): Routes {
  if (!hasDetour(plan)) return { rules: [], routes: [], tables: [] };
  const all = everyServer(plan);
  const tables = all.map(({ bondTable }) => bondTable + boundTables);
  const instead = plan.direct.fallback ? [insteadTable] : [];
  return {
    rules: [
      ...all.map(({ pi }, index) => ({
        pref: pref.bound,
        selector: `oif ${pi.bond}`,
        table: tables[index]!,
      })),
      ...instead.map((table) => ({ pref: pref.instead, table })),
    ],
    routes: all.map(({ pi }, index) => `default via ${pi.peerAddress} dev ${pi.bond} table ${tables[index]}`),
    tables: [...tables, ...instead],
  };
}

/**
 * Leads the traffic round a server that lives but passes nothing on, as one whose firewall was changed by another program: neither its
 * bond nor OpenVPN can see that. And, where traffic leaves by a box, round one whose line is dead. None where there is no other
 * way, or the site does not want its way out proved.
 */
export function detourService(plan: Plan): Service[] {
  // One for all bonds: the main one's.
  if (plan.at || !hasDetour(plan)) return [];
  const names = namesOf(plan);
  const text = daemonUnit({
    description: `the way round a server of site ${plan.site} that passes nothing on`,
    needs: [names.routesUnit.name],
    runs: [
      `RuntimeDirectory=${names.detourFolder.replace("/run/", "")}`,
      `ExecStart=${names.detourScript} watch`,
      `ExecStopPost=${names.detourScript} clear`,
    ],
    capabilities: "CAP_NET_ADMIN CAP_NET_RAW",
    families: "AF_INET AF_NETLINK AF_UNIX",
  });
  return [
    {
      unit: names.detourUnit.name,
      files: [
        { path: names.detourUnit.path, text },
        { path: names.detourScript, text: renderDetour(plan, names), mode: "0755" },
      ],
    },
  ];
}
