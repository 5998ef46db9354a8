#!/busybox sh
# shellcheck shell=dash
# The guest's first root: mounts its disk read-only, puts all that is written in memory, and hands over to systemd.
# Nothing of a run is left on any disk, so that the guest's memory alone is its whole state and can be kept.
set -eu
/busybox mkdir -p /proc /sys /dev /disk /memory /root
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sysfs /sys
/busybox mount -t devtmpfs dev /dev
while read -r module; do /busybox insmod "$module"; done </order
/busybox mount -t ext4 -o ro,noatime /dev/vda /disk
/busybox mount -t tmpfs -o size=90% memory /memory
/busybox mkdir /memory/upper /memory/work
/busybox mount -t overlay -o lowerdir=/disk,upperdir=/memory/upper,workdir=/memory/work root /root
# What this run brings along: the site, its keys, the scripts. It was unpacked by the kernel from a second archive.
/busybox cp -a /lab /root/lab
/busybox cp /root/lab/units/* /root/etc/systemd/system/
/busybox mkdir -p /root/hosts
/busybox mount -t ext4 -o ro,noatime /dev/vdb /root/hosts
/busybox umount /proc
/busybox umount /sys
/busybox umount /dev
exec /busybox switch_root /root /sbin/init
