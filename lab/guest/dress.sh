#!/bin/sh
# dress.sh NAME ROOT: makes the plain Debian under ROOT the host NAME, with its name, its keys and its own files.
set -eu
name=$1
root=$2
echo "$name" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$root/etc/hosts"
printf %s "$name" | md5sum | cut -c -32 >"$root/etc/machine-id"
mkdir -p "$root/home/admin/.ssh"
cp /lab/keys/lab.pub "$root/home/admin/.ssh/authorized_keys"
chown -R 1000:1000 "$root/home/admin/.ssh"
cp -a "/lab/hosts/$name/." "$root/"
[ ! -d "/lab/hosts/$name/etc/systemd/network" ] || systemctl --quiet --root="$root" enable systemd-networkd
# NetworkManager reads no connection that others may read.
connections=$root/etc/NetworkManager/system-connections
[ ! -d "$connections" ] || chmod -R go= "$connections"
cp "/lab/keys/$name.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
cp "/lab/keys/$name" "$root/etc/ssh/ssh_host_ed25519_key"
chmod 600 "$root/etc/ssh/ssh_host_ed25519_key"
