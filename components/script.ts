/** What a script of ours sets in the kernel, in the shell's words. */
interface StateScript {
  /** The script's head: what it sets. */
  about: string;
  /** Where the picture of what was set is kept while it stands; under /run. */
  kept: string;
  /** The functions that the others call, and further words that the script can be called with. */
  functions?: string;
  /** Sets it; safe to run while parts of it stand. */
  set: string[];
  /** Takes it away, whatever of it stands. */
  unset: string[];
  /** Prints what of it stands, a line each. */
  show: string[];
}

/**
 * A script that systemd calls with up or down, and that can tell what somebody else has taken away since:
 * `up` keeps a picture of what it has set, `missing` compares.
 */
export function renderStateScript({ about, kept, functions, set, unset, show }: StateScript): string {
  const indent = (lines: string[]) => lines.map((line) => `  ${line}`).join("\n");
  return `#!/bin/sh
# ${about}
# Called by systemd with up or down; \`missing\` prints what was taken away since.
set -eu
kept=${kept}
${functions ? `\n${functions}` : ""}
show() {
${indent(show)}
}

up() {
${indent(set)}
  show >"$kept"
}

down() {
${indent(unset)}
  rm -f "$kept"
}

missing() {
  [ -f "$kept" ] || { echo "the picture of what was set" && return; }
  # Several may ask at once: there is no file that one could empty while another reads it.
  show | grep -vxFf - "$kept" || true
}

"$@"
`;
}
