import { everyServer, type Plan } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { behind, bound } from "../pi/wayOut.ts";

/** Routing table of the box that is taken in place of the fallback's own. */
export const insteadTable = 21059;

/** The script that asks, and leads round whoever does not answer. */
export function renderDetour(plan: Plan, names: Pick<Names, "detourFolder" | "memory">): string {
  const { direct } = plan;
  const all = everyServer(plan);
  const facts = all.map(
    (each) => `    ${each.pi.bond}) table=${each.bondTable} server=${each.server.host} ;;`,
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
  how="${bound("$1", plan)}"
}

# Whether a bond has a live slave, and was not left.
lives() { [ ! -e "$folder/$1" ] && [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ]; }

# A round takes 2 s where nobody answers. Three in a row each: one may be lost on a bad line.
silent() { # silent HOW
  ! behind "$1" 2 3 4 && ! behind "$1" 2 3 4 64 && ! behind "$1" 2 3 4 64
}
steady() { # steady HOW
  behind "$1" 2 3 4 && sleep 1 && behind "$1" 2 3 4 && sleep 1 && behind "$1" 2 3 4
}

# Whether anybody answers by another bond${direct.fallback ? ", or by a box" : ""}.
other_way() { # other_way BOND
  for other in $bonds; do
    if [ "$other" != "$1" ] && lives "$other" && behind "${bound("$other", plan)}" 2 3 4 64; then return 0; fi
  done
${direct.fallback ? "  by_box" : "  return 1"}
}

# Such a route ends the search in its table, and the next rule is asked.
leave() { # leave BOND
  ip route prepend throw default table "$table" && : >"$folder/$1" &&
    echo "nothing behind $server answers any more: its traffic goes another way, until something does"
}
back() { # back BOND
  ip route del throw default table "$table"
  rm -f "$folder/$1"
  echo "something behind $server answers again, and gets the traffic back"
}

look() { # look BOND
  bond "$1"
  if [ -e "$folder/$1" ]; then
    if steady "$how"; then back "$1"; fi
  elif lives "$1" && silent "$how" && lives "$1" && [ ! -e ${names.memory}/trying ] && other_way "$1"; then
    # While a change is tried it is that which is looked at, and undone.
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
}
lines='${lines.map(({ name }) => name).join(" ")}'

# The box that a table leads to, with its interface.
box() { # box TABLE
  ip -4 route show default table "$1" 2>/dev/null | sed -n 's/^default via \\([0-9.]*\\) dev \\([^ ]*\\).*/\\1 \\2/p' | head -n 1
}

# Who tells that nothing gets out proves nothing: the Pi itself, and each box.
nearby() {
  ip -4 -o addr show | sed -n 's/.* inet \\([0-9.]*\\).*/-e \\1/p'
  for each in ${[own, ...lines.map(({ table }) => table)].join(" ")}; do box "$each"; done | sed 's/ .*//; s/^/-e /'
}
near=$(nearby)

# The line whose box it is, which may be none.
line_of() { # line_of BOX
  for name in $lines; do
    line "$name"
    if [ -n "$1" ] && [ "$(box "$box_table")" = "$1" ]; then echo "$name" && return; fi
  done
}

# Whether anybody answers by a line's box, or by whatever else the fallback is.
by_box() {
  default=$(box ${own})
  if [ -n "$default" ] && [ -z "$(line_of "$default")" ]; then
    behind "-I \${default#* }" 2 3 4 64
    return
  fi
  for name in $lines; do
    line "$name"
    if behind "$by" 2 3 4 64; then return 0; fi
  done
  return 1
}

# Without a bond traffic leaves by the fallback's own box; by another line's, for as long as nobody answers by that one.
fallback() {
  instead=$(line_of "$(box ${insteadTable})")
  for each in $bonds; do
    if lives "$each"; then
      [ -z "$instead" ] || ip route flush table ${insteadTable}
      return
    fi
  done
  default=$(box ${own})
  first=$(line_of "$default")
  # It may be no line's: of that nothing is known.
  if [ -n "$default" ] && [ -z "$first" ]; then return; fi
  if [ -n "$instead" ] && [ -n "$first" ] && line "$first" && steady "$by"; then
    ip route flush table ${insteadTable}
    echo "$first: somebody answers by it again, and without a bond it carries the traffic"
    return
  fi
  taken=\${instead:-$first}
  if [ -n "$taken" ] && line "$taken" && ! silent "$by"; then return; fi
  for name in $lines; do
    line "$name"
    at=$(box "$box_table")
    if [ "$name" != "$taken" ] && [ -n "$at" ] && behind "$by" 2 3 4 64; then
      ip route replace default via "\${at% *}" dev "\${at#* }" table ${insteadTable} &&
        echo "nobody answers by \${taken:-the fallback}: without a bond the traffic leaves by $name"
      return
    fi
  done
}
`;
}
