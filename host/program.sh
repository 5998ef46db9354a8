#!/bin/sh
# The small program that stands on each host as /usr/local/sbin/adsl-bonding-SITE. It keeps the site's
# generations: everything that is wanted on this host at one time, under one id. It knows nothing of
# bonding; what it places and starts is written in a generation's manifest:
#
#   generation ID                   the id, the same on both hosts
#   mends TEXT                      one thing that differed before, and that this generation mends (see `drift`)
#   file MODE SHA256 PATH           a file, its text staged before
#   unit DIGEST NAME PATH...        a unit of ours and the files it reads, restarted when DIGEST (of these) changes
#   state PATH NAME                 a program among the files: `PATH missing` prints what is gone of what that unit set
#   rolling GROUP NAME              a unit that those of other groups stand in for: where only such units change, they
#                                   restart a group at a time
#   tell DIGEST ACTION UNIT         somebody else's unit that reads a file of ours, told when it changes
#   check PATH                      a program among the files: `check count` prints how much of it works, `check working`
#                                   which of the rolling units do, `check linked` fails when no far end answers any more,
#                                   and `check COUNT` fails, saying why, while less works; `check announce ID` lets the far
#                                   end know of what was confirmed here, `check heard ID` fails unless it said so of ID
#   within SECONDS                  a generation not confirmed in that time undoes itself
#
# It works without a network and without whoever installed it: status, revert and remove are for a person
# at the host's own console.
set -eu
LC_ALL=C # what other programs print is read
export LC_ALL

site=${0##*/adsl-bonding-}
state=/var/lib/adsl-bonding/$site
own=/etc/adsl-bonding/$site
keys=$own/keys
run=/run
prefix=adsl-$site
# There while a unit is stopped that another text of it follows at once: the firewall's table stays until then (components/firewall.ts).
replaced=$run/$prefix-replaced
log=$run/$prefix-switch.log
# What the new text of a file is called beside its place, until all of them lie ready.
fresh=$prefix-new
# There while a generation is undone, and was tried to be once.
again=$run/$prefix-again
going_back=
# Whose our files are: root's.
me=$(id -u)

say() { printf '%s\n' "$*"; }
die() {
  say "adsl-bonding-$site: $*" >&2
  exit 1
}

# One change at a time: a second caller waits here, visibly, and gives up after five minutes.
lock() {
  # Nobody else may open it: whoever can, can hold it.
  [ -e "$run/$prefix.lock" ] || (umask 077 && : >>"$run/$prefix.lock")
  exec 9>"$run/$prefix.lock"
  flock -n 9 && return
  say "waiting for another change of this host to end"
  flock -w 300 9 || die "another change of this host has not ended within 5 minutes"
}

# --- what a manifest says -------------------------------------------------------------------------

field() { sed -n "s/^$2 //p" "$1" 2>/dev/null | head -n 1; }
id_of() { field "$1" generation; }
files_of() { sed -n 's/^file [0-7]* [0-9a-f]* //p' "$1" 2>/dev/null || true; }
units_of() { sed -n 's/^unit [0-9a-f]* \([^ ]*\).*/\1/p' "$1" 2>/dev/null || true; }
unit_line() { grep -m 1 "^unit [0-9a-f]* $2\( \|\$\)" "$1"; }
has_line() { grep -qxF -- "$2" "$1" 2>/dev/null; }
has_word() { case " $1 " in *" $2 "*) ;; *) false ;; esac; }
backwards() { sed '1!G;h;$!d'; }
# A generation is on trial, or was and is not undone yet.
on_trial() { [ -f "$state/trying" ] || [ -f "$state/undone" ]; }
# What this host runs when nothing is on trial; at first that is nothing.
running() { if [ -f "$state/current" ]; then say "$state/current"; else say /dev/null; fi; }
sum_of() { { sha256sum <"$1"; } 2>/dev/null | cut -d ' ' -f 1; }

# Where the state was lost, but not what it tells of: the generation stands here still, and its texts are those of its files.
adopt() {
  [ ! -s "$state/current" ] && [ -s "$own/manifest" ] && ! on_trial || return 0
  (
    umask 077
    mkdir -p "$state/staged"
    # Others may be doing the same.
    new=$(mktemp "$state/staged/.new.XXXXXX") || exit
    sed -n 's/^file //p' "$own/manifest" | while read -r _ sum path; do
      [ "$(sum_of "$path")" != "$sum" ] || { cp "$path" "$new" && mv "$new" "$state/staged/$sum"; }
    done
    for note in $notes; do
      [ -e "$state/$note" ] || [ ! -e "$own/$note" ] || { cp "$own/$note" "$new" && mv "$new" "$state/$note"; }
    done
    cp "$own/manifest" "$new" && sync "$new" && mv "$new" "$state/current"
  )
}

# What is known of a host but by its state, kept once more where nobody looks for a state.
notes="sysctl packages"
keep_notes() {
  mkdir -p "$own"
  for note in $notes; do
    [ ! -e "$state/$note" ] || { cp "$state/$note" "$own/.new" && mv "$own/.new" "$own/$note"; }
  done
  cp "$state/current" "$own/.new" && mv "$own/.new" "$own/manifest"
}

# --- packages, keys, files ------------------------------------------------------------------------

packages() {
  missing=$(not_there installed "$@" | paste -s -d ' ')
  if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p "$state"
    # Noted first: where the power goes in the middle they are ours all the same.
    # shellcheck disable=SC2086 # the names are words
    printf '%s\n' $missing >>"$state/packages"
    enabled=$(enabled_units)
    complete_dpkg || die "dpkg was interrupted once, and can't complete what it had begun: dpkg --configure -a"
    quietly apt-get update || die "apt-get update failed: is this host's package mirror reachable?"
    # shellcheck disable=SC2086
    quietly apt-get -y --no-install-recommends install $missing || die "apt-get could not install: $missing"
    # What came with them and was started, as Debian's openvpn.service, did not run before: ours do without. Others may
    # have installed services of their own meanwhile.
    # shellcheck disable=SC2086
    theirs=$(dpkg -L $missing | sed -n 's|.*/systemd/system/||p')
    enabled_units | grep -vxF -- "$enabled" | grep -xF -- "$theirs" | while read -r unit; do
      systemctl -q disable --now "$unit" && say "switched off: $unit"
    done
  fi
  mkdir -p "$state"
  printf '%s\n' "$@" >"$state/wanted"
  say "there: $*"
}

# Says which packages are in none of these states (dpkg(1)), a pattern.
not_there() { # STATES PACKAGE...
  states=$1
  shift
  # shellcheck disable=SC2016 # the variables are dpkg's
  present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -nE "s/^($states) //p")
  printf '%s\n' "$@" | grep -vxF -- "$present" || true
}

# Says which of the packages that were seen to have been removed since, or left half done. One that is just being upgraded is none.
lost_packages() {
  [ -s "$state/wanted" ] || return 0
  states=installed
  # No pattern of pgrep's may be longer than a name.
  ! { pgrep -x "dpkg|apt" || pgrep -x apt-get || pgrep -x unattended-upgr; } >/dev/null 2>&1 || states="installed|half-.*|unpacked|triggers-.*"
  # shellcheck disable=SC2046 # the names are words
  not_there "$states" $(cat "$state/wanted") | sed 's/.*/the package & is not installed/'
}

enabled_units() {
  systemctl list-unit-files --type=service,socket,timer --state=enabled --plain --no-legend | cut -d ' ' -f 1
}

# What dpkg notes while it works stands there, too, where it was interrupted: ten minutes are long enough for its work.
complete_dpkg() {
  deadline=$(($(now) + 600))
  while [ -n "$(ls /var/lib/dpkg/updates)" ]; do
    told=$(dpkg --force-confdef --force-confold --configure -a 2>&1) && return
    case $told in
      *"locked by another process"*) [ "$(now)" -lt "$deadline" ] ;;
      *) false ;;
    esac || { say "$told" >&2 && return 1; }
    say "Another package manager is at work. Waiting for it." >&2
    sleep 5
  done
}

# Runs apt without its talk, but for its last lines when it fails, and for its waiting while another package manager is
# at work: ten minutes. For dpkg's lock apt waits by itself; for those of its lists and archives, which a machine just
# started may hold for its daily update, we do. It may end well without a list that it could not have: its warning is
# told when something fails for want of that. Of a config file that somebody wrote before the package came, or has edited, dpkg
# would ask whose to take, and nobody is there to answer: it stays as it is.
warned=
quietly() {
  log=$(mktemp)
  patience=$(($(now) + 600))
  until
    { "$@" -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
      -o Dpkg::Options::=--force-confold 2>&1 && echo ended well; } | tee "$log" |
      sed -u -n 's/.*\(Waiting for cache lock.*\)/\1/p' >&2
    [ "$(tail -n 1 "$log")" = "ended well" ]
  do
    if ! grep -q "Could not get lock" "$log" || [ "$(now)" -ge "$patience" ]; then
      { [ -z "$warned" ] || say "$warned"; tail -n 5 "$log"; } >&2
      rm -f "$log"
      return 1
    fi
    grep -m 1 "Could not get lock" "$log" | sed 's/^E: //; s/$/ Waiting for it./' >&2
    sleep 5
  done
  warned=$(grep '^W: ' "$log" | tail -n 5) || true
  rm -f "$log"
}

# A key pair is made here, never leaves, and only its certificate's fingerprint is told.
key() {
  name=$1
  umask 077
  mkdir -p "$keys"
  # Two at once would make a key of one and a certificate of the other.
  exec 8<"$keys"
  flock 8
  if [ ! -s "$keys/$name.crt" ] || [ ! -s "$keys/$name.key" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -sha256 \
      -subj "/CN=$prefix-$name" -keyout "$keys/$name.key.new" -out "$keys/$name.crt.new" 2>/dev/null ||
      die "openssl could not make a key in $keys"
    # Of two halves of different pairs each would be taken for whole.
    rm -f "$keys/$name.crt"
    mv "$keys/$name.key.new" "$keys/$name.key"
    mv "$keys/$name.crt.new" "$keys/$name.crt"
    # Its fingerprint will be known elsewhere: it must outlast a power cut.
    sync "$keys" "$keys/$name.key" "$keys/$name.crt"
  fi
  openssl x509 -noout -fingerprint -sha256 -in "$keys/$name.crt" | cut -d = -f 2
}

# The keys and certificates that manifests' texts name: as they were staged, and as they stand in their places.
keys_of() {
  sed -n 's/^file [0-7]* //p' "$@" 2>/dev/null | while read -r sum path; do say "$state/staged/$sum $path"; done |
    xargs -r grep -ohsE -- "$keys/[A-Za-z0-9-]+\.(key|crt)" | sort -u
}

# Keys that nothing of this host's generation reads: of lines that are gone, of rotations that are over. What was made since,
# or a manifest names that waits for its turn, is another change's.
forget_keys() { # WAITING...
  read_now=$(keys_of "$state/current" "$@")
  find "$keys" -name '*.key' ! -newer "$state/current" 2>/dev/null | while read -r key; do
    say "$read_now" | grep -qxF -- "$key" || rm -f "$key" "${key%.key}.crt"
  done
}

lost_keys() { # MANIFEST
  keys_of "$1" | while read -r file; do [ -s "$file" ] || say "$file is gone"; done
}

# Keys that somebody has opened to others, or given to one.
open_keys() { find "$keys" \( -perm /077 -o ! -user "$me" \) 2>/dev/null; }

# Takes a file's text from stdin. Nothing outside the program's own folder changes yet.
stage() {
  umask 077
  mkdir -p "$state/staged"
  new=$(mktemp "$state/staged/.new.XXXXXX")
  cat >"$new"
  sum=$(sum_of "$new")
  mv "$new" "$state/staged/$sum"
  # It is not staged a second time, so it must outlast a power cut.
  sync "$state/staged" "$state/staged/$sum"
  say "staged $1 as $sum"
}

# A new file's name may reach the disk before its text: both must have, where a power cut is to find it whole.
to_disk() { sync -f /etc "$state" "$0"; }

# --- switching ------------------------------------------------------------------------------------

# Whether a text lies here as it was staged.
whole() { [ "$(sum_of "$state/staged/$1")" = "$1" ]; }

# Lays a manifest's files beside their places where these differ: a disk that is full, or can't be written, shows before
# anything stops. Fails with 2 when nothing but lost texts is in the way: for these no waiting helps.
lay_out() {
  short=0 lost=0
  while read -r word mode sum path; do
    [ "$word" = file ] || continue
    rm -f "$path.$fresh"
    [ -n "$(differs "$mode" "$sum" "$path")" ] || continue
    if ! whole "$sum"; then
      say "the text of $path is lost"
      lost=2
    elif [ -f "$path" ] && ! { ln "$path" "$path.$fresh" && rm -f "$path.$fresh"; }; then
      # What can't have a second name can't be replaced either, as what somebody made immutable.
      say "$path can't be replaced: is it immutable (lsattr)?"
      short=1
    elif ! { mkdir -p "$(dirname "$path")" && cat "$state/staged/$sum" >"$path.$fresh" && chmod "$mode" "$path.$fresh"; }; then
      rm -f "$path.$fresh"
      say "$path can't be written"
      short=1
    fi
  done <"$1"
  [ $short = 0 ] || return 1
  return $lost
}

# Takes away the files of one manifest that the other has not, puts the other's in place, each whole, old or new, and has
# systemd know them.
swap_files() {
  files_of "$1" | while read -r path; do
    files_of "$2" | grep -qxF -- "$path" || rm -f "$path" "$path.$fresh"
  done
  files_of "$2" | while read -r path; do
    [ ! -f "$path.$fresh" ] || mv "$path.$fresh" "$path"
  done
  { additions "$1" && additions "$2"; } | while read -r _ path; do rm -rf "${path%/*}"; done
  enable_all "$2"
  # Once: reading all units again is what takes longest of a switch, and nothing of ours runs meanwhile.
  systemctl daemon-reload
}

# Has a manifest's units start at boot, whatever somebody has made of them.
enable_all() {
  units=$(units_of "$1")
  [ -n "$units" ] || return 0
  # shellcheck disable=SC2086 # the names are words
  unmask $units
  # One that can't be keeps all of them from it.
  # shellcheck disable=SC2086
  systemctl -q --no-reload enable $units 2>/dev/null ||
    for unit in $units; do systemctl -q --no-reload enable "$unit" || true; done
}

disable() {
  unmask "$@"
  systemctl -q --no-reload disable "$@" || true
}

unmask() {
  systemctl -q --no-reload unmask "$@" 2>/dev/null || true
  systemctl -q --no-reload unmask --runtime "$@" 2>/dev/null || true
}

# The value that each sysctl of ours had before us, kept once, so that it can come back. Where another site of this server
# has set it since, that one knows.
keep_sysctl() {
  sed -n 's/^\([a-z][^ =]*\) *=.*/\1/p' "$1" | while read -r name; do
    [ -z "$(kept_sysctl "$name" "$state/sysctl")" ] || continue
    value=$(kept_sysctl "$name" "${state%/*}"/*/sysctl)
    [ -n "$value" ] || value=$(sysctl -n "$name" 2>/dev/null) || continue
    say "$name=$value" >>"$state/sysctl"
  done
}

kept_sysctl() { # NAME FILE...
  wanted=$1
  shift
  cat "$@" 2>/dev/null | awk -v name="$wanted" 'index($0, name "=") == 1 { print substr($0, length(name) + 2); exit }'
}

# Whether something else has come to need forwarding since it was switched on: a file of the system's says so, or a table that is
# not ours, as Docker's, masquerades or translates.
forwards_for_others() {
  systemd-analyze cat-config sysctl.d 2>/dev/null | grep -qE '^net[./]ipv4[./]ip_forward *= *1' ||
    nft list ruleset 2>/dev/null |
    awk '$1 == "table" { ours = $3 ~ /^adsl_bonding_/ } /masquerade|MASQUERADE|[ds]nat to|[DS]NAT/ && !ours { found = 1 } END { exit !found }'
}

# Brings back what no file of ours sets any more, nor one of another site of this server.
restore_sysctl() (
  [ -f "$state/sysctl" ] || return 0
  # Where the disk is full they stay noted all: what is not, nobody would bring back.
  while IFS='=' read -r name value; do
    if grep -qs "^$name *=" /etc/sysctl.d/*-adsl-*.conf; then
      say "$name=$value" || exit
    elif [ "$name" = net.ipv4.ip_forward ] && [ "$value" = 0 ] && forwards_for_others; then
      :
    else
      sysctl -q -w "$name=$value" 2>/dev/null || true
    fi
  done <"$state/sysctl" >"$state/sysctl.new" && mv "$state/sysctl.new" "$state/sysctl"
)

# Says how a file differs from its line in the manifest.
differs() {
  if [ ! -f "$3" ]; then
    say "$3 is gone"
  elif [ "$(sum_of "$3")" != "$2" ]; then
    say "$3 was edited"
  elif [ "$(stat -c '%a %u' "$3")" != "${1#0} $me" ]; then
    say "$3 has another mode or owner"
  fi
}

# Says what is gone of what the units of a manifest have set.
gone() {
  sed -n 's/^state //p' "$1" 2>/dev/null | while read -r path unit; do
    [ ! -x "$path" ] || ! systemctl -q is-active "$unit" || "$path" missing | sed "s/^/$unit: /; s/\$/ is gone/"
  done
}

# What somebody has added to units of a manifest, as `systemctl edit` does: each with the file that does so. What is meant
# for units of other names too is none of it.
additions() { # MANIFEST
  { units_of "$1" && say "$prefix-recover.service"; } | while read -r unit; do
    for folder in /etc/systemd/system "$run/systemd/system"; do
      for name in "$unit" "${unit%%@*}@.${unit##*.}"; do
        for file in "$folder/$name.d"/* "$folder.control/$name.d"/*; do
          [ ! -e "$file" ] || say "$unit $file"
        done
      done
    done
  done
}

# The units of a manifest that run on something else than they should, by somebody's hand.
unsound() {
  [ -f "$1" ] || return 0
  gone "$1" | sed 's/:.*//'
  additions "$1" | cut -d ' ' -f 1
  edited=$(sed -n 's/^file //p' "$1" | while read -r mode sum path; do
    [ -z "$(differs "$mode" "$sum" "$path")" ] || say "$path"
  done | paste -s -d ' ')
  sed -n 's/^unit [0-9a-f]* //p' "$1" | while read -r unit reads; do
    for path in $reads; do ! has_word "$edited" "$path" || say "$unit"; done
  done
}

# Goes from one manifest to another, whose files are laid out; either may be empty.
# Only units whose digest differs or that somebody has meddled with are stopped, or restarted in their turn; everything
# listed is started, which does nothing to what runs.
apply() {
  old=$1 new=$2 rolling=
  meddled=$(unsound "$old" | paste -s -d ' ')
  changed=$(units_of "$old" | backwards | while read -r unit; do
    if has_word "$meddled" "$unit" || ! has_line "$new" "$(unit_line "$old" "$unit")"; then say "$unit"; fi
  done)
  if can_roll "$old" "$new" "$changed"; then
    rolling=$(say "$changed" | paste -s -d ' ') changed=
  fi
  for unit in $changed; do
    if units_of "$new" | grep -qxF -- "$unit"; then : >"$replaced"; else rm -f "$replaced"; fi || true
    systemctl stop "$unit" || true
    units_of "$new" | grep -qxF -- "$unit" || disable "$unit"
  done
  swap_files "$old" "$new"
  open_keys | while read -r path; do
    { chown "$me" "$path" && chmod go= "$path"; } || say "$path could not be closed to others"
  done
  files_of "$new" | grep '^/etc/sysctl\.d/' | while read -r path; do
    keep_sysctl "$path"
    # An interface may be gone for a while, and its settings with it.
    sysctl -q -e -p "$path" || say "not all of $path could be set"
  done
  restore_sysctl
  tell "$old" "$new"
  [ -z "$rolling" ] || roll "$new" "$rolling"
  # All at once: each call for itself would have systemd read all units again. A unit that fails doesn't keep
  # the others from starting, and the check says what is wrong.
  units=$(units_of "$new")
  [ -z "$units" ] || {
    # shellcheck disable=SC2086 # the names are words
    systemctl start $units || say "not all units could be started"
  }
  rm -f "$replaced" || true
}

# Whether nothing is to change but units that can restart a group at a time: none comes, none goes.
can_roll() {
  [ -n "$3" ] && [ "$(units_of "$1" | sort)" = "$(units_of "$2" | sort)" ] || return 1
  for unit in $3; do grep -q "^rolling [^ ]* $unit\$" "$2" || return 1; done
}

# Restarts changed units a group at a time, the next when what worked before of this one does so again. A tunnel needs both
# its ends: each host waits so for the other, and they go in step. A group that does not come back ends a switch, so that
# no more than that one is ever lost; going back ends for nothing. Groups whose turn has not come within a third of the
# time to confirm restart together, and all waiting ends before half of it, which is as long as `settle` waits.
roll() {
  manifest=$1 units=$2
  time=$(field "$manifest" within)
  late=$(($(now) + time / 3))
  end=$(($(now) + time * 9 / 20))
  for group in $(sed -n 's/^rolling \([^ ]*\) .*/\1/p' "$manifest" | uniq); do
    turn=$(sed -n "s/^rolling $group //p" "$manifest" | while read -r unit; do
      ! has_word "$units" "$unit" || say "$unit"
    done | paste -s -d ' ')
    [ -n "$turn" ] || continue
    # shellcheck disable=SC2086 # the names are words
    systemctl restart $turn || true
    [ "$(now)" -lt "$late" ] || continue
    # shellcheck disable=SC2086
    if works_again $turn; then
      # What carries at this end may not yet be seen to do so at the other.
      sleep 1
    elif [ -z "$going_back" ]; then
      # shellcheck disable=SC2086
      journal $turn
      say "$group does not work again after its restart, so those after it were left alone: has the far end switched?"
      return 1
    fi
  done
}

# Waits until those of the units that worked before the switch work again; until $end at the latest.
works_again() {
  check=$(field "$manifest" check)
  while
    "$check" working >"$state/working.now" 2>/dev/null || true
    for unit in "$@"; do ! has_line "$state/working" "$unit" || say "$unit"; done | grep -vqxFf "$state/working.now"
  do
    [ "$(now)" -lt "$end" ] || return 1
    sleep 0.2
  done
}

# Units of others read our files at their start: those that run are told when such a file came, changed or went.
tell() {
  old=$1 new=$2
  { grep '^tell ' "$old" 2>/dev/null || true; grep '^tell ' "$new" 2>/dev/null || true; } | sort | uniq -u |
    while read -r _ _ action unit; do say "$action $unit"; done | sort -u |
    while read -r action unit; do
      ! systemctl -q is-active "$unit" || systemctl "$action" "$unit" || say "could not $action $unit"
    done
}

# Takes a manifest from stdin, and checks that all of it can be placed. Changes nothing else.
arm() {
  mkdir -p "$state"
  new=$(mktemp "$state/waiting.$(this_boot).XXXXXX")
  trap 'rm -f "$new"' EXIT
  cat >"$new"
  id=$(id_of "$new")
  # A connection that was lost ends it anywhere.
  if [ -z "$id" ] || [ -z "$(field "$new" within)" ] || [ -n "$(tail -c 1 "$new")" ]; then
    die "what the host is to run did not arrive whole: \`pulumi up\` again"
  fi
  # Not while its text is on the way, which may take for ever.
  lock
  await_trial
  while read -r word _ sum path; do
    [ "$word" != file ] || whole "$sum" || lack "the text of $path is not here, or not whole"
  done <"$new"
  lost=$(lost_keys "$new" | head -n 1)
  [ -z "$lost" ] || lack "$lost"
  # Room for going back, whatever fills the disk meanwhile.
  fallocate -l 2M "$state/reserve" 2>/dev/null || head -c 2M /dev/zero >"$state/reserve" || {
    rm -f "$state/reserve"
    die "there is no room left in $state"
  }
  place_recovery
  mv "$new" "$state/armed"
  to_disk
  say "armed $id"
}

this_boot() { cut -c 1-8 /proc/sys/kernel/random/boot_id; }

# The manifests that wait for their turn to be armed, but for what was left by a host that died. (Not by their times: a clock that
# is set may make any of them old.)
waiting() {
  find "$state" -maxdepth 1 -name 'waiting.*' ! -name "waiting.$(this_boot).*" -delete
  find "$state" -maxdepth 1 -name 'waiting.*'
}

# By another name of the installation the next look knows that all has to be done again.
do_all_again() { date -u +%Y%m%dT%H%M%S >"$state/installation"; }

lack() {
  do_all_again
  die "$*; the next \`pulumi up\` stages all again"
}

# Another `up` may be trying a generation, or one that was killed has left it: it is confirmed, or undoes itself.
await_trial() {
  on_trial || return 0
  end=$(($(now) + $(within) + 120))
  say "waiting until the change that is being tried here is confirmed or undone"
  while on_trial; do
    [ "$(now)" -lt "$end" ] || die "a change that is being tried here does not end. At the host: sudo $0 revert"
    # Somebody may have stopped what would undo it.
    systemctl -q is-active "$prefix-revert.timer" || undo_in 1 "$(id_of "$state/trying")" || true
    flock -u 9
    sleep 2
    lock
  done
}

# The timer that undoes a generation after so many seconds, and goes on until that is done.
undo_in() { # SECONDS ID [OPTION]
  # What may be left of an earlier trial's has nothing to undo any more, and must not meddle with this one.
  systemctl stop "$prefix-revert.timer" "$prefix-revert.service" 2>/dev/null || true
  # At each daemon-reload, ours or another's, systemd begins anew to count from the timer's own start (systemd issue 31914),
  # but not from that of its own.
  systemd-run -q --collect ${3:+"$3"} --unit "$prefix-revert" --on-active "$1" --on-startup "$(($(since_startup) + $1 + 1))" \
    --on-unit-inactive 30 --timer-property AccuracySec=1s "$0" expire "$2"
}

# Seconds since systemd's start. Not by /proc/uptime, which in some containers is another clock than systemd's. Where systemd does not
# tell they are too many, and nothing is lost but that.
since_startup() {
  began=$(systemctl show -p UserspaceTimestampMonotonic --value) || began=0
  awk -v began="$began" '{ print int($22 / 100 - began / 1000000) }' /proc/self/stat
}

stop_timer() { systemctl stop "$prefix-revert.timer" 2>/dev/null || true; }

# Refuses, and remembers it: by that the next look differs, and the next `up` takes all steps again.
refuse() {
  say "$(date -u +%FT%TZ), $*" >"$state/reverted"
  die "$*; \`pulumi up\` again"
}

# Starts the change of an armed generation, detached: what follows may cut the caller's own way to this host.
switch() {
  lock
  id=$1
  if [ "$(id_of "$state/current")" = "$id" ] && [ ! -f "$state/armed" ] && ! on_trial; then
    say "active already"
    return 0
  fi
  if [ "$(id_of "$state/trying")" = "$id" ]; then
    say "switching already"
    return 0
  fi
  ! on_trial || die "another change is being tried here"
  [ "$(id_of "$state/armed")" = "$id" ] || refuse "generation $id is not armed here"
  # How much worked before: the new generation must do as well. At a first deployment all must work.
  before=
  check=$(field "$state/current" check)
  [ -z "$check" ] || before=$("$check" count 2>/dev/null || true)
  say "$before" >"$state/before"
  [ -z "$check" ] || "$check" working >"$state/working" 2>/dev/null || true
  rm -f "$state/reverted" "$state/switched" "$state/settled" "$state/idle" "$again"
  # The timer first: from here on every way ends in a whole generation.
  undo_in "$(field "$state/armed" within)" "$id" || die "systemd-run could start no timer that would undo the change"
  mv "$state/armed" "$state/trying"
  to_disk
  systemd-run -q --collect --unit "$prefix-switch" --no-block "$0" switch-now || {
    give_up "systemd-run could not start it"
    die "systemd-run could not start the switch"
  }
  say "switching to $id"
}

# The listener by which the last look proved the lines has the tunnels' ports, for a minute.
end_probe() {
  probe=$(cat "$run/$prefix-probe" 2>/dev/null) || return 0
  ! grep -qs adsl-bonding-probe "/proc/$probe/cmdline" || kill "$probe" || true
}

switch_now() {
  lock
  [ -f "$state/trying" ] || die "nothing to switch to"
  end_probe
  if ! lay_out "$state/trying" >"$log" 2>&1; then
    give_up "it can't be placed: $(tail -n 1 "$log")"
    return 0
  fi
  # In a subshell of its own, and not as a condition: there `set -e` would not end it at the first failure.
  set +e
  (set -e && apply "$(running)" "$state/trying") >"$log" 2>&1
  failed=$?
  set -e
  if [ "$failed" = 0 ]; then
    touch "$state/switched"
  else
    revert_now "placing it failed: $(tail -n 1 "$log")"
  fi
}

# Ends the trial of a generation for which nothing has been changed yet.
give_up() {
  files_of "$state/trying" | while read -r path; do rm -f "$path.$fresh"; done
  rm -f "$state/reserve"
  say "$(date -u +%FT%TZ), generation $(id_of "$state/trying"): $1" >"$state/reverted" || true
  rm -f "$state/trying"
  stop_timer
}

# A manifest's text, nothing when there is none.
manifest() { [ ! -f "$1" ] || cat "$1"; }

# Waits, in a login made after the switch, until the generation works: at most half of the time it has.
settle() {
  id=$1
  limit=$(($(now) + $(within) / 2))
  while ! answer=$(settled "$id"); do
    if [ "$(now)" -ge "$limit" ]; then
      # shellcheck disable=SC2046 # the names are words
      journal $(units_of "$state/trying") >&2
      die "generation $id does not work here, so it undoes itself within $(within) s: $answer"
    fi
    [ -f "$state/trying" ] || [ "$(id_of "$state/current")" = "$id" ] || {
      manifest "$log" >&2
      die "$answer"
    }
    sleep 1
  done
  [ ! -f "$state/trying" ] || touch "$state/settled" || true
  say "$answer"
}

# Seconds of a clock that nobody sets: a Pi learns the time of day some while after its start.
now() {
  read -r uptime _ </proc/uptime
  say "${uptime%%.*}"
}
within() { field "$state/trying" within | grep . || echo 90; }

# Says what keeps a generation from working; true when nothing does.
settled() {
  if [ "$(id_of "$state/current")" = "$1" ]; then
    manifest=$state/current needed=1
  elif [ "$(id_of "$state/trying")" = "$1" ]; then
    [ -f "$state/switched" ] || {
      say "the switch has not ended"
      return 1
    }
    manifest=$state/trying needed=$(cat "$state/before")
  else
    say "generation $1 is neither active nor being tried here: $(manifest "$state/reverted")"
    return 1
  fi
  # shellcheck disable=SC2046 # the names are words
  if systemctl is-active $(units_of "$manifest") | grep -qvx active; then
    for unit in $(units_of "$manifest"); do
      systemctl -q is-active "$unit" || say "$unit is $(systemctl is-active "$unit" || true)"
    done
    # What they wait for, an interface that is not there say.
    systemctl --no-legend list-jobs | sed 's/^ */systemd has not done yet: /'
    return 1
  fi
  "$(field "$manifest" check)" "${needed:-all}"
}

# The last lines that units of ours wrote, to explain a failure.
journal() {
  for unit in "$@"; do
    journalctl -q -n 6 -o cat -u "$unit" 2>/dev/null | sed "s/^/  $unit: /"
  done
}

# Makes the tried generation the current one. Only a fresh login calls it.
confirm() {
  lock
  id=$1
  if ! on_trial && [ "$(id_of "$state/current")" = "$id" ]; then
    keep_notes || true
    say "active already"
    return 0
  fi
  [ "$(id_of "$state/trying")" = "$id" ] ||
    die "generation $id was undone before it was confirmed: $(manifest "$state/reverted")"
  accept
  say "active: $id"
}

accept() {
  # Its files first: a power cut is never to find a generation that is current, and whose files are empty.
  to_disk
  mv "$state/trying" "$state/current"
  # Where this host's confirmation reaches the other, and the login that is to bring its own does not.
  "$(field "$state/current" check)" announce "$(id_of "$state/current")" >/dev/null 2>&1 || true
  keep_notes || true
  to_disk
  stop_timer
  rm -f "$state/reverted" "$state/switched" "$state/settled" "$state/before" "$state/reserve" "$state"/working*
  # What was staged since is another change's, as what a manifest names that waits for its turn.
  others=$(waiting)
  find "$state/staged" -type f ! -newer "$state/current" | while read -r file; do
    # shellcheck disable=SC2086 # the names are words
    grep -qs " ${file##*/} " "$state/current" $others || rm -f "$file"
  done
  # shellcheck disable=SC2086
  forget_keys $others
}

# Goes back to the generation before, or to none when this was the first. Detached, for it may cut the caller's own way here.
revert() {
  if [ "${1:-}" != now ]; then
    on_trial || {
      say "nothing to undo: no generation is being tried"
      return 0
    }
    systemd-run -q --collect --wait --pipe --unit "$prefix-undo" "$0" revert now || die "it could not be undone"
    return 0
  fi
  lock
  ! on_trial || revert_now "somebody asked for it on the host"
}

# The timer's: a generation that was not confirmed in time is undone, tried every half minute until that is done; but where the far
# end has been confirmed, this one goes with it: the two might not find one another again.
expire() {
  # A switch that hangs would keep the lock for ever.
  systemctl stop "$prefix-switch.service" 2>/dev/null || true
  lock
  if tries "$1" && confirmed_there "$1"; then
    accept
    say "confirmed, as the far end was: $1"
  elif [ -f "$state/undone" ] || tries "$1"; then
    revert_now "it was not confirmed in time"
  elif [ -f "$state/idle" ]; then
    start_idle
  else
    stop_timer
  fi
}

tries() { [ -f "$state/trying" ] && [ "$(id_of "$state/trying")" = "$1" ]; }

# Whether the far end says that this generation was confirmed there, which is so only where it was found to work here. That may
# happen at the very end of its own time, a moment after ours: some twenty seconds are waited for it.
confirmed_there() {
  [ -f "$state/settled" ] || return 1
  patience=$(($(now) + 20))
  while :; do
    answer=0
    "$(field "$state/trying" check)" heard "$1" >/dev/null 2>&1 || answer=$?
    [ "$answer" != 0 ] || return 0
    # Whoever is not told of it says so in another way.
    [ "$answer" = 1 ] && [ "$(now)" -lt "$patience" ] || return 1
    sleep 1
  done
}

# Whatever of it fails, all the rest is done: above all, what is to run is started. The timer goes on until it is.
revert_now() {
  to=$(running) tried=$state/undone going_back=yes
  rm -f "$state/reserve" || true
  # The first try goes on without what it can't write; a further one would stop everything again for nothing.
  if [ -f "$tried" ] || [ -e "$again" ]; then
    { touch "$state" && lay_out "$to"; } || [ $? = 2 ] || {
      say "going back waits for a disk that can be written"
      return 0
    }
  fi
  say >"$again" || true
  say "going back: $1"
  # A disk that can't be written any more leaves it where it is.
  [ ! -f "$state/trying" ] || mv "$state/trying" "$tried" || tried=$state/trying
  say "$(date -u +%FT%TZ), generation $(id_of "$tried"): $1" >"$state/reverted" || true
  (
    set +e
    lay_out "$to"
    apply "$tried" "$to"
    # Once more, one by one: it does nothing to what is enabled and runs.
    for unit in $(units_of "$to"); do
      systemctl -q --no-reload enable "$unit"
      systemctl start "$unit"
    done
  ) || true
  to_disk || true
  if [ -f "$state/trying" ] || [ -n "$(misplaced "$to" whole)$(left_over "$tried" "$to")" ]; then
    say "not all of it could be undone"
    return 0
  fi
  # What is still missing is lost here: the next change brings it.
  [ -z "$(misplaced "$to")" ] || do_all_again
  rm -f "$state/switched" "$state/settled" "$state/undone" "$state"/working* "$again"
  units=$(idle | paste -s -d ' ')
  if [ -n "$units" ]; then
    say "not all of it runs again: $units"
    say $(($(now) + 600)) >"$state/idle" && return 0
  fi
  stop_timer
}

# The units of what is to run that do not.
idle() {
  for unit in $(units_of "$(running)"); do systemctl -q is-active "$unit" || say "$unit"; done
}

# The timer's, after a way back: whatever kept units from starting may pass. Ten minutes long.
start_idle() {
  units=$(idle)
  if [ -n "$units" ] && [ "$(now)" -lt "$(cat "$state/idle")" ]; then
    # shellcheck disable=SC2086 # the names are words
    systemctl start --no-block $units || true
  else
    rm -f "$state/idle"
    stop_timer
  fi
}

# What only the first of two manifests wants: its files that are still there, and its units that still run, or would at the
# next boot.
left_over() {
  files_of "$1" | while read -r path; do
    files_of "$2" | grep -qxF -- "$path" || [ ! -e "$path" ] || say "$path"
  done
  units_of "$1" | while read -r unit; do
    ! units_of "$2" | grep -qxF -- "$unit" || continue
    ! { systemctl -q is-active "$unit" || systemctl -q is-enabled "$unit" 2>/dev/null; } || say "$unit"
  done
}

# At boot: a generation that was being tried when the power went is undone before anything of it starts.
recover() {
  lock
  on_trial || return 0
  # Whatever fails, all the rest is done.
  set +e
  to=$(running) left=
  rm -f "$state/reserve" "$state/settled"
  for which in undone trying; do
    tried=$state/$which
    [ -f "$tried" ] || continue
    say "$(date -u +%FT%TZ), generation $(id_of "$tried"): the host restarted before it was confirmed" >"$state/reverted"
    # Nothing of ours runs yet: only files and enablement go back, systemd then starts what is enabled.
    units_of "$tried" | while read -r unit; do
      units_of "$to" | grep -qxF -- "$unit" || disable "$unit"
    done
    lay_out "$to"
    swap_files "$tried" "$to"
    left=$left$(left_over "$tried" "$to") id=$(id_of "$tried")
  done
  to_disk
  if [ -n "$left$(misplaced "$to" whole)" ]; then
    say "not all of it could be undone"
    [ ! -f "$state/trying" ] || mv "$state/trying" "$state/undone"
    # Timers start after this: it is not to wait for its own.
    undo_in 30 "$id" --no-block
  else
    rm -f "$state/trying" "$state/undone" "$state/switched"
  fi
  # Units pulled in with the old files would start now, or fail for want of them: start what is wanted.
  for unit in $(units_of "$to"); do systemctl start --no-block "$unit"; done
}

# --- telling --------------------------------------------------------------------------------------

# What differs from the current generation, in one line, its parts parted by tabs. It is stable: as long as nothing drifts
# it is the text that the current generation was armed with, so that a mend is followed by no further change; and what comes once more
# after a mend is another text than that.
drift() {
  if [ -f "$state/trying" ]; then
    say "generation $(id_of "$state/trying") was not confirmed"
  elif [ -f "$state/undone" ]; then
    say "generation $(id_of "$state/undone") is not undone yet"
  elif [ -f "$state/reverted" ]; then
    { say "undone at $(cat "$state/reverted")" && drifted; } | paste -s
  elif [ -f "$state/current" ]; then
    found=$(drifted | paste -s)
    mended=$(sed -n 's/^mends //p' "$state/current" | paste -s)
    if [ "$found" = "$mended" ] && [ -n "$found" ]; then
      printf '%s\tonce more\n' "$found"
    else
      say "${found:-$mended}"
    fi
  fi
}

# What of a manifest's files is gone, or another than it should be; with `whole` only of those whose texts could be placed.
misplaced() { # MANIFEST [whole]
  sed -n 's/^file //p' "$1" | while read -r mode sum path; do
    ! "${2:-true}" "$sum" || differs "$mode" "$sum" "$path"
  done
}

# The text of this program itself, which is to undo changes, as it was when it was set up.
meddled_with() {
  [ ! -f "$state/program" ] || [ "$(sum_of "$0")" = "$(cat "$state/program")" ] || say "$0 was edited"
}

drifted() {
  meddled_with
  misplaced "$state/current"
  lost_keys "$state/current"
  open_keys | sed 's/$/ is open to others/'
  lost_packages
  additions "$state/current" | sed 's/^[^ ]* //; s/$/ was added/' | sort -u
  gone "$state/current"
  files_of "$state/current" | grep '^/etc/sysctl\.d/' | xargs cat 2>/dev/null | while read -r name _ wanted; do
    value=$(sysctl -n "$name" 2>/dev/null) || continue
    [ "$value" = "$wanted" ] || say "$name is $value, not $wanted"
  done
  systemctl -q is-enabled "$prefix-recover.service" || say "$prefix-recover.service is not enabled"
  for unit in $(units_of "$state/current"); do
    systemctl -q is-enabled "$unit" || say "$unit is not enabled"
    systemctl -q is-active "$unit" || say "$unit is not running"
  done
}

status() {
  say "site $site"
  for which in current armed trying undone; do
    [ ! -f "$state/$which" ] || say "$which generation: $(id_of "$state/$which")"
  done
  [ ! -f "$state/reverted" ] || say "last undone: $(cat "$state/reverted")"
  [ ! -f "$state/current" ] || {
    drifted | sed 's/^/drifted: /'
    if answer=$("$(field "$state/current" check)" all); then say "check: $answer"; else say "check failed: $answer"; fi
  }
}

# --- coming and going -----------------------------------------------------------------------------

# setup [INSTALLATION [ROLE]]: what the program itself needs on the host. The name of the installation tells this host from
# one that was made anew in its place.
setup() {
  mkdir -p "$state" "$own"
  chmod 700 "$state"
  [ -z "${1:-}" ] || say "$1" >"$state/installation"
  sum_of "$0" >"$state/program"
  for place in "$state" "$own"; do
    rm -f "$place/role"
    [ -z "${2:-}" ] || say "$2" >"$place/role"
  done
  place_recovery
  to_disk
  say "set up"
}

# The unit that undoes a generation at boot, if it was tried when the power went.
place_recovery() {
  unit=/etc/systemd/system/$prefix-recover.service
  cat >"$unit.$$" <<EOF
[Unit]
Description=adsl-bonding $site: undo a generation that was not confirmed before the restart
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target systemd-sysctl.service sysinit.target
Wants=network-pre.target
ConditionPathExists=|$state/trying
ConditionPathExists=|$state/undone

[Service]
Type=oneshot
TimeoutStartSec=300
ExecStart=$0 recover

[Install]
WantedBy=sysinit.target
EOF
  mv "$unit.$$" "$unit"
  # It has systemd read all units again by itself.
  systemctl -q enable "$prefix-recover.service"
}

# The name that this installation was given; none where something is lost that only a new one makes again.
installation() {
  [ -z "$(meddled_with)$(lost_keys "$state/current")$(lost_packages)" ] || return 1
  manifest "$state/installation"
}

# Leaves nothing of ours but packages, which it lists. Detached, for it may cut the caller's own way here.
remove() {
  if [ "${1:-}" != now ]; then
    # A destroy that was cut off may have left one that still runs, or waits for the far end: this one waits for it, or comes after.
    systemd-run -q --collect --wait --pipe --unit "$prefix-remove-$$" "$0" remove now || [ ! -e "$0" ] || die "removal failed"
    return 0
  fi
  systemctl stop "$prefix-revert.timer" "$prefix-switch.service" 2>/dev/null || true
  lock
  # Whatever fails, all the rest is done.
  set +e
  for which in trying undone current; do
    [ ! -f "$state/$which" ] || apply "$state/$which" /dev/null
  done
  restore_sysctl
  systemctl -q --no-reload disable "$prefix-recover.service"
  rm -f "/etc/systemd/system/$prefix-recover.service"*
  systemctl daemon-reload
  systemctl reset-failed "$prefix-*" 2>/dev/null
  # The group that systemd made for the tunnels' template stays behind, empty, unless it is stopped.
  systemctl stop "system-$(systemd-escape "$prefix-tunnel").slice" 2>/dev/null
  installed=$(awk '!seen[$0]++' "$state/packages" 2>/dev/null | paste -s -d ' ')
  # First what would bring the others back.
  rm -f "$own/manifest"
  rm -rf "$state" "$own" || die "not everything could be removed"
  rm -f "$0" "$0.new" "$run/$prefix.lock" "$log" "$again" "$run/$prefix-probe" "$replaced"
  rmdir "${state%/*}" /etc/adsl-bonding 2>/dev/null
  say "removed; the packages it had installed stay: $installed"
}

# Removes when the far end has gone: whoever removes that one at the same time may be logged in there through this host, and a
# login that is cut off in the middle hangs for ever. One that was gone before, or stays, is waited for in no case longer than a minute.
# A destroy that is cut off meanwhile leaves this waiting: not for an `up` that follows, of which each command takes the mark away.
remove_last() {
  check=$(field "$state/current" check) marked=
  ! touch "$state/leaving" 2>/dev/null || marked=yes
  if [ -n "$check" ] && "$check" linked 2>/dev/null; then
    say "waiting until the far end is removed, a minute at most"
    patience=$(($(now) + 60))
    while "$check" linked 2>/dev/null && [ "$(now)" -lt "$patience" ]; do sleep 1; done
    # Its tunnels end before it has cleared away all the rest.
    [ "$(now)" -ge "$patience" ] || sleep 20
    [ -z "$marked" ] || [ -e "$state/leaving" ] || [ ! -e "$0" ] || die "the site is being set up again: nothing was removed"
  fi
  remove
}

# Removes, unless the host has become something else of the site since: a backup server that was made the main one has
# a new owner in Pulumi's state, and the old one goes after that.
remove_as() {
  role=$(cat "$state/role" 2>/dev/null || cat "$own/role" 2>/dev/null || true)
  if [ "$role" = "$1" ]; then remove; else say "no longer $1: nothing was removed"; fi
}

# All of the program is read before any of it runs, so that it may replace or remove its own file.
main() {
  # of NAME COMMAND: meant for that installation alone.
  if [ "${1:-}" = of ]; then
    [ "$(manifest "$state/installation")" = "$2" ] || die "this host was made anew since it was looked at: \`pulumi up\` again"
    shift 2
  fi
  command=${1:-status}
  [ $# -eq 0 ] || shift
  [ "$(id -u)" = 0 ] || die "run it as root: sudo $0 $command"
  adopt || true
  case $command in setup | packages | key | stage | arm) rm -f "$state/leaving" ;; esac
  case $command in
    setup) setup "$@" ;;
    packages) packages "$@" ;;
    key) key "$@" ;;
    stage) stage "$@" ;;
    arm) arm ;;
    switch) switch "$@" ;;
    switch-now) switch_now ;;
    settle) settle "$@" ;;
    confirm) confirm "$@" ;;
    revert) revert "$@" ;;
    expire) expire "$@" ;;
    recover) recover ;;
    drift) drift ;;
    installation) installation ;;
    status) status ;;
    remove) remove "$@" ;;
    remove-as) remove_as "$@" ;;
    remove-last) remove_last ;;
    *) die "no such command: $command. A person wants: status, revert, remove" ;;
  esac
  exit
}
main "$@"
