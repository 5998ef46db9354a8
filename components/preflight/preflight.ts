import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { inspect, type Observation } from "../../host/inspect.ts";
import { everyServer, type Plan } from "../../site/plan.ts";
import { warnOfOffers } from "../lan/offers.ts";
import { pastBond } from "../pi/boxes.ts";
import { adviseCiphers, doubt, judge, lacks, parted } from "./judge.ts";
import { lastUp, leftBehind, somebodyElses } from "./lastUp.ts";
import { lookEnvironment, triesOf } from "./look.ts";
import { addressDoubts, addressProblems, lanProblems, routeDoubts, routeProblems } from "./networks.ts";
import { mayBeShut, newPortsMayBeShut, suspect } from "./ports.ts";

const script = ["probe.sh", "look.sh"]
  .map((name) => readFileSync(new URL(name, import.meta.url), "utf8"))
  .join("");
const offers = readFileSync(new URL("../lan/offers.sh", import.meta.url), "utf8");

/** What a look at a host tells the components. */
export interface Found {
  /** What has drifted there; empty when nothing. */
  drift: string;
  /** Which installation of the host it is: see HostArgs. */
  installation: string | undefined;
}

/**
 * Looks at all hosts before anything is declared, at preview and at up. What makes a host unfit is one
 * error that lists all of it. A host that can't be reached fails an up here, before anything is touched;
 * a preview goes on, and says so.
 * @returns what was found on each host, by its name
 */
export async function inspectHosts(plan: Plan): Promise<Record<string, Found>> {
  const all = everyServer(plan);
  const left = await lastUp();
  // The servers first: they listen on the tunnels' ports, where no tunnels stand yet that prove the way, for the Pi to try each
  // line with. Where one's own firewall still has to let the tunnels in, that could only fail.
  const servers = await Promise.all(
    all.map((each) => look(each, "server", each.server.letThrough.input.length === 0)),
  );
  const tries = all.flatMap((each, index) => triesOf(each, servers[index]!.facts));
  const pi = await look(plan, "pi", tries.length > 0, tries);
  const hosts = [
    ...all.map((each, index) => ({
      seen: servers[index]!,
      end: each.server,
      bonds: [each.server.bond],
      past: [],
    })),
    { seen: pi, end: plan.pi, bonds: all.map((each) => each.pi.bond), past: pastBond(plan) },
  ];
  const problems = hosts.flatMap(({ seen, bonds, past }) =>
    seen.unreachable === undefined ? judge(seen.host, bonds, seen.facts, past) : [],
  );
  problems.push(...lanProblems(plan, pi.facts));
  for (const [index, { facts }] of servers.entries()) {
    const each = all[index]!;
    problems.push(
      ...addressProblems(each, facts),
      ...routeProblems(each, facts),
      ...suspect(each, facts, pi.facts),
    );
    const doubts = [
      ...addressDoubts(each, facts),
      ...routeDoubts(each, facts),
      ...newPortsMayBeShut(each, facts, pi.facts),
    ];
    for (const line of doubts) await pulumi.log.info(line);
  }
  for (const { seen, end, bonds } of hosts) {
    for (const line of doubt(seen.host, bonds, end.ssh.hostKey, seen.facts)) await pulumi.log.info(line);
  }
  for (const line of mayBeShut(plan, pi.facts)) await pulumi.log.info(line);
  for (const line of adviseCiphers(plan.vpn.ciphers[0]!, pi.facts)) await pulumi.log.info(line);
  for (const line of warnOfOffers(pi.facts)) await pulumi.log.warn(`pi: ${line}`);
  for (const line of hosts.flatMap(({ seen }) => lacks(seen.host, seen.facts))) await pulumi.log.warn(line);
  const apart = parted(
    hosts.map(({ seen }) => seen),
    left.generation,
  );
  const looked = hosts.map(({ seen, end }) => ({ seen, address: end.address }));
  for (const line of leftBehind(plan.site, looked, left)) await pulumi.log.warn(line);
  problems.push(...somebodyElses(plan.site, looked.slice(0, -1), pi, left));
  if (apart) {
    await pulumi.log.warn(`${apart}. \`up\` brings them together, and gives each host everything again`);
  }
  const told = hosts.flatMap(({ seen: { host, unreachable } }) =>
    unreachable === undefined ? [] : [`${host}: ${unreachable}`],
  );
  if (pulumi.runtime.isDryRun()) {
    for (const line of told) await pulumi.log.warn(`${line}. This preview can't tell what stands on it.`);
  } else {
    problems.push(...told);
    if (plan.backups.length > 0 && servers.some(({ unreachable }) => unreachable !== undefined)) {
      problems.push(
        'a server that is dead for longer is taken out of the config, or a backup put in its place: see docs/how-to.md, "A server is dead"',
      );
    }
  }
  if (problems.length > 0) {
    throw new pulumi.RunError(
      ["the hosts can't take this site yet; nothing was touched:", ...problems.map((p) => `  ${p}`)].join(
        "\n",
      ),
    );
  }
  return Object.fromEntries(hosts.map(({ seen }) => [seen.host, foundOn(seen, apart !== undefined)]));
}

function look(plan: Plan, end: "pi" | "server", probe: boolean, tries: string[] = []): Promise<Observation> {
  const { host, address, ssh } = plan[end];
  const wanted = end === "pi" && plan.lan?.dhcp ? offers + script : script;
  return inspect({
    host,
    address,
    ssh,
    script: wanted,
    environment: {
      ...lookEnvironment(plan, end, probe, tries),
      LAN: plan.pi.interface,
      OWN: plan.pi.address,
    },
  });
}

/** @param again whether a new installation is to begin though something of the site stands there */
function foundOn({ facts, unreachable }: Observation, again: boolean): Found {
  if (unreachable !== undefined) return { drift: "the host could not be reached", installation: undefined };
  // Where nothing of the site stands a new installation begins, whatever the state believes of the host.
  const fresh = new Date().toISOString().replace(/\..*|[-:]/g, "");
  return {
    drift: facts.get("drift")?.[0] ?? "",
    installation: (again ? undefined : facts.get("installation")?.[0]) ?? fresh,
  };
}
