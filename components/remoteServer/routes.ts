import type { Plan } from "../../site/plan.ts";
import type { Routes } from "../routes.ts";

/** The server's way back to the site's LAN, in a table of the site's own. */
export function serverRoutes({ pi, server, serverTable }: Plan): Routes {
  const networks = [pi.lan, ...pi.otherNetworks];
  return {
    rules: networks.map((network, index) => ({
      pref: 1200 + index,
      selector: `to ${network}`,
      table: serverTable,
    })),
    routes: networks.map(
      (network) => `${network} via ${server.peerAddress} dev ${server.bond} table ${serverTable}`,
    ),
    tables: [serverTable],
  };
}
