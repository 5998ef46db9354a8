#!/bin/sh
# line.sh NAME [WORD=VALUE...]: makes a line behave as /run/lines/NAME says, after changing some of its words.
set -eu
name=$1
shift
down='' up='' rtt='' queue='' encapsulation='' lose_in='' lose_out='' # all of them are in the file
# shellcheck disable=SC1090
. "/run/lines/$name"
for word; do
  case $word in
  down=* | up=* | rtt=* | queue=* | encapsulation=* | lose_in=* | lose_out=*) eval "${word%%=*}=\${word#*=}" ;;
  restore)
    # shellcheck disable=SC1090
    . "/run/lines/$name.as-made"
    ;;
  *) echo "unknown word $word" >&2 && exit 2 ;;
  esac
done
# What a packet costs besides itself, as netem takes it: bytes around it, less the 14 of Ethernet's header that netem
# counts itself; and where there are ATM cells, the bytes in one and around it.
case $encapsulation in
pppoe-llc) framing='26 48 5' ;; # 40: 8 PPPoE and PPP, 14 Ethernet, 10 LLC and SNAP, 8 AAL5
pppoa-vc) framing='-4 48 5' ;;  # 10: 2 PPP, 8 AAL5
pppoe-ethernet) framing='12' ;; # 26: 8 PPPoE and PPP, 14, and 4 of its check sum
ethernet) framing='4' ;;        # 18: without those 8
*) echo "unknown encapsulation $encapsulation" >&2 && exit 2 ;;
esac
printf 'down=%s up=%s rtt=%s queue=%s encapsulation=%s lose_in=%s lose_out=%s\n' \
  "$down" "$up" "$rtt" "$queue" "$encapsulation" "$lose_in" "$lose_out" >"/run/lines/$name"
half=$((rtt * 500))us

shape() { # shape NAMESPACE INTERFACE RATE LOSS
  # shellcheck disable=SC2086 # the framing is words
  tc -n "$1" qdisc replace dev "$2" root netem limit "$queue" delay "$half" loss "$4%" rate "${3}kbit" $framing
}
shape internet "wan-$name" "$down" "$lose_in"
shape "$name" wan "$up" "$lose_out"
