import { probesPerSecond, type Watch } from "../../site/watch.ts";
import type { Names } from "../names.ts";
import { daemonUnit } from "../unit.ts";

/** The unit of the watch over the lines' loss (watch.pl, whose head says what its words mean). */
export function renderWatchUnit(names: Names, site: string, servers: string[], watch: Watch): string {
  const lines = watch.lines.map(({ name, mark, taps }) => [name, mark, ...taps].join(","));
  const silence = watch.silence ? ["--silence", names.nftTable] : [];
  const words = [...silence, servers.join(), probesPerSecond, watch.loss, watch.clean, ...lines];
  return daemonUnit({
    description: `loss of the lines of site ${site}`,
    // The set of silent lines is in the firewall's table: it begins anew with that.
    needs: [names.bondUnit.name, names.routesUnit.name, ...(watch.silence ? [names.firewallUnit.name] : [])],
    runs: ["Type=exec", `ExecStart=${names.watchProgram} ${words.join(" ")}`],
    capabilities: "CAP_NET_ADMIN CAP_NET_RAW",
    families: "AF_INET AF_NETLINK AF_UNIX",
  });
}
