#!/bin/sh
# howto.sh server|pi SERVER BOX1 BOX2 LAN: the how-to's own settings on a plain Debian host of the lab, by hand, as
# near to its words as today's Debian lets them be. The server goes first; the Pi needs its /etc/openvpn/ta.key.
#
# What had to be adapted:
# - iproute2 stands for ifenslave and the bond stanzas of /etc/network/interfaces (the server runs systemd-networkd,
#   and ifenslave's -d and sysfs dance are the same netlink requests). A tap must be down while it is enslaved.
# - nftables stands for iptables. The accepting rules change nothing here, where nothing is refused; the how-to's INPUT
#   rules are for TCP, which the tunnels are not, and are left out.
# - Static key mode is deprecated: OpenVPN 2.6 warns, 2.7 refuses unless told (see below), 2.8 has it no more.
#   `--genkey --secret FILE` has become `--genkey secret FILE`. comp-lzo no still costs its byte.
# - `up-delay 2`: the option takes no number, and is taken without it.
# - The init script is openvpn@NAME of today, whose ProtectHome hides /root: the scripts stand in /etc/openvpn. It no
#   longer gives `script-security 2` by itself: the file has to.
# - mssfix, tun-mtu and fragment are left at today's defaults, as the how-to leaves them at those of its time:
#   an MTU of 1500 in the bond, and TCP segments cut so that outer packets have 1492 bytes at most.
set -eu
role=$1 server=$2 box1=$3 box2=$4 lan=$5
secret=/etc/openvpn/ta.key

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends openvpn nftables >/dev/null

# Not every 2.6 knows the option that 2.7 asks for.
allow=''
case $(openvpn --version | sed -n '1s/^OpenVPN \([0-9]*\.[0-9]*\).*/\1/p') in
2.[0-6]) ;;
*) allow='allow-deprecated-insecure-static-crypto' ;;
esac

bond() { # bond ADDRESS PEER
  [ -e /sys/module/bonding ] || modprobe bonding max_bonds=0
  ip link add bond0 type bond mode 0 arp_interval 300 arp_ip_target "$2"
  ip address add "$1/30" dev bond0
  ip link set bond0 up
}

tunnel() { # tunnel NAME: its configuration, the options that both ends share after those on standard input
  cat - >"/etc/openvpn/$1.conf" <<END
proto udp
dev-type tap
txqueuelen 1000
mode p2p
cipher AES-256-CBC
secret $secret
$allow
keepalive 1 2
persist-key
comp-lzo no
verb 4
log-append /var/log/ovpn-$1.log
replay-window 512 15
END
  cat >>"/etc/openvpn/$1.conf"
}

server() {
  openvpn --genkey secret "$secret"
  bond 172.16.16.1 172.16.16.2
  ip route add "$lan" via 172.16.16.2 dev bond0
  sysctl -qw net.ipv4.ip_forward=1
  nft -f - <<END
table ip howto {
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname "eth0" iifname "bond0" ip saddr $lan ct state new accept
    ct state established,related accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "eth0" masquerade
  }
}
END
  while read -r name tap port; do
    tunnel "$name" <<END
local $server
port $port
dev $tap
user nobody
group nogroup
persist-tun
status /var/log/ovpn-$name-status.log
END
    systemctl start "openvpn@$name"
    until [ -e "/sys/class/net/$tap" ]; do sleep 0.1; done
    ip link set "$tap" down
    ip link set "$tap" master bond0
  done
}

pi() {
  # One tunnel by a plain route, the other by its mark; no default route but the bond's.
  ip route delete default
  ip route add "$server" via "$box1" dev eth0
  ip rule add from all fwmark 2 table 2
  ip route add default via "$box2" dev eth0 table 2
  nft -f - <<END
table ip howto {
  chain output {
    type route hook output priority mangle; policy accept;
    udp dport 1196 meta mark set 2
  }
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    udp dport 1196 meta mark set 2
  }
}
END
  sysctl -qw net.ipv4.ip_forward=1
  bond 172.16.16.2 172.16.16.1
  ip route add default via 172.16.16.1 dev bond0
  while read -r name tap port; do
    printf '#!/bin/sh\nip link set %s down\nip link set %s master bond0\nexit 0\n' "$tap" "$tap" \
      >"/etc/openvpn/add_$tap"
    printf '#!/bin/sh\nip link set %s nomaster\nexit 0\n' "$tap" >"/etc/openvpn/del_$tap"
    chmod +x "/etc/openvpn/add_$tap" "/etc/openvpn/del_$tap"
    tunnel "$name" <<END
remote $server $port
nobind
dev $tap
up-delay
down-pre
script-security 2
up /etc/openvpn/add_$tap
down /etc/openvpn/del_$tap
END
    systemctl start "openvpn@$name"
  done
}

"$role" <<END
ovh tap0 1194
orange tap1 1196
END
