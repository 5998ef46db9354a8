#!/bin/sh
# ready.sh NAME ADDRESS VIEW: waits until a host's sshd answers at an address, seen from a place.
name=$1 address=$2 view=$3
until /lab/in.sh "$view" timeout 4 busybox nc -w 3 "$address" 22 </dev/null 2>/dev/null | grep -q ^SSH; do sleep 0.3; done
# The first boot is over when nothing waits to be started.
/lab/in.sh "$name" systemctl is-system-running --wait >/dev/null 2>&1 || true
