#!/bin/sh
# failover.sh LINE FAR BYTES PI-BOND SERVER-BOND LINES: runs in the lab's guest. One download and a ping every 20 ms from the
# LAN's client, while one line is cut in both directions and restored. Prints, by the guest's clock in nanoseconds:
#   bytes TIME BYTES                     of TCP payload that have come in order, every 0.2 s
#   pi TIME SLAVES, server TIME SLAVES   that are up at each end, every 0.2 s
#   cut TIME, restored TIME
# and all that ping(8) prints, with its own times.
set -eu
line=$1 far=$2 bytes=$3 pi_bond=$4 server_bond=$5 lines=$6
work=$(mktemp -d)
file=zeros-$bytes
[ -e "/lab/far/$file" ] || truncate -s "$bytes" "/lab/far/$file"

in_space() {
  space=$1
  shift
  exec nsenter "--net=/run/netns/$space" "$@"
}
running=''
finish() {
  # shellcheck disable=SC2086 # numbers
  kill $running 2>/dev/null || true
  /lab/line.sh "$line" restore
  rm -rf "$work"
}
trap finish EXIT

# One process a namespace that lives as long as the test: whatever starts more costs the guest's one processor.
# shellcheck disable=SC2016 # the inner shell's variables
bytes_loop='while sleep 0.2; do
  ss -Htin dst "$1" dport = :80 | sed -n "s/.*bytes_received:\([0-9]*\).*/bytes $(date +%s%N) \1/p"
done'
# shellcheck disable=SC2016
slaves_loop='while sleep 0.2; do
  awk -v now="$(date +%s%N)" "/^Slave Interface/ { s = 1 } s && /^MII Status: up/ { n++; s = 0 } END { print now, n + 0 }" \
    "/proc/net/bonding/$1"
done'
in_space client sh -c "$bytes_loop" - "$far" >"$work/bytes" 2>/dev/null &
running="$running $!"
in_space pi sh -c "$slaves_loop" - "$pi_bond" >"$work/pi" 2>/dev/null &
running="$running $!"
in_space server sh -c "$slaves_loop" - "$server_bond" >"$work/server" 2>/dev/null &
running="$running $!"
in_space client ping -n -D -i 0.02 "$far" >"$work/ping" &
pinging=$!
running="$running $pinging"
in_space client busybox wget -q -O /dev/null "http://$far/$file" &
running="$running $!"

sleep 6
echo "cut $(date +%s%N)"
/lab/line.sh "$line" lose_in=100 lose_out=100
sleep 8
echo "restored $(date +%s%N)"
/lab/line.sh "$line" restore
whole() { [ "$(tail -n 1 "$work/$1" | cut -d ' ' -f 2)" = "$lines" ]; }
for second in $(seq 40); do
  sleep 1
  # Not at once: the ends need a moment to see that the line is back, or that it was away.
  [ "$second" -lt 3 ] || ! whole pi || ! whole server || break
done
sleep 5
kill -INT "$pinging"
wait "$pinging" || true
cat "$work/bytes" "$work/ping"
sed 's/^/pi /' "$work/pi"
sed 's/^/server /' "$work/server"
