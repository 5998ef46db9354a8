import { everyServer, type Plan } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { behind, bound } from "../pi/wayOut.ts";

/** Routing table of the box that is taken in place of the fallback's own. */
export const insteadTable = 21059;

/** The script that asks, and leads round whoever does not answer. */
export function renderDetour(plan: Plan, names: Pick<Names, "detourFolder" | "memory" | "trial">): string {
  const { direct } = plan;
  const all = everyServer(plan);
  const facts = all.map(
    (each) =>
      `    ${each.pi.bond}) table=${each.bondTable} server=${each.server.host} peer=${each.pi.peerAddress} ;;`,
  );
  return `#!/bin/sh
# Leads the traffic round a server behind which nothing answers any more, for as long as another way works${direct.fallback ? "; and, where it leaves by a box,\n# round one by whose line nothing answers" : ""}.
# Called by systemd with watch, and with clear when that has ended.
set -u
bonds='${all.map((each) => each.pi.bond).join(" ")}'
# A bond that is left has a file here.
folder=${names.detourFolder}
${direct.fallback ? behind(plan, " $near") : behind(plan)}
bond() { # bond BOND
  case $1 in
${facts.join("\n")}
  esac
  how="${bound("$1", plan)}" patience=2
}

# Whether a bond has a live slave, and was not left.
carries() { { read -r carrier <"/sys/class/net/$1/carrier"; } 2>/dev/null && [ "$carrier" = 1 ]; }
lives() { [ ! -e "$folder/$1" ] && carries "$1"; }

# Three rounds in a row each: one may be lost on a bad line. The address itself is asked where nobody else tells.
# A router tells of a packet a second or so (Linux: net.ipv4.icmp_ratelimit), and others ask it, too: one at a time is
# enough, and another where that one does not tell.
hop=2
silent() { # silent HOW
  if behind "$1" "$hop"; then return 1; fi
  if behind "$1" 2 3 4; then
    hop=$((hop % 3 + 2))
    return 1
  fi
  ! behind "$1" 64
}
steady() { # steady HOW TTL...
  behind "$@" && sleep 1 && behind "$@" && sleep 1 && behind "$@"
}

# Whether the address itself answers by another bond${direct.fallback ? ", or by a box" : ""}: that a router on the way there does proves less.
other_way() { # other_way BOND
  for other in $bonds; do
    if [ "$other" != "$1" ] && lives "$other" && behind "${bound("$other", plan)}" 64; then return 0; fi
  done
${direct.fallback ? "  # In a shell of its own: it asks with words and a patience of its own.\n  (by_box)" : "  return 1"}
}

# Such a route ends the search in its table, and the next rule is asked.
leave() { # leave BOND
  : >"$folder/$1" && ip route prepend throw default table "$table" &&
    echo "nothing behind $server answers any more: its traffic goes another way, until something does"
}
back() { # back BOND WHY
  ip route del throw default table "$table"
  rm -f "$folder/$1"
  echo "$2, and $server gets the traffic back"
}

# Whether the server's own end of the bond answers, and not even now anybody behind it: it is the server, and no line that has just
# died, nor an address that the Pi has lost. While a change is tried it is that which is looked at, and undone, unless it
# began so.
passes_nothing() {
  # shellcheck disable=SC2086 # they are words
  ping -4 -n -q -c 1 -W 2 $how "$peer" >/dev/null 2>&1 && ! behind "$how" 2 3 4 64 &&
    { [ ! -e ${names.trial} ] || grep -qsx '[0-9][0-9]*' ${names.memory}/before; }
}

look() { # look BOND
  bond "$1"
  if [ -e "$folder/$1" ]; then
    if steady "$how" 2 3 4 64; then
      back "$1" "somebody behind it answers again"
    elif carries "$1" && ! other_way "$1" && ! other_way "$1"; then
      back "$1" "no other way works either"
    fi
  elif lives "$1" && silent "$how" && other_way "$1" && lives "$1" && passes_nothing; then
    leave "$1"
  fi
}
${direct.fallback ? renderFallback(plan, direct.fallback) : ""}
case $1 in
  watch)
    while sleep 3; do
      for each in $bonds; do look "$each"; done${direct.fallback ? "\n      near=$(nearby)\n      fallback" : ""}
    done
    ;;
  clear)
    for each in $bonds; do
      bond "$each"
      ip route del throw default table "$table" 2>/dev/null || true
    done${direct.fallback ? `\n    ip route flush table ${insteadTable} 2>/dev/null || true` : ""}
    ;;
esac
`;
}

/** The script's functions for the box by which traffic leaves without a bond. */
function renderFallback({ lines }: Plan, fallback: NonNullable<Plan["direct"]["fallback"]>): string {
  const own = fallback === "main" ? "main" : fallback.table;
  const facts = lines.map(({ name, mark, table }) => `    ${name}) by='-m ${mark}' box_table=${table} ;;`);
  return `
line() { # line LINE
  case $1 in
${facts.join("\n")}
  esac
  # Nobody shapes what leaves by a box: a full one may hold an answer for seconds.
  patience=4
}
lines='${lines.map(({ name }) => name).join(" ")}'

# The box that a table leads to first, with its interface; - for what is no box, as a mobile network's interface.
box() { # box TABLE
  ip -4 route show default table "$1" 2>/dev/null | head -n 1 |
    sed -E '/^default/!d; s/^default via ([0-9.]+) dev ([^ ]+).*/\\1 \\2/; t; s/^default dev ([^ ]+).*/- \\1/; t; s/.*/- -/'
}

# Who tells that nothing gets out proves nothing: the Pi itself, and each box.
nearby() {
  ip -4 -o addr show | sed -n 's/.* inet \\([0-9.]*\\).*/-e \\1/p'
  for each in ${[own, ...lines.map(({ table }) => table)].join(" ")}; do box "$each"; done | sed 's/ .*//; s/^/-e /'
}
near=$(nearby)
earliest=0

# The line whose box it is, which may be none.
line_of() { # line_of BOX
  for name in $lines; do
    line "$name"
    if [ -n "$1" ] && [ "$(box "$box_table")" = "$1" ]; then echo "$name" && return; fi
  done
}

# Whether the address itself answers by a line's box, or by whatever else the fallback is.
by_box() {
  default=$(box ${own})
  if [ -n "$default" ] && [ -z "$(line_of "$default")" ]; then
    behind "-I \${default#* }" 64
    return
  fi
  for name in $lines; do
    line "$name"
    if behind "$by" 64; then return 0; fi
  done
  return 1
}

now() {
  read -r uptime _ </proc/uptime
  echo "\${uptime%%.*}"
}

# Without a bond traffic leaves by the fallback's own box; by another line's, for as long as nobody answers by that one.
fallback() {
  stands=$(box ${insteadTable})
  instead=$(line_of "$stands")
  default=$(box ${own})
  first=$(line_of "$default")
  alive=
  for each in $bonds; do ! lives "$each" || alive=$each; done
  # Not with a bond, nor where the fallback's own is no line's, of which nothing is known, nor by a box that has moved.
  if [ -n "$alive" ] || { [ -n "$default" ] && [ -z "$first" ]; } || { [ -n "$stands" ] && [ -z "$instead" ]; }; then
    [ -z "$stands" ] || ip route flush table ${insteadTable}
    return
  fi
  # A minute at least: the own one may just have been full.
  if [ -n "$instead" ] && [ -n "$first" ] && [ "$(now)" -ge "$earliest" ] && line "$first" && steady "$by" 64; then
    ip route flush table ${insteadTable}
    echo "$first: somebody answers by it again, and without a bond it carries the traffic"
    return
  fi
  taken=\${instead:-$first}
  if [ -n "$taken" ] && line "$taken" && { behind "$by" 64 || behind "$by" 64 || behind "$by" 64; }; then return; fi
  for name in $lines; do
    line "$name"
    at=$(box "$box_table")
    if [ "$name" != "$taken" ] && [ "\${at#[0-9]}" != "$at" ] && behind "$by" 64; then
      ip route replace default via "\${at% *}" dev "\${at#* }" table ${insteadTable} && earliest=$(($(now) + 60)) &&
        echo "nobody answers by \${taken:-the fallback}: without a bond the traffic leaves by $name"
      return
    fi
  done
}
`;
}
