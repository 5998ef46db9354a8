import type * as pulumi from "@pulumi/pulumi";
import { Activation, type Side } from "../host/activation.ts";
import type { Machine } from "./machine.ts";
import { namesOf } from "./names.ts";

/**
 * Makes all that was staged on the machines run, together.
 * @param machines in the order of confirmation: the servers, the main one first, before the Pi, which is the only way into the
 * site: it goes with the main one, be it by a login or by what that tells in the bond
 * @param found what each host answered, by its name and before this run, on what has drifted
 */
export function activate(
  machines: Machine[],
  confirmWithin: number,
  found: Record<string, { drift: string }>,
  parent: pulumi.Resource,
): Activation {
  const sides = machines.map((machine) => sideOf(machine, found[machine.host.name]?.drift ?? ""));
  return new Activation(sides, confirmWithin, { parent });
}

function sideOf({ host, staged, bonds }: Machine, drift: string): Side {
  const names = namesOf(bonds[0]!);
  const { firewallUnit, routesUnit, firewallScript, routesScript } = names;
  const oneshots = [
    {
      name: firewallUnit.name,
      reads: [firewallUnit.path, firewallScript, names.firewallRules],
      state: firewallScript,
    },
    ...bonds.map(namesOf).map(({ bondUnit, bondScript }) => ({
      name: bondUnit.name,
      reads: [bondUnit.path, bondScript],
      state: bondScript,
    })),
    { name: routesUnit.name, reads: [routesUnit.path, routesScript], state: routesScript },
  ];
  const tunnels = bonds.flatMap((plan) =>
    plan.lines.flatMap((line) =>
      line.tunnelPlans.map((tunnel) => ({
        name: names.tunnelUnit(tunnel.name),
        reads: [names.tunnelTemplate.path, names.tunnel(tunnel.name), namesOf(plan).peer(line.name)],
        group: line.name,
      })),
    ),
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
