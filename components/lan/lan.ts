import * as pulumi from "@pulumi/pulumi";
import type { PlannedLan } from "../../site/lan.ts";
import type { Plan } from "../../site/plan.ts";
import type { Machine } from "../machine.ts";
import { namesOf } from "../names.ts";
import { renderDnsmasq, renderDnsmasqScript, renderDnsmasqUnit } from "./dnsmasq.ts";

/** What the Pi serves on its LAN, where the site wants it: addresses and names, by a dnsmasq of our own. */
export class Lan extends pulumi.ComponentResource {
  constructor(lan: PlannedLan, plan: Plan, pi: Machine, options?: pulumi.ComponentResourceOptions) {
    super("adsl-bonding:components:Lan", "lan", {}, options);
    const names = namesOf(plan);
    pi.serve(this, {
      unit: names.dnsmasqUnit.name,
      files: [
        { path: names.dnsmasqUnit.path, text: renderDnsmasqUnit(plan.site, lan, names) },
        { path: names.dnsmasq, text: renderDnsmasq(plan, lan, names) },
        ...(lan.dhcp
          ? [{ path: names.dnsmasqScript, text: renderDnsmasqScript(plan.pi, lan.dhcp, names), mode: "0755" }]
          : []),
      ],
    });
    this.registerOutputs();
  }
}
