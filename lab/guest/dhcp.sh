#!/bin/sh
# dhcp.sh NAME ADDRESS: a box gives the one machine on its cable an address by DHCP, and names ADDRESS, its own, as the
# gateway. Called again it moves to another ADDRESS.
set -eu
name=$1 box=$2
folder=/run/dhcp/$name
mkdir -p "$folder"
[ ! -f "$folder/pid" ] || kill "$(cat "$folder/pid")"
ip -n "$name" -4 address flush dev eth0
ip -n "$name" address add "$box/24" dev eth0
cat >"$folder/conf" <<EOF
interface eth0
start ${box%.*}.100
end ${box%.*}.100
lease_file $folder/leases
pidfile $folder/pid
option subnet 255.255.255.0
option router $box
option lease 600
EOF
: >"$folder/leases"
nsenter "--net=/run/netns/$name" busybox udhcpd "$folder/conf"
