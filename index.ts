import * as pulumi from "@pulumi/pulumi";
import { AdslLine } from "./components/adslLine/adslLine.ts";
import { Bond } from "./components/bond/bond.ts";
import { Pi } from "./components/pi/pi.ts";
import { inspectHosts } from "./components/preflight/preflight.ts";
import { RemoteServer } from "./components/remoteServer/remoteServer.ts";
import { modeWarnings } from "./site/bondMode.ts";
import { ConfigError } from "./site/mistake.ts";
import { planSite } from "./site/plan.ts";
import { parseSite, type Site } from "./site/schema.ts";

const site = readSite();
for (const warning of modeWarnings(site.bond)) await pulumi.log.warn(warning);
const plan = planSite(site);
const drift = await inspectHosts(plan);

const server = new RemoteServer(plan);
const pi = new Pi(plan);
const ends = { pi, server };
for (const line of plan.lines) new AdslLine(line, plan, ends);
const bond = new Bond(plan, ends, drift);

/** The id of what both hosts run, as `sudo adsl-bonding-SITE` on each shows it too. */
export const generation = bond.generation;
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

function readSite(): Site {
  try {
    return parseSite(new pulumi.Config("adsl-bonding").requireObject("site"));
  } catch (error) {
    // The mistakes are the user's to mend: a stack trace of ours would only hide them.
    if (error instanceof ConfigError) throw new pulumi.RunError(error.message);
    throw error;
  }
}
