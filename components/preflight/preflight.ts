import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { inspect, type Observation } from "../../host/inspect.ts";
import type { Plan } from "../../site/plan.ts";
import { warnOfOffers } from "../lan/offers.ts";
import { adviseCiphers, doubt, judge, lookEnvironment, suspect } from "./judge.ts";

const script = readFileSync(new URL("look.sh", import.meta.url), "utf8");
const offers = readFileSync(new URL("../lan/offers.sh", import.meta.url), "utf8");

/** What a look at a host tells the components. */
export interface Found {
  /** What has drifted there; empty when nothing. */
  drift: string;
  /** Which installation of the host it is: see HostArgs. */
  installation: string | undefined;
}

/**
 * Looks at both hosts before anything is declared, at preview and at up. What makes a host unfit is one
 * error that lists all of it. A host that can't be reached fails an up here, before anything is touched;
 * a preview goes on, and says so.
 */
export async function inspectHosts(plan: Plan): Promise<{ pi: Found; server: Found }> {
  // The server first: it listens for the Pi's UDP probe, where no tunnels stand yet that prove the way.
  // Where the server's own firewall still has to let the tunnels in, a probe could only fail.
  const server = await look(plan, "server", plan.server.letThrough.input.length === 0);
  const pi = await look(plan, "pi", server.facts.has("listening"));
  const unreachable = [server, pi].filter((each) => each.unreachable !== undefined);
  const problems = [server, pi].flatMap(({ host, facts, unreachable: why }) =>
    why ? [] : judge(host, plan[host].bond, facts),
  );
  problems.push(...suspect(String(plan.tunnels[0]!.port), server.facts, pi.facts));
  for (const { host, facts } of [server, pi]) {
    for (const line of doubt(host, plan[host].ssh.hostKey, facts)) await pulumi.log.info(line);
  }
  for (const line of adviseCiphers(plan.vpn.ciphers[0]!, pi.facts)) await pulumi.log.info(line);
  for (const line of warnOfOffers(pi.facts)) await pulumi.log.warn(`pi: ${line}`);
  const told = unreachable.map(({ host, unreachable: why }) => `${host}: ${why}`);
  if (pulumi.runtime.isDryRun()) {
    for (const line of told) await pulumi.log.warn(`${line}. This preview can't tell what stands on it.`);
  } else {
    problems.push(...told);
  }
  if (problems.length > 0) {
    throw new pulumi.RunError(
      ["the hosts can't take this site yet; nothing was touched:", ...problems.map((p) => `  ${p}`)].join(
        "\n",
      ),
    );
  }
  return { pi: foundOn(pi), server: foundOn(server) };
}

function look(plan: Plan, host: "pi" | "server", probe: boolean): Promise<Observation> {
  const { address, ssh } = plan[host];
  const wanted = host === "pi" && plan.lan?.dhcp ? offers + script : script;
  return inspect({
    host,
    address,
    ssh,
    script: wanted,
    environment: { ...lookEnvironment(plan, host, probe), LAN: plan.pi.interface, OWN: plan.pi.address },
  });
}

function foundOn({ facts, unreachable }: Observation): Found {
  if (unreachable !== undefined) return { drift: "the host could not be reached", installation: undefined };
  // Where nothing of the site stands a new installation begins, whatever the state believes of the host.
  const fresh = new Date().toISOString().replace(/\..*|[-:]/g, "");
  return {
    drift: facts.get("drift")?.[0] ?? "",
    installation: facts.get("installation")?.[0] ?? fresh,
  };
}
