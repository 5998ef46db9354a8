import type { End, Plan } from "../../site/plan.ts";
import { type Names, namesOf } from "../names.ts";
import { renderStateScript } from "../script.ts";
import { bondMode } from "./mode.ts";

/**
 * The script that makes one end's taps and bond, and takes them away. The taps are made beforehand and
 * persistent: a tunnel that closes its tap takes its carrier, and so its slave, away (a tap of OpenVPN's own
 * making would leave the bond). It is safe to run twice.
 */
export function renderBondScript(
  end: End,
  { at, bond, vpn }: Pick<Plan, "at" | "bond" | "vpn">,
  host: string,
  names: Names,
): string {
  const { bond: name, bondAddress, peerAddress, taps } = end;
  const { does, why, options } = bondMode(bond, peerAddress);
  const unset = [name, ...taps].map((device) => `ip link del ${device} 2>/dev/null || true`);
  return renderStateScript({
    about: `The bond ${name} of this ${host} and its ${taps.length} taps, one a tunnel: ${does}.`,
    kept: names.picture(`bond${at}`),
    functions: `# What the kernel must not do on an interface of ours. Nothing of IPv6 is wanted inside; a host may know none at all.
harden() {
  sysctl -q -w "net.ipv4.conf.$1.send_redirects=0" "net.ipv4.conf.$1.accept_redirects=0"
  [ ! -e "/proc/sys/net/ipv6/conf/$1" ] || sysctl -q -w "net.ipv6.conf.$1.disable_ipv6=1"
}

# Whether an interface is a slave, and takes in what is sent to the bond: by its MAC address.
enslaved() {
  device=/sys/class/net/$1
  [ -e "$device/master" ] && [ "$(cat "$device/address")" = "$(cat "$device/master/address")" ]
}

# Has a tap in the bond. Each tunnel asks for its own at its start too: one that was deleted would else come back as a
# tap of OpenVPN's own making, outside the bond.
slave() {
  [ ! -e "/sys/class/net/$1/master" ] || return 0
  ip link del "$1" 2>/dev/null || true
  ip tuntap add dev "$1" mode tap
  # udev gives what is new a MAC address. If it came to that when this is a slave, which has the bond's, nothing sent to the
  # bond would be taken from this one any more.
  udevadm settle -t 3 || true
  ip link set "$1" txqueuelen ${vpn.txqueuelen}
  harden "$1"
  # It must be down while it is enslaved; the bond then sets it up.
  ip link set "$1" master ${name}
}

# The same by a tunnel's config, which may be another bond's.
slave_of() {
  tap=$(sed -n 's/^dev //p' "$1")
  case $tap in ${taps.join(" | ")}) slave "$tap" ;; esac
}
`,
    set: [
      "# A kernel that was replaced since its start has lost the modules that it did not load before.",
      "[ -e /sys/module/tun ] || modprobe tun",
      "[ -e /sys/module/bonding ] || modprobe bonding max_bonds=0",
      "# A bond that the module made by itself is in the way; one in use was refused before anything was staged.",
      ...unset,
      ...why.map((line) => `# ${line}`),
      `ip link add ${name} type bond ${options}`,
      "# Without a live slave the bond has no carrier; its routes then give way to the next ones.",
      `sysctl -q -w net.ipv4.conf.${name}.ignore_routes_with_linkdown=1`,
      `sysctl -q -w net.ipv4.conf.${name}.rp_filter=2`,
      `harden ${name}`,
      ...taps.map((tap) => `slave ${tap}`),
      bond.segment === undefined
        ? "# Full outer packets then fill whole ATM cells and are never fragmented."
        : "# Larger than some line passes whole: OpenVPN cuts what is not TCP there.",
      `ip link set ${name} mtu ${bond.mtu}`,
      ...afterwards(bond.mode, end),
      `ip addr add ${bondAddress}/${bond.prefix} dev ${name}`,
      `ip link set ${name} up`,
    ],
    unset,
    show: [
      ...["mtu", "bonding/arp_interval"].map(
        (value) =>
          `[ ! -e /sys/class/net/${name}/${value} ] || echo "${value.replace(/.*\//, "")} $(cat /sys/class/net/${name}/${value}) of ${name}"`,
      ),
      `ip -4 -o addr show up dev ${name} 2>/dev/null | sed -n 's/.* inet \\([^ ]*\\).*/address \\1 of ${name}/p'`,
      `for tap in ${taps.join(" ")}; do ! enslaved "$tap" || echo "slave $tap of ${name}"; done`,
    ],
  });
}

/**
 * By what the Pi learns that a generation was confirmed at the server, so that it does not go back alone where its own confirmation
 * is lost: an address that stands for the generation, of those that nobody routes (RFC 3927), answers in the bond.
 */
function confirmation({ bond }: End, isPi: boolean): string {
  const sign = '169.254.$((0x$(printf %.2s "$2") % 254 + 1)).$((0x$(printf %s "$2" | cut -c 3-4)))';
  if (isPi) {
    // No further than the far end itself.
    return `  heard) ping -n -q -t 1 -c 2 -i 0.3 -W 2 -I ${bond} "${sign}" >/dev/null; exit ;;`;
  }
  return `  announce)
    ip -4 -o addr show dev ${bond} | sed -n 's/.* inet \\(169\\.254\\.[^ ]*\\).*/\\1/p' |
      while read -r old; do ip addr del "$old" dev ${bond}; done
    ip addr add "${sign}/32" dev ${bond}
    exit
    ;;
  heard) exit 3 ;; # nobody tells a server`;
}

/** What a mode wants once the bond has its slaves. */
function afterwards(mode: Plan["bond"]["mode"], { bond, taps }: End): string[] {
  switch (mode) {
    case "balance-rr":
      return [
        "# Round-robin goes by packets: super-packets would put 45 of them in a row on one line.",
        `ethtool -K ${bond} tso off gso off >/dev/null`,
      ];
    case "active-backup":
      return [
        "# The first line carries everything whenever it works.",
        `ip link set ${bond} type bond primary ${taps[0]}`,
      ];
    default:
      return [];
  }
}

/** The shell's words that print how many slaves of bonds are up; a bond that is not there has none. */
export function countSlaves(...bonds: string[]): string {
  const pictures = bonds.map((bond) => `/proc/net/bonding/${bond}`);
  return `cat ${pictures.join(" ")} 2>/dev/null |
  awk '/^Slave Interface/ { slave = 1 } slave && /^MII Status: up/ { n++; slave = 0 } END { print n + 0 }'`;
}

/**
 * The script that says whether the site works at one end: `check count` prints what works, the number of slaves first; `check
 * working` the units of the tunnels that carry; `check linked` fails when no tunnel to any far end does; `check announce ID`, on a
 * server, and `check heard ID`, on the Pi, tell the latter what the former has confirmed; and `check COUNT` (or `all`) fails, with a
 * sentence, while less than that works, or while the far end can't be reached.
 * @param demands further lines of it: they may call `fail`, and set $way, how the site's traffic leaves
 * @param functions what these lines call
 * @param counted what else `check count` prints
 * @param bonds all bonds that end here; by default it is the one
 */
export function renderCheck(
  end: End,
  plan: Pick<Plan, "site" | "at" | "tunnels">,
  {
    demands,
    functions = "",
    counted = "",
    bonds = [end.bond],
  }: { demands: string; functions?: string; counted?: string; bonds?: string[] },
): string {
  const { host, bond: name, peerAddress, taps } = end;
  const isPi = host === "pi";
  const { tunnelUnit } = namesOf(plan);
  const carried = plan.tunnels.map(
    (tunnel) => `  carries ${isPi ? tunnel.piTap : tunnel.serverTap} ${tunnelUnit(tunnel.name)}`,
  );
  const told = isPi
    ? "check heard ID: fails unless that is confirmed at the server"
    : "check announce ID: tells the Pi what is confirmed here";
  return `#!/bin/sh
# Says whether the bond works here. check count: how much of it does, the number of slaves first; check working: which
# tunnels carry; check linked: fails if none does, of any bond; ${told};
# check COUNT, as printed, or check all: fails if less works.
set -eu

slaves=$(awk '/^Slave Interface/ { slave = $3 } slave && /^MII Status: up/ { print slave; slave = "" }' \\
  /proc/net/bonding/${name} 2>/dev/null || true)
up=$(printf '%s' "$slaves" | grep -c . || true)

# A tap that was just closed is up to the bond until its ARP probes are missed: it must be open, too.
carries() { # carries TAP UNIT
  if [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ] && printf '%s\\n' "$slaves" | grep -qx "$1"; then
    echo "$2"
  fi
}

working() {
${carried.join("\n")}
}
${functions}
case $1 in
  count) echo "$up${counted}"; exit ;;
${confirmation(end, isPi)}
  working) working; exit ;;
  linked) [ "$(${countSlaves(...bonds)})" != 0 ]; exit ;;
  all) needed=${taps.length} ;;
  # As many as worked before, but a line may have been taken out since.
  *) needed=\${1%% *} && needed=$((needed < ${taps.length} ? needed : ${taps.length})) ;;
esac
fail() {
  echo "$*"
  exit 1
}
[ "$up" -ge "$needed" ] || fail "$up of ${taps.length} slaves of ${name} are up; $needed are needed"
pinged=$(ping -n -q -c 2 -i 0.3 -W 2 -I ${name} ${peerAddress}) || fail "the far end ${peerAddress} does not answer through ${name}"
average=$(printf '%s\\n' "$pinged" | awk -F / '/^rtt/ { print $5 }')
${demands}
echo "$up of ${taps.length} slaves are up, the far end answers in $average ms, $way"
`;
}
