import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import * as pulumi from "@pulumi/pulumi";
import { readStackFile } from "./commands/config.ts";
import { activate } from "./components/activate.ts";
import { AdslLine } from "./components/adslLine/adslLine.ts";
import { Bond } from "./components/bond/bond.ts";
import { guardStack } from "./components/guard.ts";
import { Lan } from "./components/lan/lan.ts";
import { lookUpServer } from "./components/ovh/lookUp.ts";
import { Pi } from "./components/pi/pi.ts";
import { inspectHosts } from "./components/preflight/preflight.ts";
import { RemoteServer } from "./components/remoteServer/remoteServer.ts";
import { ConfigError } from "./site/mistake.ts";
import { loginOf, type OvhLogin, readableParts, refuseLogin } from "./site/ovh.ts";
import { everyServer, planSite } from "./site/plan.ts";
import { asRecord, ownConfig, type Raw, rawServers } from "./site/raw.ts";
import { parseSite, type Site } from "./site/schema.ts";
import { warningsOf } from "./site/warnings.ts";

guardStack();
const config = new pulumi.Config("adsl-bonding").requireObject("site");
const site = readSite(config);
for (const warning of warningsOf(config)) await pulumi.log.warn(warning);
const plan = planSite(site);
const all = everyServer(plan);
const given = [site.server, ...site.backups];
const written = given.some(({ ovh }) => ovh) ? await writtenSite() : {};
const lookedUp = await Promise.all(
  given.map(({ ovh }, index) => {
    const path = index === 0 ? "server.ovh" : `backups[${index - 1}].ovh`;
    return lookUpServer(all[index]!, readLogin(path, ovh, rawServers(written)[index]?.raw.ovh));
  }),
);
const found = await inspectHosts(plan);

const programs = Promise.withResolvers<pulumi.Resource[]>();
const servers = all.map(
  (each) => new RemoteServer(each, programs.promise, found[each.server.host]?.installation),
);
const pi = new Pi(plan, programs.promise, found.pi?.installation);
programs.resolve([...servers, pi].map(({ program }) => program));
const ends = all.map((each, index) => ({ plan: each, pi, server: servers[index]! }));
for (const end of ends) for (const line of end.plan.lines) new AdslLine(line, end.plan, end);
if (plan.lan) new Lan(plan.lan, plan, pi);
const [bond] = ends.map((end) => new Bond(end.plan, end));
const activation = activate([...servers, pi], plan.confirmWithin, found, bond!);

/** The id of what all hosts run, as `sudo adsl-bonding-SITE` on each shows it too. */
export const generation = activation.generation;
/** What each host's check said when that was activated: slaves, pings, the way out. */
export const checks = activation.checks;
/** The address under which the site is seen from outside. */
export const externalAddress = plan.server.address;
/** What LAN machines take as their gateway. */
export const gateway = plan.pi.address;
/** Each line with its tunnels' ports on the server. */
export const lines = Object.fromEntries(
  plan.lines.map(({ name, gateway: box, tunnelPlans }) => [
    name,
    { box, ports: tunnelPlans.map(({ port }) => port) },
  ]),
);
/** What OVH says of the server. */
export const ovh = lookedUp[0] ?? "not asked: the config has no server.ovh";
/** The servers that take over, in their order, and what OVH says of them. */
export const backups = plan.backups.map(({ server: { host, address } }, index) => ({
  name: host,
  address,
  ovh: lookedUp[index + 1],
}));
/** What the site costs a month, with its parts. */
export const monthlyCost = plan.cost ?? "unknown: the config has no prices";

/** The login to OVH's API that a section of the config holds; none leaves it to the environment. */
function readLogin(path: string, given: Site["server"]["ovh"], asWritten: unknown): OvhLogin | undefined {
  if (!given) return undefined;
  const login = loginOf(given);
  // Pulumi tells the program which keys of the config are encrypted, in whole or in part.
  const encrypted = (process.env.PULUMI_CONFIG_SECRET_KEYS ?? "").includes('"adsl-bonding:site"');
  const readable = readableParts(login, encrypted, asWritten);
  const refusal = refuseLogin(path, login, readable, process.env);
  if (refusal) throw new pulumi.RunError(refusal);
  return login;
}

/**
 * The site as the stack's own file has it, its secrets encrypted; without fields where that can't be read. Where the config comes
 * from elsewhere, as by `--config-file`, it is another one.
 */
async function writtenSite(): Promise<Raw> {
  const file = await readStackFile(dirname(fileURLToPath(import.meta.url)), pulumi.getStack()).catch(
    () => undefined,
  );
  return asRecord(file?.site);
}

function readSite(raw: unknown): Site {
  try {
    const { site: _, ...beside } = ownConfig(pulumi.runtime.allConfig());
    return parseSite(raw, beside);
  } catch (error) {
    // The mistakes are the user's to mend: a stack trace of ours would only hide them.
    if (error instanceof ConfigError) throw new pulumi.RunError(error.message);
    throw error;
  }
}
