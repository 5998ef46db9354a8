#!/bin/sh
# measure.sh BOX|bond FAR down|up BYTES FLOWS ping|quiet: one transfer over HTTP between the client and the far machine, by
# the guest's clock; through one box alone, or the way the client's traffic goes by itself. The time is from before the
# connection to the last byte at its receiver: whoever uploads waits for the far machine's count of what came.
set -eu
box=$1 far=$2 direction=$3 bytes=$4 flows=$5 ping=$6
work=$(mktemp -d)
in_client() { nsenter --net=/run/netns/client "$@"; }
retransmitted() { # of all segments that the sender's namespace ever sent
  # shellcheck disable=SC2016 # these are awk's fields
  nsenter "--net=/run/netns/$1" awk '/^Tcp:/ { n = split($0, word); if (word[2] ~ /^[0-9]/) print word[13] }' /proc/net/snmp
}

[ "$box" = bond ] || ip -n client route replace "$far/32" via "$box"
# What hangs tells how far it is, should its caller lose patience. A sleep that outlives us must not hold our caller's end.
while sleep 30 >/dev/null 2>&1; do
  for place in client far; do
    echo "$place, $(cut -d. -f1 /proc/uptime) s after boot:"
    nsenter "--net=/run/netns/$place" ss -Htinmo
  done
done >&2 &
# shellcheck disable=SC2064 # the values of now are meant
trap "kill $!; [ $box = bond ] || ip -n client route delete $far/32 via $box; rm -rf $work" EXIT

each=$((bytes / flows))
# Letters, since busybox takes what it sends for a string.
file=letters-$each
[ -e "/lab/far/$file" ] || yes letters | head -c "$each" >"/lab/far/$file"
if [ "$direction" = down ]; then sender=far; else sender=client; fi

pinging=''
if [ "$ping" = ping ]; then
  # Not by the function: the signal is for ping itself, not for a shell around it.
  nsenter --net=/run/netns/client ping -n -i 0.2 "$far" >"$work/ping" &
  pinging=$!
fi
before=$(retransmitted "$sender")
start=$(date +%s%N)
transfers=''
for flow in $(seq "$flows"); do
  if [ "$direction" = down ]; then
    in_client busybox wget -q -O - "http://$far/$file" | wc -c >"$work/$flow" &
  else
    in_client busybox wget -q -O "$work/$flow" --post-file "/lab/far/$file" "http://$far/cgi-bin/count" &
  fi
  transfers="$transfers $!"
done
for transfer in $transfers; do wait "$transfer" || true; done
end=$(date +%s%N)
after=$(retransmitted "$sender")
if [ "$pinging" ]; then
  kill -INT "$pinging" 2>/dev/null || true
  wait "$pinging" || true
  cat "$work/ping"
fi
arrived=0
for flow in $(seq "$flows"); do arrived=$((arrived + $(cat "$work/$flow" 2>/dev/null || echo 0))); done
echo "transfer: $arrived bytes, $((end - start)) ns, $((after - before)) retransmitted"
