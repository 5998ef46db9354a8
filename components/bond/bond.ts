import * as pulumi from "@pulumi/pulumi";
import type { Plan } from "../../site/plan.ts";
import { renderTunnelTemplate } from "../adslLine/openvpn.ts";
import { detourService } from "../detour/detour.ts";
import { hangupService } from "../hangup/hangup.ts";
import type { Machine } from "../machine.ts";
import { namesOf } from "../names.ts";
import { shaperService } from "../shaper/shaper.ts";
import { oneshotUnit } from "../unit.ts";
import { watchService } from "../watch/watch.ts";
import { renderBondScript } from "./script.ts";

/** The bond over all tunnels to one server, at both ends, with its queues. */
export class Bond extends pulumi.ComponentResource {
  constructor(plan: Plan, ends: { pi: Machine; server: Machine }, options?: pulumi.ComponentResourceOptions) {
    super("adsl-bonding:components:Bond", `bond${plan.at}`, {}, options);
    const names = namesOf(plan);
    for (const host of ["server", "pi"] as const) {
      ends[host].stage(this, [
        {
          path: names.bondScript,
          text: renderBondScript(plan[host], plan, host === "pi" ? "Pi" : "server", names),
          mode: "0755",
        },
        {
          path: names.bondUnit.path,
          text: oneshotUnit({
            description: `bond and taps of site ${plan.site}`,
            start: `${names.bondScript} up`,
            stop: `${names.bondScript} down`,
            after: ["systemd-modules-load.service", "network-pre.target"],
          }),
        },
      ]);
      // One for all tunnels of a machine: with the first bond that ends there.
      if (ends[host].bonds[0]!.at === plan.at) {
        const text = renderTunnelTemplate(names, ends[host].bonds.map(namesOf));
        ends[host].stage(this, [{ path: names.tunnelTemplate.path, text }]);
      }
      for (const service of shaperService(plan, host)) ends[host].serve(this, service);
    }
    for (const service of [...watchService(plan), ...hangupService(plan), ...detourService(plan)]) {
      ends.pi.serve(this, service);
    }
    this.registerOutputs();
  }
}
