import type { End, Plan } from "../../site/plan.ts";

/**
 * The script that makes one end's taps and bond, and takes them away. The taps are made beforehand and
 * persistent: a tunnel that closes its tap takes its carrier, and so its slave, away (a tap of OpenVPN's own
 * making would leave the bond). It is safe to run twice.
 */
export function renderBondScript(end: End, bond: Plan["bond"], host: string): string {
  const { bond: name, bondAddress, peerAddress, taps } = end;
  return `#!/bin/sh
# The bond ${name} of this ${host} and its ${taps.length} taps, one a tunnel: balance-rr sends one packet over each in turn.
# Called by systemd with up or down.
set -eu

# Nothing of IPv6 is wanted inside; a host may know none at all.
no_ipv6() {
  [ ! -e "/proc/sys/net/ipv6/conf/$1" ] || sysctl -q -w "net.ipv6.conf.$1.disable_ipv6=1"
}

up() {
  modprobe tun
  [ -e /sys/module/bonding ] || modprobe bonding max_bonds=0
  # A bond that the module made by itself is in the way; one in use was refused before anything was staged.
  down
  # ARP probes to the far end watch each slave: a tap's carrier alone tells nothing of the line under it.
  # arp_validate stays none: with balance-rr a validated slave never comes up.
  ip link add ${name} type bond mode balance-rr arp_interval ${bond.arpInterval} arp_ip_target ${peerAddress}
  # Without a live slave the bond has no carrier; its routes then give way to the next ones.
  sysctl -q -w net.ipv4.conf.${name}.ignore_routes_with_linkdown=1
  sysctl -q -w net.ipv4.conf.${name}.rp_filter=2
  sysctl -q -w net.ipv4.conf.${name}.send_redirects=0
  sysctl -q -w net.ipv4.conf.${name}.accept_redirects=0
  no_ipv6 ${name}
  for tap in ${taps.join(" ")}; do
    ip tuntap add dev "$tap" mode tap
    ip link set "$tap" txqueuelen 1000
    no_ipv6 "$tap"
    # It must be down while it is enslaved; the bond then sets it up.
    ip link set "$tap" master ${name}
  done
  # Full outer packets then fill whole ATM cells and are never fragmented.
  ip link set ${name} mtu ${bond.mtu}
  # Round-robin goes by packets: super-packets would put 45 of them in a row on one line.
  ethtool -K ${name} tso off gso off >/dev/null
  ip addr add ${bondAddress}/${bond.prefix} dev ${name}
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

up=$(awk '/^Slave Interface/ { slave = 1 } slave && /^MII Status: up/ { n++; slave = 0 } END { print n + 0 }' \\
  /proc/net/bonding/${name} 2>/dev/null || echo 0)
case $1 in
  count) echo "$up"; exit ;;
  all) needed=${taps.length} ;;
  *) needed=$1 ;;
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
