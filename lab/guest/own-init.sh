#!/busybox sh
# shellcheck shell=dash
# The first root of a host that is a guest of its own. Its disk is its own, and what was written there lasts; the
# kernel's modules are those on the lab's guest's disk. On a new disk it makes the plain Debian there the host.
set -eu
/busybox mkdir -p /proc /sys /dev /guest /root
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sysfs /sys
/busybox mount -t devtmpfs dev /dev
while read -r module; do /busybox insmod "$module"; done </order
/busybox mount -t ext4 -o noatime /dev/vda /root
/busybox mount -t ext4 -o ro,noatime /dev/vdb /guest
/busybox mount -o bind /guest/usr/lib/modules /root/usr/lib/modules
if [ ! -e /root/etc/ssh/ssh_host_ed25519_key ]; then
  read -r name </lab/name
  /busybox cp -a /lab /root/lab
  /busybox chroot /root sh /lab/dress.sh "$name" ""
  /busybox rm -r /root/lab
fi
/busybox umount /proc
/busybox umount /sys
/busybox umount /dev
exec /busybox switch_root /root /sbin/init
