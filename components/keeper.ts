import type { Names } from "./names.ts";
import { daemonUnit, type Service } from "./unit.ts";

/**
 * Brings our firewall table back whenever somebody flushes all rules, as Debian's own nftables.service does at each
 * restart: without it the server masquerades nothing, and the tunnels' packets may leave by another's box. A single
 * rule that was deleted by hand stays so until the next `up`, which names it.
 */
export function keeperService(names: Names, exceptions: boolean): Service {
  const { keeperScript: script, keeperUnit: unit, nftTable, firewallScript } = names;
  return {
    unit: unit.name,
    files: [
      {
        path: unit.path,
        text: daemonUnit({
          description: "our firewall comes back where all rules are flushed",
          needs: [names.firewallUnit.name],
          runs: [`ExecStart=${script}`],
          capabilities: "CAP_NET_ADMIN",
          families: "AF_NETLINK AF_UNIX",
        }),
      },
      {
        path: script,
        text: `#!/bin/sh
# Brings our table back whenever somebody flushes all rules. Called by systemd.
set -u

# What was flushed between the two calls is seen by the first round.
{ echo begin; exec nft monitor${exceptions ? "" : " tables"}; } | while read -r _; do
  nft list table inet ${nftTable} >/dev/null 2>&1 ||
    { ${firewallScript} load && echo "our rules were flushed, and are back"; }${exceptions ? `\n  ${firewallScript} let_through` : ""}
done
# The monitor has ended: systemd starts it anew.
exit 1
`,
        mode: "0755",
      },
    ],
  };
}
