import type { End, Plan } from "../../site/plan.ts";
import { bondMode } from "./mode.ts";

/**
 * The script that makes one end's taps and bond, and takes them away. The taps are made beforehand and
 * persistent: a tunnel that closes its tap takes its carrier, and so its slave, away (a tap of OpenVPN's own
 * making would leave the bond). It is safe to run twice.
 */
export function renderBondScript(end: End, { bond, vpn }: Pick<Plan, "bond" | "vpn">, host: string): string {
  const { bond: name, bondAddress, peerAddress, taps } = end;
  const { does, why, options } = bondMode(bond, peerAddress);
  return `#!/bin/sh
# The bond ${name} of this ${host} and its ${taps.length} taps, one a tunnel: ${does}.
# Called by systemd with up or down.
set -eu

# What the kernel must not do on an interface of ours. Nothing of IPv6 is wanted inside; a host may know none at all.
harden() {
  sysctl -q -w "net.ipv4.conf.$1.send_redirects=0" "net.ipv4.conf.$1.accept_redirects=0"
  [ ! -e "/proc/sys/net/ipv6/conf/$1" ] || sysctl -q -w "net.ipv6.conf.$1.disable_ipv6=1"
}

up() {
  modprobe tun
  [ -e /sys/module/bonding ] || modprobe bonding max_bonds=0
  # A bond that the module made by itself is in the way; one in use was refused before anything was staged.
  down
${why.map((line) => `  # ${line}\n`).join("")}  ip link add ${name} type bond ${options}
  # Without a live slave the bond has no carrier; its routes then give way to the next ones.
  sysctl -q -w net.ipv4.conf.${name}.ignore_routes_with_linkdown=1
  sysctl -q -w net.ipv4.conf.${name}.rp_filter=2
  harden ${name}
  for tap in ${taps.join(" ")}; do
    ip tuntap add dev "$tap" mode tap
    ip link set "$tap" txqueuelen ${vpn.txqueuelen}
    harden "$tap"
    # It must be down while it is enslaved; the bond then sets it up.
    ip link set "$tap" master ${name}
  done
  # ${
    bond.segment === undefined
      ? "Full outer packets then fill whole ATM cells and are never fragmented."
      : "Larger than some line passes whole: OpenVPN cuts what is not TCP there."
  }
  ip link set ${name} mtu ${bond.mtu}
${afterwards(bond.mode, end)}  ip addr add ${bondAddress}/${bond.prefix} dev ${name}
  ip link set ${name} up
}

down() {
  ip link del ${name} 2>/dev/null || true
  for tap in ${taps.join(" ")}; do
    ip link del "$tap" 2>/dev/null || true
  done
}

"$1"
`;
}

/** What a mode wants once the bond has its slaves. */
function afterwards(mode: Plan["bond"]["mode"], { bond, taps }: End): string {
  switch (mode) {
    case "balance-rr":
      return `  # Round-robin goes by packets: super-packets would put 45 of them in a row on one line.
  ethtool -K ${bond} tso off gso off >/dev/null
`;
    case "active-backup":
      return `  # The first line carries everything whenever it works.
  ip link set ${bond} type bond primary ${taps[0]}
`;
    default:
      return "";
  }
}

/** The shell's words that print how many slaves of a bond are up. */
export function countSlaves(bond: string): string {
  return `awk '/^Slave Interface/ { slave = 1 } slave && /^MII Status: up/ { n++; slave = 0 } END { print n + 0 }' \\
  /proc/net/bonding/${bond} 2>/dev/null || echo 0`;
}

/**
 * The script that says whether the site works at one end: `check count` prints how many slaves are up,
 * `check N` (or `all`) fails, with a sentence, while fewer are or while the far end can't be reached.
 * @param extra further lines of it: they may call `fail`, and set $way, how the site's traffic leaves
 */
export function renderCheck(end: End, extra: string): string {
  const { bond: name, peerAddress, taps } = end;
  return `#!/bin/sh
# Says whether the bond works here. check count: how many slaves are up; check N or check all: fails if fewer.
set -eu

up=$(${countSlaves(name)})
case $1 in
  count) echo "$up"; exit ;;
  all) needed=${taps.length} ;;
  # As many as worked before, but a line may have been taken out since.
  *) needed=$(($1 < ${taps.length} ? $1 : ${taps.length})) ;;
esac
fail() {
  echo "$*"
  exit 1
}
[ "$up" -ge "$needed" ] || fail "$up of ${taps.length} slaves of ${name} are up; $needed are needed"
pinged=$(ping -n -q -c 2 -i 0.3 -W 2 -I ${name} ${peerAddress}) || fail "the far end ${peerAddress} does not answer through ${name}"
average=$(printf '%s\\n' "$pinged" | awk -F / '/^rtt/ { print $5 }')
${extra}
echo "$up of ${taps.length} slaves are up, the far end answers in $average ms, $way"
`;
}
