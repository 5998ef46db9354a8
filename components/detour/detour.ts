import { everyServer, type Plan } from "../../site/plan.ts";
import { type Names, namesOf } from "../names.ts";
import { canStray } from "../pi/connections.ts";
import { behind, bound } from "../pi/wayOut.ts";
import type { Routes } from "../routes.ts";
import { daemonUnit, type Service } from "../unit.ts";

/** Routing tables for what is bound to a bond's device, by their distance to the table of the bond. */
const boundTables = 60;

/** Whether the site has another way than a server that passes nothing on, and wants the way out proved. */
function hasDetour(plan: Plan): boolean {
  return plan.wayOut !== false && canStray(plan);
}

/**
 * The Pi's routes by which a bond can be asked whether anything answers behind it while nothing else goes by it: what a program binds to
 * the bond's device leaves by that.
 */
export function boundRoutes(plan: Plan, pref: number): Routes {
  const all = hasDetour(plan) ? everyServer(plan) : [];
  const tables = all.map(({ bondTable }) => bondTable + boundTables);
  return {
    rules: all.map(({ pi }, index) => ({ pref, selector: `oif ${pi.bond}`, table: tables[index]! })),
    routes: all.map(({ pi }, index) => `default via ${pi.peerAddress} dev ${pi.bond} table ${tables[index]}`),
    tables,
  };
}

/**
 * Leads the traffic round a server that lives but passes nothing on, as one whose firewall was changed by another program: neither its bond nor
 * OpenVPN can see that. Undefined where there is no other way, or the site does not want its way out proved.
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

/** The script of that unit. */
export function renderDetour(
  plan: Plan,
  { detourFolder, memory }: Pick<Names, "detourFolder" | "memory">,
): string {
  const all = everyServer(plan);
  const facts = all.map(
    ({ pi, bondTable, server }) => `    ${pi.bond}) table=${bondTable} server=${server.host} ;;`,
  );
  const { fallback } = plan.direct;
  return `#!/bin/sh
# Leads the traffic round a server behind which nothing answers any more, for as long as another way works. Called by systemd with
# watch, and with clear when that has ended.
set -u
bonds='${all.map(({ pi }) => pi.bond).join(" ")}'
# A bond that is left has a file here.
folder=${detourFolder}
${behind(plan)}
bond() { # bond BOND
  case $1 in
${facts.join("\n")}
  esac
  how="${bound("$1", plan)}"
}

carries() { [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ]; }

# A round takes 2 s where nobody answers. Three in a row each: one may be lost on a bad line.
silent() { # silent HOW
  ! behind "$1" 2 3 4 && ! behind "$1" 2 3 4 64 && ! behind "$1" 2 3 4 64
}
steady() { # steady HOW
  behind "$1" 2 3 4 && sleep 1 && behind "$1" 2 3 4 && sleep 1 && behind "$1" 2 3 4
}

# Whether anybody answers by another bond, or by a box.
other_way() { # other_way BOND
  for other in $bonds; do
    [ "$other" != "$1" ] && [ ! -e "$folder/$other" ] && carries "$other" || continue
    ! behind "${bound("$other", plan)}" 2 3 4 64 || return 0
  done
${byBox(fallback)}
}

# Such a route ends the search in its table, and the next rule is asked.
leave() {
  ip route prepend throw default table "$table" && : >"$folder/$1" &&
    echo "nothing behind $server answers any more: its traffic goes another way, until something does"
}
back() {
  ip route del throw default table "$table"
  rm -f "$folder/$1"
  echo "something behind $server answers again, and gets the traffic back"
}

look() { # look BOND
  bond "$1"
  if [ -e "$folder/$1" ]; then
    if steady "$how"; then back "$1"; fi
  elif carries "$1" && silent "$how" && carries "$1" && [ ! -e ${memory}/trying ] && other_way "$1"; then
    # While a change is tried it is that which is looked at, and undone.
    leave "$1"
  fi
}

case $1 in
  watch)
    while sleep 3; do
      for each in $bonds; do look "$each"; done
    done
    ;;
  clear)
    for each in $bonds; do
      bond "$each"
      ip route del throw default table "$table" 2>/dev/null || true
    done
    ;;
esac
`;
}

/** The script's words that ask by a box. */
function byBox(fallback: Plan["direct"]["fallback"]): string {
  if (fallback === undefined) return "  return 1";
  if (fallback !== "main") return `  behind '-m ${fallback.mark}' 2 3 4 64`;
  return `  device=$(ip -4 route show default table main | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p' | head -n 1)
  [ "$device" ] && behind "-I $device" 2 3 4 64`;
}
