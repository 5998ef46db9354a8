#!/bin/sh
# Tells how the site does on this host, a `key=value` a line. It changes nothing.
#
# In its environment: SITE; BOND, our bond's name; PEER, the far end's address in it; TAPS, its slaves; INTERFACE, on the
# Pi, the one on the LAN; PROGRAM=no where what the site's program says is not wanted.
set -u
: "${SITE:?}" "${BOND:?}" "${PEER:?}" "${TAPS:?}" "${INTERFACE=}" "${PROGRAM=yes}"
program=/usr/local/sbin/adsl-bonding-$SITE
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tell() { printf '%s=%s\n' "$1" "$2"; }

# Router advertisements that come within 1.5 s of asking all routers of the LAN for one (RFC 4861, 4.1 and 4.2); or why none
# can be asked, as where IPv6 is off here.
# shellcheck disable=SC2016 # the variables are Perl's
routers='
  use Socket qw(:DEFAULT inet_pton inet_ntop pack_sockaddr_in6 unpack_sockaddr_in6);
  my ($name, $index) = @ARGV;
  my $all = pack_sockaddr_in6(0, inet_pton(AF_INET6, "ff02::2"), $index);
  my $socket;
  socket($socket, AF_INET6, SOCK_RAW, 58)
    and setsockopt($socket, SOL_SOCKET, 25, "$name\0") # SO_BINDTODEVICE
    and setsockopt($socket, 41, 18, pack("i", 255))    # IPPROTO_IPV6, IPV6_MULTICAST_HOPS
    and send($socket, pack("CCnN", 133, 0, 0, 0), 0, $all)
    or print("unasked=$!\n"), exit;
  my $end = time + 2; my %told; alarm 3;
  while (time < $end) {
    my $ready = ""; vec($ready, fileno($socket), 1) = 1;
    next unless select($ready, undef, undef, 0.5);
    my $from = recv($socket, my $text, 2048, 0);
    next unless defined $from && length $text >= 16;
    my ($type, $lifetime) = unpack("C x5 n", $text);
    next unless $type == 134 && $lifetime > 0;
    my $router = inet_ntop(AF_INET6, (unpack_sockaddr_in6($from))[1]);
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
[ -z "$INTERFACE" ] || perl -e "$routers" "$INTERFACE" "$(cat "/sys/class/net/$INTERFACE/ifindex")" >"$work/routers" 2>/dev/null &
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
[ -z "$INTERFACE" ] || events
[ -z "$INTERFACE" ] || blind
wait
sed -nE 's/^([0-9]+) packets transmitted, ([0-9]+) received.*/ping=\1 \2/p; s|^rtt [^=]*= [^/]*/([0-9.]+)/.*|ping_ms=\1|p' "$work/ping"
[ ! -e "$work/full" ] || sed -nE "s/^([0-9]+) packets transmitted, ([0-9]+) received.*/full=\1 \2 $mtu/p" "$work/full"
cat "$work/routers" 2>/dev/null
[ ! -e "$work/program" ] || while read -r line; do tell program "$line"; done <"$work/program"
tell end yes
