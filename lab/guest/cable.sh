#!/bin/sh
# cable.sh NAMESPACE INTERFACE BRIDGE [NAMESPACE-OF-THE-BRIDGE]: a new interface in a namespace, plugged into a bridge.
# Offloads are off: a cable that carries super-packets would be shaped and counted wrongly.
# An interface like eth0.35 is a VLAN on the cable of eth0, the first one, to the bridge lan: whose machine makes it itself,
# and here its packets leave that cable for their own bridge, as in a switch.
set -eu
port="$3-$1"
case $2 in
*.*)
  ip link add link "lan-$1" name "$port" type vlan id "${2#*.}"
  ip link set "$port" master "$3" up
  exit
  ;;
esac
ip link add "$port" type veth peer name "$2" netns "$1"
ethtool -K "$port" tso off gso off gro off tx off >/dev/null
nsenter "--net=/run/netns/$1" ethtool -K "$2" tso off gso off gro off tx off >/dev/null
# The address stays the same however often the host is started: its neighbours need not learn it anew.
mac=$(printf %s "$1${2#eth0}" | md5sum | sed 's/^\(..\)\(..\)\(..\)\(..\).*/02:1a:\1:\2:\3:\4/')
ip -n "$1" link set "$2" address "$mac"
if [ "${4:-}" ]; then
  ip link set "$port" netns "$4"
  ip -n "$4" link set "$port" master "$3" up
else
  ip link set "$port" master "$3" up
fi
ip -n "$1" link set "$2" up
