import { byDhcp } from "../../site/lineInterface.ts";
import { everyServer, type Plan } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { daemonUnit } from "../unit.ts";
import { boxSet } from "./boxes.ts";
import { lanFirst } from "./routes.ts";

/**
 * The script that gives each line's table its box as the way out, and keeps it there: the kernel drops
 * routes together with an address or an interface (a cable pulled, a DHCP lease renewed after a pause, a network manager
 * restarted), and what DHCP names may change. It reads the gateway where every DHCP client writes it, in
 * main's default route on that interface. It keeps each box's hardware address in the firewall's set, too, and has the ways
 * past the bond follow the lines as these die and come back.
 */
export function renderGateways(plan: Plan, names: Names): string {
  const { lines, pi, direct } = plan;
  const { ways } = direct;
  const facts = lines.map(({ name, table, interface: device, gateway }, index) => {
    // A line is alive by whichever server's tunnel: the main one may be dead.
    const taps = everyServer(plan)
      .flatMap((each) => each.lines[index]!.tunnelPlans.map(({ piTap }) => piTap))
      .join(" ");
    return `    ${name}) table=${table} device=${device} box=${gateway}${ways.length > 0 ? ` taps='${taps}'` : ""} ;;`;
  });
  const afterwards = [
    ...ways.map(({ table, lines: order }) => `  direct ${table} ${order.join(" ")}`),
    // It goes with the LAN's interface as theirs do; added again where it stands it changes nothing.
    ...lanFirst(lines, pi).routes.map((route) => `  ip route add ${route} 2>/dev/null || true`),
  ];
  return `#!/bin/sh
# Keeps each line's box as the way out of the line's table, and in the firewall's set by which it is known.
# Called by systemd with set, then with watch.
set -u
boxes=''

# A line's own facts. DHCP's gateway may not be known yet: then box is empty.
line() {
  case $1 in
${facts.join("\n")}
  esac
  [ "$box" != ${byDhcp} ] || box=$(ip -4 route show default dev "$device" 2>/dev/null | sed -n 's/.* via \\([0-9.]*\\).*/\\1/p' | head -n 1)
}

# Leaves a route that stands alone, so that watch doesn't hear of it again.
point() { # point NAME TABLE GATEWAY INTERFACE
  ip -4 route show default table "$2" 2>/dev/null | grep -q "^default via $3 dev $4 " && return 0
  if ip route replace default via "$3" dev "$4" table "$2" 2>/dev/null; then
    echo "$1: by $3 on $4"
  fi
}

# What enters by a box is known by its hardware address.
know() { # know SET
  mac=$(ip -4 neigh show "$box" dev "$device" 2>/dev/null | sed -n 's/.* lladdr \\([0-9a-f:]*\\).*/\\1/p')
  [ "$mac" ] || return 0
  nft list set inet ${names.nftTable} "$1" 2>/dev/null | grep -q "$mac" && return 0
  nft "flush set inet ${names.nftTable} $1; add element inet ${names.nftTable} $1 { $mac }"
}
${ways.length > 0 ? renderDirect : ""}
# Safe to run at any time. Until a box is known its table is a dead end, and the line's packets take no other way.
set_all() {
  boxes=''
  for name in ${lines.map(({ name }) => name).join(" ")}; do
    line "$name"
    [ "$box" ] || continue
    boxes="$boxes $box"
    point "$name" "$table" "$box" "$device"
    know "${boxSet("$name")}"
  done
${afterwards.map((each) => `${each}\n`).join("")}}

case $1 in
  set) set_all ;;
  watch)
    # What changed between the two calls is seen by the first round.
    { echo begin; exec ip -4 monitor address route neigh${ways.length > 0 ? " link" : ""}; } | while read -r first rest; do
      case "$first $rest" in
        # The second half of what was told.
        link/* | valid_lft*) continue ;;
        # Neighbours that are no boxes come and go all day.
        *lladdr*) case "$boxes " in *" $first "*) ;; *) continue ;; esac ;;
      esac
      set_all
    done
    # The monitor has ended: systemd starts it anew.
    exit 1
    ;;
esac
`;
}

const renderDirect = `
up() {
  for tap; do
    { read -r status <"/sys/class/net/$tap/bonding_slave/mii_status"; } 2>/dev/null || continue
    [ "$status" != up ] || return 0
  done
  return 1
}

# Points a way past the bond to the first of its lines whose tunnel is up. Where none is, the server may be dead, and
# nothing is known of the lines: then to the one that was taken last, or to the first that has a box.
direct() { # direct TABLE LINE...
  way=$1
  shift
  for name; do
    line "$name"
    # shellcheck disable=SC2086 # the taps are words
    if [ "$box" ] && up $taps; then
      eval "taken_$way=$name"
      point "directly by $name" "$way" "$box" "$device"
      return
    fi
  done
  eval "last=\\\${taken_$way:-}"
  for name in $last "$@"; do
    line "$name"
    [ "$box" ] || continue
    point "directly by $name" "$way" "$box" "$device"
    return
  done
}
`;

/** The unit of that script. */
export function gatewaysUnitText(names: Names): string {
  return daemonUnit({
    description: "each line's box as its way out",
    needs: [names.routesUnit.name, names.firewallUnit.name],
    runs: [`ExecStartPre=${names.gatewaysScript} set`, `ExecStart=${names.gatewaysScript} watch`],
    capabilities: "CAP_NET_ADMIN",
    families: "AF_NETLINK AF_UNIX AF_INET",
  });
}
