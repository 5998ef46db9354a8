#!/bin/sh
# Tells how the site does on this host, a `key=value` a line. It changes nothing.
#
# In its environment: SITE; BOND, our bond's name; PEER, the far end's address in it; TAPS, its slaves; INTERFACE, on the
# Pi, the one on the LAN; PROGRAM=no where what the site's program says is not wanted.
set -u
: "${SITE:?}" "${BOND:?}" "${PEER:?}" "${TAPS:?}" "${INTERFACE=}" "${PROGRAM=yes}"
program=/usr/local/sbin/adsl-bonding-$SITE
# In memory: a full disk is to be told of, too.
work=$(mktemp -d -p /run) || exit
trap 'rm -rf "$work"' EXIT

tell() { printf '%s=%s\n' "$1" "$2"; }

# Router advertisements that come within 4 s of asking all routers of the LAN for one (RFC 4861, 4.1 and 4.2), or why none can
# be asked. A packet socket asks, past this host's own IPv6: that may be off here, and not for the LAN. So there is no address to
# ask from, and routers answer to all, which they do no oftener than every 3 s, and up to 0.5 s late (6.2.6).
# shellcheck disable=SC2016 # the variables are Perl's
routers='
  use Socket qw(:DEFAULT inet_pton inet_ntop);
  my $index = shift;
  # AF_PACKET and ETH_P_IPV6, in a struct sockaddr_ll of the MAC address for all routers.
  my $all = pack("S n i S C C H16", 17, 0x86dd, $index, 0, 0, 6, "333300000002");
  # PACKET_MR_MULTICAST, in a struct packet_mreq of the MAC address for all nodes: a card may drop what nobody wants.
  my $answers = pack("i S S H16", $index, 0, 6, "333300000001");
  # IPv6 version 6, 8 bytes of ICMPv6 (58), hop limit 255; a solicitation. Nothing in it varies, nor does its checksum.
  my $solicitation = pack("N n C C a16 a16 C C n N", 6 << 28, 8, 58, 255,
    inet_pton(AF_INET6, "::"), inet_pton(AF_INET6, "ff02::2"), 133, 0, 0x7bb8, 0);
  my $socket;
  socket($socket, 17, SOCK_DGRAM, 0) # no protocol: it hears nothing until it is bound
    and bind($socket, $all)
    and setsockopt($socket, 263, 1, $answers) # SOL_PACKET, PACKET_ADD_MEMBERSHIP
    and send($socket, $solicitation, 0, $all)
    or print("unasked=$!\n"), exit;
  my %told; my $left = 4;
  while (1) {
    my $ready = ""; vec($ready, fileno($socket), 1) = 1;
    (my $some, $left) = select($ready, undef, undef, $left); # Linux tells the time that is left
    last unless $some > 0;
    my $from = recv($socket, my $text, 2048, 0);
    next unless defined $from && length $text >= 56;
    next unless unpack("x4 i", $from) == $index; # those of a VLAN over the same card come, too
    my ($next, $hops, $router, $type, $lifetime) = unpack("x6 C C a16 x16 C x5 n", $text);
    next unless $next == 58 && $hops == 255 && $type == 134 && $lifetime > 0;
    $router = inet_ntop(AF_INET6, $router);
    print "router=$router\n" unless $told{$router}++;
  }'

# The bytes that each slave has carried, with the moment they were read at: two of these make a rate.
count() {
  for tap in $TAPS; do
    read -r uptime _ </proc/uptime
    [ -e "/sys/class/net/$tap/statistics" ] || continue
    read -r received <"/sys/class/net/$tap/statistics/rx_bytes"
    read -r sent <"/sys/class/net/$tap/statistics/tx_bytes"
    tell sample "$tap $uptime $received $sent"
  done
}

# The changes of slaves that the kernel has told since it started, with their time in seconds since 1970.
changes() {
  found=$(journalctl -k -q -o short-unix -g "$BOND: " 2>/dev/null |
    sed -nE "s/^([0-9]+)\.[0-9]+ .* $BOND: \(slave ([^)]+)\): (interface is now|link status definitely) (up|down).*/\1 \2 \4/p")
  if [ -z "$found" ]; then
    # No journal of the kernel here: its own memory, which counts from its start.
    read -r uptime _ </proc/uptime
    found=$(dmesg 2>/dev/null |
      sed -nE "s/^\[ *([0-9.]+)\] $BOND: \(slave ([^)]+)\): (interface is now|link status definitely) (up|down).*/\1 \2 \4/p" |
      awk -v "start=$(($(date +%s) - ${uptime%.*}))" '{ print int(start + $1), $2, $3 }')
  fi
  printf '%s\n' "$found" | grep . | tail -n 12 | while read -r change; do tell change "$change"; done
}

# What the Pi's own services have told of lines and ways, without systemd's words about them, each with its time.
events() {
  set -- "_SYSTEMD_UNIT=adsl-$SITE-watch.service"
  for unit in hangup detour gateways; do set -- "$@" + "_SYSTEMD_UNIT=adsl-$SITE-$unit.service"; done
  journalctl -q -n 12 -o short-unix "$@" 2>/dev/null | sed -nE 's/^([0-9]+)\.[0-9]+ [^ ]+ [^ ]+: (.*)/\1 \2/p' |
    grep -vE 'loss is (not )?seen$' |
    while read -r event; do tell event "$event"; done
}

# The watch's last word on whether it sees loss at all.
blind() {
  systemctl -q is-active "adsl-$SITE-watch.service" || return
  journalctl -q -r -n 1 -o cat -g 'loss is (not )?seen' "_SYSTEMD_UNIT=adsl-$SITE-watch.service" 2>/dev/null | grep -q 'not seen' &&
    tell blind yes
}

# Whatever takes its time goes on beside the others.
ping -n -q -c 5 -i 0.2 -W 2 -I "$BOND" "$PEER" >"$work/ping" 2>/dev/null &
# Packets of the full size, four a line: some line may carry less than the config says of it, which nothing small shows.
if [ -n "$INTERFACE" ] && [ "$PROGRAM" != no ] && mtu=$(cat "/sys/class/net/$BOND/mtu" 2>/dev/null); then
  # shellcheck disable=SC2086 # the taps are words
  set -- $TAPS
  ping -n -q -M "do" -s $((mtu - 28)) -c $((4 * $#)) -i 0.05 -W 2 -I "$BOND" "$PEER" >"$work/full" 2>/dev/null &
fi
[ -z "$INTERFACE" ] || perl -e "$routers" "$(cat "/sys/class/net/$INTERFACE/ifindex")" >"$work/routers" 2>/dev/null &
[ "$PROGRAM" = no ] || [ ! -x "$program" ] || "$program" status >"$work/program" 2>&1 &
tell time "$(date +%s)"
count
sleep 1
count
awk '/^Slave Interface:/ { slave = $3 } slave && /^MII Status:/ { print "slave=" slave " " $3; slave = "" }' \
  "/proc/net/bonding/$BOND" 2>/dev/null
# Packets to the tunnels' ports that the Pi dropped, since its firewall was loaded, for they had no line's mark. TCP's are
# left out: the kernel itself may answer without one for a connection that has ended.
[ -z "$INTERFACE" ] || tell unmarked "$(nft list chain inet "adsl_bonding_$SITE" tunnels 2>/dev/null |
  sed -n 's/.* udp dport .* counter packets \([0-9]*\) .*/\1/p' | awk '{ sum += $1 } END { print sum + 0 }')"
# How traffic for a far network leaves (this one is nobody's, RFC 5737), and under which address.
tell leaves "$(ip -4 -o route get 192.0.2.1 2>/dev/null | sed -nE 's/.* dev ([^ ]+).* src ([0-9.]+).*/\1 \2/p')"
changes
if [ -n "$INTERFACE" ]; then
  events
  blind
fi
wait
sed -nE 's/^([0-9]+) packets transmitted, ([0-9]+) received.*/ping=\1 \2/p; s|^rtt [^=]*= [^/]*/([0-9.]+)/.*|ping_ms=\1|p' "$work/ping"
[ ! -e "$work/full" ] || sed -nE "s/^([0-9]+) packets transmitted, ([0-9]+) received.*/full=\1 \2 $mtu/p" "$work/full"
cat "$work/routers" 2>/dev/null
[ ! -e "$work/program" ] || while read -r line; do tell program "$line"; done <"$work/program"
tell end yes
