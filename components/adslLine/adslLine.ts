import * as pulumi from "@pulumi/pulumi";
import type { Plan, PlannedLine } from "../../site/plan.ts";
import type { Machine } from "../machine.ts";
import { namesOf } from "../names.ts";
import { renderPeer, renderTunnel } from "./openvpn.ts";

/** One ADSL line to one server: its key pairs at both ends, and its tunnels through its own box. */
export class AdslLine extends pulumi.ComponentResource {
  constructor(
    line: PlannedLine,
    plan: Plan,
    ends: { pi: Machine; server: Machine },
    options?: pulumi.ComponentResourceOptions,
  ) {
    super("adsl-bonding:components:AdslLine", `${line.name}${plan.at}`, {}, options);
    const names = namesOf(plan);
    const fingerprints = {
      pi: ends.pi.makeKey(this, line.key),
      server: ends.server.makeKey(this, line.key),
    };
    for (const [host, farEnd] of [
      ["pi", "server"],
      ["server", "pi"],
    ] as const) {
      ends[host].stage(this, [
        { path: names.peer(line.name), text: fingerprints[farEnd].apply(renderPeer) },
        ...line.tunnelPlans.map((tunnel) => ({
          path: names.tunnel(tunnel.name),
          text: renderTunnel(host, line, tunnel, plan, names),
        })),
      ]);
    }
    this.registerOutputs();
  }
}
