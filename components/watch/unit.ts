import { probesPerSecond, type Watch } from "../../site/watch.ts";
import type { Names } from "../names.ts";
import { sandbox } from "../service.ts";

/** The unit of the watch over the lines' loss (watch.pl, whose head says what its words mean). */
export function renderWatchUnit(names: Names, site: string, server: string, watch: Watch): string {
  const lines = watch.lines.map(({ name, mark, taps }) => [name, mark, ...taps].join(","));
  const words = [server, probesPerSecond, watch.loss, watch.clean, ...lines];
  return `[Unit]
Description=adsl-bonding: loss of the lines of site ${site}
After=${names.bondUnit.name} ${names.routesUnit.name}
Requires=${names.bondUnit.name} ${names.routesUnit.name}
PartOf=${names.bondUnit.name} ${names.routesUnit.name}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${names.watchProgram} ${words.join(" ")}
Restart=always
RestartSec=2
${sandbox("CAP_NET_ADMIN CAP_NET_RAW", "AF_INET AF_NETLINK AF_UNIX")}
[Install]
WantedBy=multi-user.target
`;
}
