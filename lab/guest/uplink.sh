#!/bin/sh
# The emulator's own card: the only way to the machine outside, and no way to anywhere else.
set -eu
ip link set lo up
ip link set eth0 name uplink up
ip address add 10.0.2.15/24 dev uplink
# sshd takes no account whose password field says "locked".
echo 'operator:x:1000:1000:the operator:/home/operator:/bin/sh' >>/etc/passwd
echo 'operator:*:19000:0:99999:7:::' >>/etc/shadow
echo 'operator:x:1000:' >>/etc/group
mkdir -p /home/operator
chown 1000:1000 /home/operator
chmod 600 /lab/keys/guest
