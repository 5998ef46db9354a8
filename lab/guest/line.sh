#!/bin/sh
# line.sh NAME [WORD=VALUE...]: makes an ADSL line behave as /run/lines/NAME says, after changing some of its words.
# A packet costs whole ATM cells behind 40 bytes of PPPoE over LLC; netem counts 14 of those itself, as Ethernet's.
set -eu
name=$1
shift
down='' up='' rtt='' queue='' lose_in='' lose_out='' # all of them are in the file
# shellcheck disable=SC1090
. "/run/lines/$name"
for word; do
  case $word in
  down=* | up=* | rtt=* | queue=* | lose_in=* | lose_out=*) eval "${word%%=*}=\${word#*=}" ;;
  restore)
    # shellcheck disable=SC1090
    . "/run/lines/$name.as-made"
    ;;
  *) echo "unknown word $word" >&2 && exit 2 ;;
  esac
done
printf 'down=%s up=%s rtt=%s queue=%s lose_in=%s lose_out=%s\n' \
  "$down" "$up" "$rtt" "$queue" "$lose_in" "$lose_out" >"/run/lines/$name"
half=$((rtt * 500))us

shape() { # shape NAMESPACE INTERFACE RATE LOSS
  tc -n "$1" qdisc replace dev "$2" root netem limit "$queue" delay "$half" loss "$4%" rate "${3}kbit" 26 48 5
}
shape internet "wan-$name" "$down" "$lose_in"
shape "$name" wan "$up" "$lose_out"
