import * as pulumi from "@pulumi/pulumi";
import type { Observation } from "../../host/inspect.ts";

/** What the last `up` of this stack left, as its own outputs in the state have it; unknown before the first. */
export interface LastUp {
  /** The generation that all hosts confirmed. */
  generation: string | undefined;
  /** The machines' addresses, by their hosts' names. */
  addresses: Record<string, string>;
}

/** A machine of the config, and what was seen of it. */
export interface Looked {
  seen: Observation;
  address: string;
}

export async function lastUp(): Promise<LastUp> {
  // A backend without organizations may know no projects either: it takes a name alone as one of this project.
  const organization = pulumi.getOrganization();
  const called =
    organization === "organization"
      ? pulumi.getStack()
      : [organization, pulumi.getProject(), pulumi.getStack()].join("/");
  // Not by a StackReference: that would stand in the state under the stack's name, and after a `pulumi stack rename` every refresh would
  // fail for want of the old one.
  const read = await pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", { name: called });
  const { generation, backups, externalAddress, gateway }: Record<string, unknown> = read.outputs;
  const addresses: [string, unknown][] = [
    ["server", externalAddress],
    ["pi", gateway],
    ...(Array.isArray(backups) ? backups : []).map(({ name, address }): [string, unknown] => [name, address]),
  ];
  return {
    generation: typeof generation === "string" ? generation : undefined,
    addresses: Object.fromEntries(
      addresses.flatMap(([host, address]) => (typeof address === "string" ? [[host, address]] : [])),
    ),
  };
}

const generationOf = ({ facts }: Observation) => facts.get("generation")?.[0] || undefined;

/**
 * The machines that the site no longer has: nobody asks them any more, so that what stands on them stays. One that runs the
 * site at its new address is the same machine; but for a backup that was made the server.
 */
export function leftBehind(site: string, hosts: Looked[], { addresses }: LastUp): string[] {
  const before = Object.values(addresses);
  return Object.entries(addresses).flatMap(([host, address]) => {
    const now = hosts.find(({ seen }) => seen.host === host);
    if (!now || now.seen.unreachable !== undefined || hosts.some((each) => each.address === address))
      return [];
    if (generationOf(now.seen) && !before.includes(now.address)) return [];
    return [
      `${host} was ${address} until now: what stands on that machine stays there. Where it lives: sudo adsl-bonding-${site} remove`,
    ];
  });
}

/**
 * What keeps a site from a server that runs one of its name of which neither the Pi nor the state knows: another household's, say,
 * which would lose its end.
 */
export function somebodyElses(site: string, servers: Looked[], pi: Observation, left: LastUp): string[] {
  if (pi.unreachable !== undefined) return [];
  // A first `up` that ended on one host alone, or a state that is lost.
  const begun = left.generation === undefined && (pi.facts.has("generation") || pi.facts.has("gone"));
  const known = [generationOf(pi), left.generation];
  const before = Object.values(left.addresses);
  return servers.flatMap(({ seen, address }) => {
    const runs = generationOf(seen);
    const ours = begun || known.includes(runs) || before.includes(address) || seen.facts.has("unsettled");
    if (!runs || ours) return [];
    return [
      `${seen.host}: a site ${site} runs there already, of which neither the Pi nor the state of this stack knows. If it is somebody else's, give this one another \`name\`; if it is an old one of yours, take it away there: sudo adsl-bonding-${site} remove`,
    ];
  });
}
