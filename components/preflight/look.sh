#!/bin/sh
# Looks at a host before anything is staged on it, and tells what it found, a `key=value` a line. It changes
# nothing that lasts: the listener on the server (probe.sh, whose functions stand before this) ends by itself after 60 s, the
# rules and tables on the Pi by which each line is tried are gone when this ends.
#
# In its environment: SITE; ROLE (server or pi); BONDS, the names of ours here; PORTS that will be ours here,
# `protocol,port,address,interface` of each, the last two empty for all; TRIES, on the Pi, the servers' ports that are to be
# tried, `line,protocol,server,port`; NETWORKS, on a server, those that lead into its bond; MODULES of the kernel that are needed;
# LINES, on the Pi, `name,gateway,interface` of each, a gateway `dhcp` being what DHCP gave the interface; LET, chains of others'
# firewalls that get rules of ours, `family,table,chain`; PROBE=yes where the lines are to be tried.
set -u
export LC_ALL=C # what other programs print is read
: "${SITE:?}" "${ROLE:?}" "${BONDS:?}" "${PORTS=}" "${TRIES=}" "${NETWORKS=}" "${MODULES:?}" "${LINES=}" "${LET=}" "${PROBE=no}"
program=/usr/local/sbin/adsl-bonding-$SITE
state=/var/lib/adsl-bonding/$SITE

# A change of this host that is under way, one that undoes itself say, is waited for: its end is what counts.
[ ! -e "/run/adsl-$SITE.lock" ] || flock -w 30 "/run/adsl-$SITE.lock" true
# Where its state was lost the program finds again what stands here. It has no name where something is lost that only a new
# installation makes again.
name=
[ ! -x "$program" ] || name=$("$program" installation) || name=
# Where there is a generation its tunnels show which line works, whether they run now or not, and its firewall would
# drop a probe.
for which in current trying undone; do [ ! -e "$state/$which" ] || PROBE=no; done

tell() { printf '%s=%s\n' "$1" "$2"; }

# shellcheck disable=SC1091 # the host's own file
. /etc/os-release
tell os "${ID:-unknown} ${VERSION_ID:-}"
tell kernel "$(uname -r)"
command -v apt-get >/dev/null || tell lacks apt-get
# On a root in memory (raspi-config's overlay, the package overlayroot) all can be written, and is lost at the next start.
! cat /proc/cmdline /etc/overlayroot.conf /etc/overlayroot.local.conf 2>/dev/null |
  grep -qE '(^| )(boot=overlay( |$)|overlayroot="?tmpfs)' || tell lacks "a disk that keeps what is written: an overlay file system is on (raspi-config, or overlayroot); switch it off"
for folder in /etc /usr/local /var/lib; do [ -w "$folder" ] || tell lacks "a $folder that can be written to"; done
[ -d /run/systemd/system ] || tell lacks systemd
# Going back, and removal, are asked of systemd by it.
[ -S /run/dbus/system_bus_socket ] || tell lacks "a system bus: install the package dbus"
# An upgrade of the kernel may take the modules of the one that runs.
newer=
[ -d "/lib/modules/$(uname -r)" ] || newer=": those of its kernel are gone, as after an upgrade of that; restart it"
for module in $MODULES; do
  [ -d "/sys/module/$module" ] || modprobe -n -q "$module" || tell lacks "the kernel module $module$newer"
done
tell openvpn "$(dpkg-query -W -f '${Version}' openvpn 2>/dev/null ||
  apt-cache policy openvpn 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v none)"
tell host_keys "$(cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null | cut -d ' ' -f 1 | paste -s -d ' ')"
# x86 and ARM both call them so; a virtual processor may hide them.
tell aes "$(grep -m 1 -qwE '(flags|Features).*aes' /proc/cpuinfo && echo yes || echo no)"
tell free_mb "$(df -Pm /var | awk 'NR == 2 { print $4 }')"

# A bond that the module made by itself has no slave; one with slaves that we did not make is somebody's.
for bond in $BONDS; do
  # By the script that makes it: a backup that becomes the server has one of another name.
  if [ -e "/sys/class/net/$bond" ] && ! grep -qs "link add $bond " "/etc/adsl-bonding/$SITE"/bond* "$state"/staged/*; then
    if [ ! -e "/sys/class/net/$bond/bonding" ]; then
      tell foreign "$bond is there already, and is no bond"
    elif [ -n "$(cat "/sys/class/net/$bond/bonding/slaves")" ] || ip -4 -o addr show dev "$bond" | grep -q inet; then
      tell foreign "$bond is a bond in use by somebody else"
    fi
  fi
done

# Two sites can share a server, but no Pi.
for other in /usr/local/sbin/adsl-bonding-*; do
  # A program on its way is none yet.
  case $other in *.new) continue ;; esac
  if [ "$ROLE" = pi ] && [ -x "$other" ] && [ "$other" != "$program" ]; then
    tell foreign "the site ${other##*/adsl-bonding-} stands on it: was its name changed in the config? Give the old name back, or destroy that site first"
  fi
done

if [ -x "$program" ] && [ -d "$state" ]; then
  [ -z "$name" ] || tell installation "$name"
  tell generation "$(sed -n 's/^generation //p' "$state/current" 2>/dev/null)"
  # Its drift tells of a change that was undone, or is not confirmed.
  for which in trying undone reverted; do [ ! -e "$state/$which" ] || tell unsettled "$which"; done
  tell drift "$("$program" drift | tail -n 1)"
elif [ -e "$state/current" ] || [ -e "/etc/adsl-bonding/$SITE/manifest" ]; then
  tell gone "$program"
fi

# Whether rules speak of all our bonds.
knows_bonds() {
  for bond in $BONDS; do
    # As a whole name: another site's may begin with it.
    printf '%s\n' "$1" | grep -qE "(^|[^A-Za-z0-9_-])$bond([^A-Za-z0-9_-]|\$)" || return 1
  done
}

# Whether rules speak of ICMP, by its number where nobody knows its name (/etc/protocols): not of IPv6's, nor of refusing by it.
takes_pings() { sed -E 's/reject with .*//; s/--reject-with .*//; s/icmpv6|ipv6-icmp//g' | grep -qiE 'icmp|(protocol|l4proto) 1( |$)'; }

# Somebody else's chain that drops what is forwarded, and knows nothing of a bond of ours: no accept of ours overrides it. And one
# that drops what comes in, with a word where nothing it says can mean the far end's pings.
if command -v nft >/dev/null; then
  nft list chains 2>/dev/null | awk '
    $1 == "table" { table = $2 " " $3 }
    $1 == "chain" { chain = $2 }
    / hook (forward|input) / && table ~ /^(ip|inet) / && table !~ / adsl_bonding_/ { print table, chain, / hook input / ? "input" : "forward" }' |
    while read -r family table chain hook; do
      text=$(nft -s list table "$family" "$table")
      printf '%s\n' "$text" | closes "$chain" || continue
      # Rules of ours there go with the next generation, where the config does not ask for them.
      rules=$(printf '%s\n' "$text" | reached "$chain" | grep -v "comment \"adsl-bonding-$SITE\"")
      let=no
      case " $LET " in *" $family,$table,$chain "*) let=yes ;; esac
      if [ "$hook" = input ]; then
        tell closed "$family $table $chain"
        [ $let = yes ] || knows_bonds "$rules" || printf '%s\n' "$rules" | takes_pings || tell deaf "$family $table $chain"
      elif [ $let = no ] && ! knows_bonds "$rules"; then
        tell blocks "$family $table $chain"
      fi
    done
fi

# iptables' own list, of rules that nft can't show: it may have come without nft, as with ufw, and its chains are called so in nft's
# words; or be the older kind, which stands beside nft.
iptables_rules() { # iptables_rules IPTABLES HOOK: all rules, if that chain drops what none of its own takes
  found=$("$1" -S 2>/dev/null) || return
  printf '%s\n' "$found" | grep -qE -- "^(-P $2 DROP|-A $2( -m comment --comment ([^ \"]+|\"[^\"]*\"))? -j (DROP|REJECT).*)\$" || return
  printf '%s\n' "$found" | grep -vE "adsl-bonding-$SITE([ \"]|\$)"
}

if ! command -v nft >/dev/null && command -v iptables >/dev/null; then
  case " $LET $(iptables -V 2>/dev/null) " in
    *" ip,filter,FORWARD "* | *"(legacy)"*) ;;
    *) ! rules=$(iptables_rules iptables FORWARD) || knows_bonds "$rules" || tell blocks "ip filter FORWARD" ;;
  esac
  ! iptables_rules iptables INPUT >/dev/null || tell closed "ip filter INPUT"
fi
if grep -qsx filter /proc/net/ip_tables_names && command -v iptables-legacy >/dev/null; then
  ! rules=$(iptables_rules iptables-legacy FORWARD) || knows_bonds "$rules" || tell legacy FORWARD
fi

# One who may log in but a few times a minute can't make an `up`. The ports are those of whoever is logged in, this look too.
logins=$(ss -Htnp state established | awk '/"sshd/ { sub(/.*:/, "", $3); print $3 }' | sort -u)
if [ -n "$logins" ]; then
  # shellcheck disable=SC2086 # the ports are words
  limit=$({ nft -n -s list ruleset 2>/dev/null || iptables -S 2>/dev/null; } | few_logins $logins)
  [ -z "$limit" ] || tell few_logins "$limit"
fi

for each in $LET; do
  command -v nft >/dev/null || break
  IFS=, read -r family table chain <<EOF
$each
EOF
  nft list chain "$family" "$table" "$chain" >/dev/null 2>&1 || tell lacks "the chain $family $table $chain that letThrough names"
done

ip -4 -o addr show | awk '{ print "address=" $4 " " $2 }'

if [ "$ROLE" = server ]; then
  # What main leads elsewhere of the networks that are to be ours: the whole or a part of one, and what one is a part of.
  for network in $NETWORKS; do
    for which in root match; do ip -4 -o route show table main "$which" "$network"; done | sort -u |
      while read -r route rest; do
        case " $rest" in *" dev "*) device=" $rest" device=${device#* dev } device=${device%% *} ;; *) device=elsewhere ;; esac
        # A network that the server stands in, or but a way there, which may well be the same one.
        case $rest in *"proto kernel"*) kind=own ;; *) kind=way ;; esac
        case $route in [0-9]*) ;; *) continue ;; esac
        case " $BONDS " in *" $device "*) ;; *) tell route "$network $route $device $kind" ;; esac
      done
  done
  for file in /etc/adsl-bonding/*/routes; do
    other=${file%/routes} other=${other##*/}
    [ "$other" = "$SITE" ] || sed -n "s/.*ip rule add pref [0-9]* to \([0-9./]*\) lookup \([0-9]*\).*/site_network=$other \1\nsite_table=$other \2/p" "$file" 2>/dev/null
  done
  # The one that it has by itself towards a far network (nobody's, RFC 5737).
  tell source "$(ip -4 -o route get 192.0.2.1 2>/dev/null | sed -nE 's/.* src ([0-9.]+).*/\1/p')"
fi

if [ "$ROLE" = server ] && [ "$PROBE" = yes ]; then
  # shellcheck disable=SC2086 # the ports are words
  listen "/run/adsl-$SITE-probe" $PORTS
fi

for each in $PORTS; do
  IFS=, read -r protocol port address interface <<EOF
$each
EOF
  who=$(holder "$protocol" "$port" "$address" "$interface")
  [ -z "$who" ] || [ "$who" = adsl-bonding-pr ] || tell taken "$protocol $port $who"
  # A new tunnel's on a site that stands, which no line was tried with.
  [ "$ROLE$PROBE" != serverno ] || [ -n "$(ss -Hln "--$protocol" "sport = :$port")" ] || tell untried "$protocol $port"
done

if [ "$ROLE" = pi ]; then
  number=0 asked='' routed=''
  # shellcheck disable=SC2086 # the tries are words
  servers=$(printf '%s\n' $TRIES | cut -d , -f 3 | sort -u)
  rules() { # rules add|del TABLE PORTS: what goes to a server by one of these ports takes that table
    for server in $servers; do
      ip rule "$1" pref 900 to "$server" sport "$3" lookup "$2" || [ "$1" = del ] || return 1
    done
  }
  take_back() {
    for each in $routed; do
      rules del "${each%,*}" "${each#*,}" 2>/dev/null
      ip route flush table "${each%,*}" 2>/dev/null
    done
  }
  trap take_back EXIT
  trap 'exit 1' HUP INT TERM
  for line in $LINES; do
    number=$((number + 1))
    IFS=, read -r name gateway interface <<EOF
$line
EOF
    if [ ! -e "/sys/class/net/$interface" ]; then
      tell line "$name: there is no interface $interface"
      continue
    fi
    if [ "$gateway" = dhcp ]; then
      gateway=$(ip -4 route show default dev "$interface" | sed -n 's/.* via \([0-9.]*\).*/\1/p' | head -n 1)
      if [ -z "$gateway" ]; then
        tell line "$name: DHCP has given $interface no gateway (main has no default route on it)"
        continue
      fi
    fi
    [ "$PROBE" = yes ] || continue
    table=$((21900 + number)) from=$((40836 + 64 * number))
    ports=$from-$((from + 63))
    # A look that was killed may have left its own.
    rules del "$table" "$ports" 2>/dev/null
    routed="$routed $table,$ports"
    ip route replace default via "$gateway" dev "$interface" table "$table" 2>/dev/null
    # Without the box's route the try must fail, not leave by another box.
    ip route append unreachable default metric 4096 table "$table"
    if ! rules add "$table" "$ports"; then
      tell line "$name: no routing rule can be made to try it"
      continue
    fi
    for each in $TRIES; do
      case $each in "$name",*) asked="$asked $name,$gateway,$from,${ports#*-},${each#*,}" ;; esac
    done
  done
  if [ -n "$asked" ]; then
    # shellcheck disable=SC2086 # they are words
    ask $asked || tell lacks "a perl that can try the lines"
  fi
fi
tell end yes
