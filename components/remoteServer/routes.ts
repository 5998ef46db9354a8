import type { Plan } from "../../site/plan.ts";
import type { Routes } from "../routes.ts";

/** The server's way back to the site's LAN, in a table of the site's own. */
export function serverRoutes({ pi, server, serverTable }: Plan): Routes {
  return {
    rules: [{ pref: 1200, selector: `to ${pi.lan}`, table: serverTable }],
    routes: [`${pi.lan} via ${server.peerAddress} dev ${server.bond} table ${serverTable}`],
    tables: [serverTable],
  };
}
