import { readFileSync } from "node:fs";
import { everyServer, type Plan } from "../../site/plan.ts";
import { namesOf } from "../names.ts";
import { canStray, deadBonds } from "../pi/connections.ts";
import { daemonUnit, type Service } from "../unit.ts";

const program = readFileSync(new URL("hangup.pl", import.meta.url), "utf8");

/** Seconds without a live slave after which a bond is dead though no other one lives, if there is a way past it: longer than a restart of ours. */
const patience = 15;

/** What ends the connections over a dead bond, on the Pi, where there is another way (hangup.pl). */
export function hangupService(plan: Plan): Service[] {
  // One for all bonds: the main one's.
  if (plan.at || !canStray(plan)) return [];
  const names = namesOf(plan);
  const all = everyServer(plan);
  const networks = [plan.pi.lan, ...all.map(({ bond }) => bond.network)].join();
  const bonds = all.map(({ pi, bondMark }) => `${pi.bond},${bondMark}`);
  const alone = plan.direct.fallback ? patience : 0;
  const words = [
    `"inet ${names.nftTable}"`,
    deadBonds,
    networks,
    alone,
    names.detourFolder,
    names.trial,
    ...bonds,
  ];
  const text = daemonUnit({
    description: `end of the connections over a dead bond of site ${plan.site}`,
    // The set of dead bonds is in the firewall's table: it begins anew with that.
    needs: [names.firewallUnit.name],
    runs: ["Type=exec", `ExecStart=${names.hangupProgram} ${words.join(" ")}`],
    capabilities: "CAP_NET_ADMIN CAP_NET_RAW",
    families: "AF_INET AF_NETLINK AF_UNIX",
  });
  return [
    {
      unit: names.hangupUnit.name,
      files: [
        { path: names.hangupUnit.path, text },
        { path: names.hangupProgram, text: program, mode: "0755" },
      ],
    },
  ];
}
