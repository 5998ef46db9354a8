import { isName } from "../../site/fields.ts";
import type { Plan } from "../../site/plan.ts";
import type { FirewallRules } from "../firewall.ts";
import type { Names } from "../names.ts";
import type { Service } from "../unit.ts";

/** The set that holds what the names among vpn.sources stand for at the moment. */
const set = "named_sources";

/** Seconds between two look-ups of the names. */
const period = 60;

/** Where the site's tunnels come from known addresses only, nobody else gets as far as OpenVPN. */
export function tunnelSources({ lines, vpn }: Pick<Plan, "lines" | "vpn">): Required<FirewallRules> {
  const { sources } = vpn;
  if (!sources) return { objects: [], chains: [] };
  const named = sources.some(isName);
  const takes = [...sources.filter((source) => !isName(source)), ...(named ? [`@${set}`] : [])];
  const rules = (["udp", "tcp"] as const).flatMap((protocol) => {
    const of = lines.filter((line) => line.protocol === protocol);
    const ports = of.flatMap(({ tunnelPlans }) => tunnelPlans.map(({ port }) => port));
    if (ports.length === 0) return [];
    const match = `${protocol} dport { ${ports.join(", ")} }`;
    return [...takes.map((source) => `${match} ip saddr ${source} accept`), `${match} counter drop`];
  });
  return {
    objects: named ? [`set ${set} { type ipv4_addr; }`] : [],
    chains: [{ name: "sources", hook: "filter hook input priority filter; policy accept", rules }],
  };
}

/** What fills that set whenever the table was loaded; undefined where no source is a name. */
export function sourcesLoad({ vpn }: Plan, names: Names): string | undefined {
  return vpn.sources?.some(isName) ? `${names.sourcesScript} load` : undefined;
}

/** The timer that asks for the names again and again; none where no source is a name. */
export function sourcesService({ vpn }: Plan, names: Names): Service[] {
  const wanted = vpn.sources?.filter(isName) ?? [];
  if (wanted.length === 0) return [];
  const { sourcesScript: script, sourcesTimer: timer, sourcesUnit: unit } = names;
  return [
    {
      unit: timer.name,
      files: [
        { path: timer.path, text: renderTimer(names) },
        { path: unit.path, text: renderUnit(names) },
        { path: script, text: renderScript(wanted, names), mode: "0755" },
      ],
    },
  ];
}

function renderTimer({ firewallUnit }: Names): string {
  return `[Unit]
Description=adsl-bonding: the addresses of the tunnels' named sources, every ${period} s
After=${firewallUnit.name}
PartOf=${firewallUnit.name}

[Timer]
OnActiveSec=0
OnUnitActiveSec=${period}
AccuracySec=1

[Install]
WantedBy=timers.target
`;
}

function renderUnit({ sourcesScript, firewallUnit }: Names): string {
  return `[Unit]
Description=adsl-bonding: the addresses of the tunnels' named sources
After=network-online.target nss-lookup.target ${firewallUnit.name}

[Service]
Type=oneshot
ExecStart=${sourcesScript} resolve
`;
}

function renderScript(wanted: string[], { nftTable, sources }: Names): string {
  return `#!/bin/sh
# What the names among vpn.sources stand for, in the firewall's set of them. Called by systemd's timer with resolve, and
# with load by the firewall, which has just made the set: what was known last serves until a name is answered again, at a
# boot without DNS too.
set -eu

resolve() {
  mkdir -p ${sources}
  for name in ${wanted.join(" ")}; do
    found=$(getent ahostsv4 "$name" | awk '{ print $1 }' | sort -u)
    [ -z "$found" ] || printf '%s\\n' "$found" >"${sources}/$name"
  done
  load
}

load() {
  {
    echo "flush set inet ${nftTable} ${set}"
    for name in ${wanted.join(" ")}; do
      sed 's/.*/add element inet ${nftTable} ${set} { & }/' "${sources}/$name" 2>/dev/null || true
    done
  } | nft -f -
}

"$1"
`;
}
