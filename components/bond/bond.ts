import * as pulumi from "@pulumi/pulumi";
import { Activation, type Side } from "../../host/activation.ts";
import type { Plan } from "../../site/plan.ts";
import { renderTunnelTemplate } from "../adslLine/openvpn.ts";
import type { Machine } from "../machine.ts";
import { namesOf } from "../names.ts";
import { shaperService } from "../shaper/shaper.ts";
import { oneshotUnit } from "../unit.ts";
import { watchService } from "../watch/watch.ts";
import { renderBondScript } from "./script.ts";

/** What each host answered, before this run, on what has drifted; empty when nothing. */
export interface Drift {
  pi: string;
  server: string;
}

/** The bond over all tunnels, at both ends, and the activation that makes all that was staged run. */
export class Bond extends pulumi.ComponentResource {
  /** The id of the generation that both hosts run. */
  readonly generation: pulumi.Output<string>;
  /** What each host's check said when that generation was activated. */
  readonly checks: Record<string, pulumi.Output<string>>;

  constructor(
    plan: Plan,
    ends: { pi: Machine; server: Machine },
    drift: Drift,
    options?: pulumi.ComponentResourceOptions,
  ) {
    super("adsl-bonding:components:Bond", "bond", {}, options);
    const names = namesOf(plan);
    // The server first: when its confirmation fails, the Pi, the only way into the site, is not confirmed either.
    const hosts = ["server", "pi"] as const;
    for (const host of hosts) {
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
        { path: names.tunnelTemplate.path, text: renderTunnelTemplate(names) },
      ]);
      for (const service of shaperService(plan, host)) ends[host].serve(this, service);
    }
    for (const service of watchService(plan)) ends.pi.serve(this, service);
    const sides = hosts.map((host) => sideOf(plan, ends[host], drift[host]));
    const activation = new Activation(sides, plan.confirmWithin, { parent: this });
    this.generation = activation.generation;
    this.checks = activation.checks;
    this.registerOutputs({ generation: this.generation });
  }
}

function sideOf(plan: Plan, { host, staged }: Machine, drift: string): Side {
  const names = namesOf(plan);
  const { firewallUnit, bondUnit, routesUnit, firewallScript, routesScript } = names;
  const oneshots = [
    {
      name: firewallUnit.name,
      reads: [firewallUnit.path, firewallScript, names.firewallRules],
      state: firewallScript,
    },
    { name: bondUnit.name, reads: [bondUnit.path, names.bondScript], state: names.bondScript },
    { name: routesUnit.name, reads: [routesUnit.path, routesScript], state: routesScript },
  ];
  const tunnels = plan.lines.flatMap((line) =>
    line.tunnelPlans.map((tunnel) => ({
      name: names.tunnelUnit(tunnel.name),
      reads: [names.tunnelTemplate.path, names.tunnel(tunnel.name), names.peer(line.name)],
      group: line.name,
    })),
  );
  return {
    host,
    content: {
      files: staged.files,
      units: [...oneshots, ...tunnels, ...staged.units],
      listeners: [
        { unit: "systemd-networkd.service", action: "restart", reads: names.networkd },
        { unit: "NetworkManager.service", action: "reload", reads: names.networkManager },
      ],
      check: names.check,
    },
    staged: staged.resources,
    drift,
  };
}
