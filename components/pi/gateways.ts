import { byDhcp } from "../../site/lineInterface.ts";
import type { Plan } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { daemonUnit } from "../unit.ts";
import { lanFirst } from "./routes.ts";

/**
 * The script that gives each line's table its box as the way out, and keeps it there: the kernel drops
 * routes together with an address or an interface (a cable pulled, a DHCP lease renewed after a pause, a network manager
 * restarted), and what DHCP names may change. It reads the gateway where every DHCP client writes it, in
 * main's default route on that interface.
 */
export function renderGateways({ lines, pi }: Pick<Plan, "lines" | "pi">): string {
  const calls = [
    ...lines.map(
      ({ name, table, interface: device, gateway }) => `  line ${name} ${table} ${device} ${gateway}`,
    ),
    // It goes with the LAN's interface as theirs do; added again where it stands it changes nothing.
    ...lanFirst(lines, pi).routes.map((route) => `  ip route add ${route} 2>/dev/null || true`),
  ];
  return `#!/bin/sh
# Keeps each line's box as the way out of the line's table. Called by systemd with set, then with watch.
set -u

line() { # line NAME TABLE INTERFACE ADDRESS|dhcp
  box=$4
  [ "$box" != ${byDhcp} ] || box=$(ip -4 route show default dev "$3" 2>/dev/null | sed -n 's/.* via \\([0-9.]*\\).*/\\1/p' | head -n 1)
  # Until it is there the table is a dead end, and the line's packets take no other way.
  [ "$box" ] || return 0
  ip -4 route show default table "$2" 2>/dev/null | grep -q "^default via $box dev $3 " && return 0
  if ip route replace default via "$box" dev "$3" table "$2" 2>/dev/null; then
    echo "$1: by $box on $3"
  fi
}

# Safe to run at any time: a route that stands is left alone, so that watch doesn't hear of it again.
set_all() {
${calls.join("\n")}
}

case $1 in
  set) set_all ;;
  watch)
    # What changed between the two calls is seen by the first round.
    { echo begin; exec ip -4 monitor address route; } | while read -r _; do set_all; done
    # The monitor has ended: systemd starts it anew.
    exit 1
    ;;
esac
`;
}

/** The unit of that script. */
export function gatewaysUnitText(names: Names): string {
  return daemonUnit({
    description: "each line's box as its way out",
    needs: [names.routesUnit.name],
    runs: [`ExecStartPre=${names.gatewaysScript} set`, `ExecStart=${names.gatewaysScript} watch`],
    capabilities: "CAP_NET_ADMIN",
    families: "AF_NETLINK AF_UNIX AF_INET",
  });
}
