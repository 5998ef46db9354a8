#!/bin/sh
# ready.sh ADDRESS VIEW: waits until a host's sshd answers at an address, seen from a place.
address=$1 view=$2
until /lab/in.sh "$view" timeout 4 busybox nc -w 3 "$address" 22 </dev/null 2>/dev/null | grep -q ^SSH; do sleep 0.3; done
