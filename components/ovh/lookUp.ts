import * as pulumi from "@pulumi/pulumi";
import { contains } from "../../site/address.ts";
import type { OvhLogin } from "../../site/ovh.ts";
import type { Plan } from "../../site/plan.ts";

/** What OVH tells of a server. */
export interface OvhServer {
  /** Its main IPv4 address. */
  ip: string;
  /** Its blocks of addresses, IPv4 and IPv6, `203.0.113.10/32`. */
  ips: string[];
  /** `ok`, `error`, `hacked` or `hackedBlocked`. */
  state: string;
  /** `poweron` or `poweroff`. */
  powerState: string;
  /** The system that OVH installed last. */
  os: string;
  /** Such as `rbx3`. */
  datacenter: string;
}

/** The part of it that a person looks for, as an output. */
export type LookedUp = Record<"address" | "state" | "power" | "system" | "dataCentre", string>;

/**
 * Looks the server up at OVH, read-only, and checks that it is the one the config means. OVH's package, and with it
 * the plugin, is loaded here alone: a site without `server.ovh` needs neither.
 * @param login the config's; undefined leaves it to the environment, which the plugin reads by itself
 */
export async function lookUpServer(plan: Plan, login: OvhLogin | undefined): Promise<LookedUp | undefined> {
  if (!plan.ovh) return undefined;
  const { serviceName, endpoint } = plan.ovh;
  const { default: ovh } = await import("@ovhcloud/pulumi-ovh");
  const provider = new ovh.Provider(`ovh${plan.at}`, {
    endpoint,
    applicationKey: login && pulumi.secret(login.applicationKey),
    applicationSecret: login && pulumi.secret(login.applicationSecret),
    consumerKey: login && pulumi.secret(login.consumerKey),
  });
  const found = await ovh.getServer({ serviceName }, { provider });
  const { problem, doubts } = judgeServer(
    serviceName,
    found,
    plan.server.address,
    plan.at && plan.server.host,
  );
  if (problem) throw new pulumi.RunError(problem);
  for (const doubt of doubts) await pulumi.log.warn(doubt);
  const { ip, state, powerState, os, datacenter } = found;
  return { address: ip, state, power: powerState, system: os, dataCentre: datacenter };
}

/**
 * Whether the server that OVH tells of is the config's, and what a person should know of it.
 * @param backup the name of the backup server that it is; nothing where it is the main one
 */
export function judgeServer(
  serviceName: string,
  { ip, ips, state, powerState }: Pick<OvhServer, "ip" | "ips" | "state" | "powerState">,
  address: string,
  backup = "",
): { problem?: string; doubts: string[] } {
  const blocks = ips.filter((block) => !block.includes(":"));
  const section = backup ? `the backup ${backup}'s ` : "server.";
  if (ip !== address && !blocks.some((block) => contains(block, address))) {
    return {
      problem: `${section}address = "${address}" is not the server ${serviceName}'s: OVH says ${[...new Set([ip, ...blocks])].join(", ")}; nothing was touched. Correct ${section}address, or ${section}ovh.serviceName.`,
      doubts: [],
    };
  }
  const doubts = [
    state !== "ok" && `OVH says that the state of ${serviceName} is ${state}`,
    powerState !== "poweron" && `OVH says that the power of ${serviceName} is ${powerState}`,
  ];
  return { doubts: doubts.filter((doubt) => doubt !== false) };
}
