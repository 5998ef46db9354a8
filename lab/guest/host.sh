#!/bin/sh
# host.sh plug|unplug|wipe NAME: a host's disk and its cables. The disk is a layer in memory over the plain Debian of the
# image: to wipe it is to throw the layer away.
set -eu
name=$2
place=/run/hosts/$name
root=$place/root

fresh() {
  mkdir -p "$place/upper" "$place/work" "$root"
  mount -t overlay -o "lowerdir=/hosts/root,upperdir=$place/upper,workdir=$place/work" "$name" "$root"
  /lab/dress.sh "$name" "$root"
}

case $1 in
plug)
  mountpoint -q "$root" || fresh
  ip netns add "$name"
  ip -n "$name" link set lo up
  while read -r interface bridge space; do
    /lab/cable.sh "$name" "$interface" "$bridge" ${space:+"$space"}
  done <"/lab/cables/$name"
  ;;
unplug)
  # Whatever still lived in it has lost its machine.
  ip netns delete "$name" 2>/dev/null || true
  # A container that was killed leaves this behind, and its next start would refuse it.
  umount "/run/systemd/nspawn/unix-export/$name" 2>/dev/null || true
  rm -rf "/run/systemd/nspawn/unix-export/$name" "/run/systemd/nspawn/propagate/$name"
  ;;
wipe)
  ! mountpoint -q "$root" || umount "$root"
  rm -rf "$place"
  ;;
esac
