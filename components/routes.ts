/** A script that sets rules and routes in tables of our own; safe to run twice. */
export function renderRoutesScript(rules: string[], routes: string[], tables: number[]): string {
  const indent = (lines: string[]) => lines.map((line) => `  ${line}`).join("\n");
  return `#!/bin/sh
# Rules and routes of our own. Called by systemd with up or down.
set -eu

up() {
  down
${indent(routes)}
${indent(rules.map((rule) => `ip rule add ${rule}`))}
}

down() {
${indent(rules.map((rule) => `ip rule del ${rule} 2>/dev/null || true`))}
${indent(tables.map((table) => `ip route flush table ${table} 2>/dev/null || true`))}
}

"$1"
`;
}
