import * as pulumi from "@pulumi/pulumi";
import { AdslLine } from "./components/adslLine/adslLine.ts";
import { Bond } from "./components/bond/bond.ts";
import { guardStack } from "./components/guard.ts";
import { Lan } from "./components/lan/lan.ts";
import { lookUpServer } from "./components/ovh/lookUp.ts";
import { Pi } from "./components/pi/pi.ts";
import { inspectHosts } from "./components/preflight/preflight.ts";
import { RemoteServer } from "./components/remoteServer/remoteServer.ts";
import { modeWarnings } from "./site/bondMode.ts";
import { ConfigError } from "./site/mistake.ts";
import { loginOf, type OvhLogin, refuseLogin } from "./site/ovh.ts";
import { planSite } from "./site/plan.ts";
import { parseSite, type Site } from "./site/schema.ts";

guardStack();
const site = readSite();
for (const warning of modeWarnings(site.bond)) await pulumi.log.warn(warning);
const plan = planSite(site);
const lookedUp = await lookUpServer(plan, readLogin(site));
const found = await inspectHosts(plan);

const server = new RemoteServer(plan, found.server.installation);
const pi = new Pi(plan, found.pi.installation);
const ends = { pi, server };
for (const line of plan.lines) new AdslLine(line, plan, ends);
if (plan.lan) new Lan(plan.lan, plan, pi);
const bond = new Bond(plan, ends, { pi: found.pi.drift, server: found.server.drift });

/** The id of what both hosts run, as `sudo adsl-bonding-SITE` on each shows it too. */
export const generation = bond.generation;
/** What each host's check said when that was activated: slaves, pings, the way out. */
export const checks = bond.checks;
/** The address under which the site is seen from outside. */
export const externalAddress = plan.server.address;
/** What LAN machines take as their gateway. */
export const gateway = plan.pi.address;
/** Each line with its tunnels' UDP ports on the server. */
export const lines = Object.fromEntries(
  plan.lines.map(({ name, gateway: box, tunnelPlans }) => [
    name,
    { box, ports: tunnelPlans.map(({ port }) => port) },
  ]),
);
/** What OVH says of the server. */
export const ovh = lookedUp ?? "not asked: the config has no server.ovh";
/** What the site costs a month, with its parts. */
export const monthlyCost = plan.cost ?? "unknown: the config has no prices";

/** The login to OVH's API that the config holds; none leaves it to the environment. */
function readLogin({ server: { ovh: given } }: Site): OvhLogin | undefined {
  if (!given) return undefined;
  const login = loginOf(given);
  // Pulumi tells the program which keys of the config are encrypted, in whole or in part.
  const encrypted = (process.env.PULUMI_CONFIG_SECRET_KEYS ?? "").includes('"adsl-bonding:site"');
  const refusal = refuseLogin(login, encrypted, process.env);
  if (refusal) throw new pulumi.RunError(refusal);
  return login;
}

function readSite(): Site {
  try {
    return parseSite(new pulumi.Config("adsl-bonding").requireObject("site"));
  } catch (error) {
    // The mistakes are the user's to mend: a stack trace of ours would only hide them.
    if (error instanceof ConfigError) throw new pulumi.RunError(error.message);
    throw error;
  }
}
