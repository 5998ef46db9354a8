import type { Plan } from "../../site/plan.ts";
import { renderRoutesScript } from "../routes.ts";

/** The script that sets the server's way back to the site's LAN, in a table of the site's own. */
export function renderServerRoutes({ pi, server, serverTable }: Plan): string {
  return renderRoutesScript(
    [`pref 1200 to ${pi.lan} lookup ${serverTable}`],
    [`ip route replace ${pi.lan} via ${server.peerAddress} dev ${server.bond} table ${serverTable}`],
    [serverTable],
  );
}
