#!/bin/sh
# power.sh kill|start|reboot|wipe NAME: a host's power cord, its own reboot, and its disk put back to the plain Debian.
set -eu
unit=host@$2
process() { systemctl show --property=MainPID --value "$unit"; }
off() {
  systemctl kill --kill-whom=all --signal=SIGKILL "$unit" 2>/dev/null || true
  while [ "$(process)" != 0 ]; do sleep 0.1; done
  systemctl stop "$unit"
  systemctl reset-failed "$unit" 2>/dev/null || true
}
case $1 in
kill) off ;;
start) systemctl start --no-block "$unit" ;;
reboot)
  before=$(process)
  /lab/in.sh "$2" systemctl reboot
  while now=$(process) && { [ "$now" = "$before" ] || [ "$now" = 0 ]; }; do sleep 0.2; done
  ;;
wipe)
  off
  /lab/host.sh wipe "$2"
  systemctl start --no-block "$unit"
  ;;
esac
