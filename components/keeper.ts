import type { Names } from "./names.ts";
import { daemonUnit, type Service } from "./unit.ts";

/** A bond with what makes it, and its taps with what runs on them: names of interfaces and units. */
export interface KeptBond {
  name: string;
  unit: string;
  taps: { name: string; unit: string }[];
}

/**
 * Brings back what somebody else takes away. Our firewall table: whoever flushes all rules, as Debian's own nftables.service does at
 * each restart, leaves the server without a masquerade, and tunnels' packets free to leave by another's box. A bond, or a tap of one,
 * that was deleted: its OpenVPN would go on without it for ever; or that was set down, or lost its address: its routes go with that, or
 * lead nowhere; or that got another MAC address than its bond's, as by udev: it would take in no packet that is sent to the bond. And
 * the kernel's forwarding, which another program's settings may switch off. A single rule or route that was deleted by hand stays so
 * until the next `up`, which names it.
 * @param fillers units that put elements into our table's sets, and do so again on HUP
 */
export function keeperService(
  names: Names,
  bonds: KeptBond[],
  exceptions: boolean,
  fillers: string[],
): Service {
  const { keeperScript: script, keeperUnit: unit, nftTable, firewallScript } = names;
  const looks = bonds.flatMap(({ name, unit: maker, taps }) => [
    `  keep addressed ${name} ${maker} &&`,
    `    ${taps.map((tap) => `tap ${tap.name} ${tap.unit}`).join(" &&\n    ")}`,
  ]);
  const fill =
    fillers.length > 0 ? `; systemctl --no-block kill -s HUP --kill-whom=main ${fillers.join(" ")}` : "";
  return {
    unit: unit.name,
    files: [
      {
        path: unit.path,
        text: daemonUnit({
          description: "firewall, bond, taps and forwarding come back where somebody takes them away",
          needs: [names.firewallUnit.name],
          runs: [`ExecStart=${script}`],
          capabilities: "CAP_NET_ADMIN",
          families: "AF_NETLINK AF_UNIX",
          setsSysctls: true,
        }),
      },
      {
        path: script,
        text: `#!/bin/sh
# Brings our firewall table back whenever somebody flushes all rules, a bond or a tap that was deleted or set down, and forwarding
# that was switched off. Called by systemd.
set -u

# What is being started or stopped is not active: a switch of ours is left alone. What was missed while its unit started is
# there once that is active, so it is looked for again. False where it is missing: what stands on it comes back with it.
keep() { # keep CHECK INTERFACE UNIT
  ! "$1" "$2" || return 0
  if systemctl -q is-active "$3" && ! "$1" "$2"; then
    echo "$2 was taken away: $3 is restarted"
    systemctl --no-block restart "$3"
  fi
  return 1
}

# A bond that is down or without its address has lost its routes, or they lead nowhere. (Another one tells what was confirmed.)
addressed() { ip -4 -o addr show up dev "$1" 2>/dev/null | grep -qvF " inet 169.254."; }
enslaved() { [ -e "/sys/class/net/$1/master" ]; }

tap() { # tap INTERFACE UNIT
  keep enslaved "$1" "$2" || return 0
  { read -r own <"/sys/class/net/$1/address" && read -r bonds <"/sys/class/net/$1/master/address"; } 2>/dev/null || return 0
  if [ "$own" != "$bonds" ]; then
    echo "$1 had another MAC address than its bond, and has that again"
    ip link set "$1" address "$bonds"
  fi
  if [ $(($(cat "/sys/class/net/$1/flags") & 1)) = 0 ]; then
    echo "$1 was set down, and is up again"
    ip link set "$1" up
  fi
}

links() {
${looks.join("\n")}
  return 0
}

forwarding() {
  [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || return 0
  echo "forwarding was switched off, and is on again"
  sysctl -q -w net.ipv4.ip_forward=1
}

table() {
  nft list table inet ${nftTable} >/dev/null 2>&1 ||
    { ${firewallScript} load && echo "our rules were flushed, and are back"${fill}; }${exceptions ? `\n  ${firewallScript} let_through` : ""}
}

# What was taken away before the monitors listened is seen by the first round. Whichever of them ends, systemd starts both anew.
{
  { ip -o monitor link address netconf; kill $$; } &
  echo begin
  nft monitor${exceptions ? "" : " tables"}
  kill $$
} | while read -r line; do
  case $line in
    begin) table; links; forwarding ;;
    *" forwarding "*) forwarding ;;
    [0-9]* | Deleted*) links ;; # ip's: an interface by its number
    *) table ;;
  esac
done
`,
        mode: "0755",
      },
    ],
  };
}
