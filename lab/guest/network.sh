#!/bin/sh
# The site's network, by the words of /lab/site: a LAN with its boxes and clients, a line behind each box, the internet.
# The guest's own namespace is the operator's machine on that LAN.
set -eu

modprobe -a veth bridge 8021q tun nf_tables nft_masq nft_chain_nat sch_netem
# No host may find a bond0 that it has not made; each makes its own by netlink.
modprobe bonding max_bonds=0

# cable NAMESPACE INTERFACE BRIDGE [NAMESPACE-OF-THE-BRIDGE]: plugs a new namespace's interface into a bridge.
cable() { /lab/cable.sh "$@"; }

namespace() {
  ip netns add "$1"
  ip -n "$1" link set lo up
}

in_namespace() {
  space=$1
  shift
  nsenter "--net=/run/netns/$space" "$@"
}

# Redirects would teach a client a way around the Pi that outlives the reason for it.
no_redirects() {
  in_namespace "$1" sysctl -qw net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.default.accept_redirects=0
}

bridges=1
bridge() {
  # An address of its own: it would else be that of some port, and change whenever a host starts.
  ip ${3:+-n "$3"} link add "$1" address "02:1a:00:00:00:0$bridges" type bridge
  bridges=$((bridges + 1))
  ip ${3:+-n "$3"} address add "$2" dev "$1"
  ip ${3:+-n "$3"} link set "$1" up
}

mkdir -p /run/hosts /run/lines
mount -t tmpfs -o size=70% hosts /run/hosts
sysctl -qw net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.default.accept_redirects=0

namespace internet
in_namespace internet sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 \
  net.ipv4.conf.default.send_redirects=0

while read -r kind name rest <&3; do
  # shellcheck disable=SC2086 # the words of a line of the site are the parameters
  set -- $rest
  case $kind in
  lan) # lan NAME ADDRESS/BITS GATEWAY: the bridge, and the operator's own address on it
    bridge "$name" "$1"
    ip route add default via "$2"
    ;;
  internet) # internet NAME ADDRESS/BITS...: one bridge of several networks, each with its router's address
    bridge "$name" "$1" internet
    shift
    for address; do ip -n internet address add "$address" dev "$name"; done
    ;;
  cable) # cable NAME: a bridge that is nothing but a cable between two machines
    ip link add "$name" type bridge
    ip link set "$name" up
    ;;
  line) # line NAME BRIDGE BOX/BITS PUBLIC DOWN UP RTT QUEUE ENCAPSULATION [dhcp]
    namespace "$name"
    cable "$name" eth0 "$1"
    shift
    ip -n "$name" address add "$1" dev eth0
    ip link add wan netns "$name" type veth peer name "wan-$name" netns internet
    in_namespace "$name" ethtool -K wan tso off gso off gro off tx off >/dev/null
    in_namespace internet ethtool -K "wan-$name" tso off gso off gro off tx off >/dev/null
    ip -n "$name" link set wan up
    ip -n internet link set "wan-$name" up
    ip -n "$name" address add "$2" peer 192.0.2.1 dev wan
    ip -n internet address add 192.0.2.1 peer "$2" dev "wan-$name"
    ip -n "$name" route add default via 192.0.2.1
    in_namespace "$name" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0
    in_namespace "$name" nft -f /lab/box.nft
    printf 'down=%s up=%s rtt=%s queue=%s encapsulation=%s lose_in=0 lose_out=0\n' \
      "$3" "$4" "$5" "$6" "$7" >"/run/lines/$name"
    cp "/run/lines/$name" "/run/lines/$name.as-made"
    /lab/line.sh "$name"
    [ "${8:-}" != dhcp ] || /lab/dhcp.sh "$name" "${1%/*}"
    ;;
  client) # client NAME ADDRESS/BITS GATEWAY: a machine on the LAN
    namespace "$name"
    no_redirects "$name"
    cable "$name" eth0 lan
    ip -n "$name" address add "$1" dev eth0
    ip -n "$name" route add default via "$2"
    ;;
  far | mirror) # far NAME ADDRESS/BITS GATEWAY: a machine on the internet that others download from
    namespace "$name"
    cable "$name" eth0 core internet
    ip -n "$name" address add "$1" dev eth0
    ip -n "$name" route add default via "$2"
    if [ "$kind" = mirror ]; then
      in_namespace "$name" busybox httpd -p 0.0.0.0:80 -h /hosts/mirror
    else
      in_namespace "$name" busybox httpd -p 0.0.0.0:80 -h /lab/far
      in_namespace "$name" iperf3 --server --daemon
    fi
    ;;
  host) systemctl start --no-block "host@$name" ;;
  own) # own NAME CARD BRIDGE [NAMESPACE-OF-THE-BRIDGE]: a guest of its own, whose cable ends in a card of this one
    [ -z "${3:-}" ] || ip link set "$1" netns "$3"
    ip ${3:+-n "$3"} link set "$1" name "$2-$name"
    ip ${3:+-n "$3"} link set "$2-$name" master "$2" up
    ;;
  esac
done 3</lab/site
