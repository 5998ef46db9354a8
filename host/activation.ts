import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { resolveFiles, type StagedFile } from "./file.ts";
import { describeContent, generationId, type HostContent, renderManifest } from "./generation.ts";
import { answerOf, type Host } from "./host.ts";

/** One host's part in an activation. */
export interface Side {
  host: Host;
  content: Omit<HostContent, "files"> & { files: StagedFile[] };
  /** All that must have happened on the host before: its program, its packages, its staged files. */
  staged: pulumi.Resource[];
  /** What the host answered, before this run, on what has drifted; empty when nothing. */
  drift: string;
}

/**
 * Makes what is staged on all hosts their running state, together: every host is armed before the first
 * switches, all switch detached from the connection that asks for it, a fresh login waits until each works,
 * and only when all do are they confirmed, one after another. A host that is not confirmed in time undoes
 * the change by itself. Every command's inputs carry the id of the whole, so that a change of either host,
 * or a drift that one of them tells, runs all of them again; on a host where nothing differs they do nothing.
 */
export class Activation extends pulumi.ComponentResource {
  /** The id of the generation that all hosts confirmed. */
  readonly generation: pulumi.Output<string>;
  /** What each host's check said of the generation, by the host's name. */
  readonly checks: Record<string, pulumi.Output<string>>;

  constructor(sides: Side[], confirmWithin: number, options: pulumi.ComponentResourceOptions) {
    super("adsl-bonding:host:Activation", "activation", {}, options);
    const contents = sides.map(({ content }) =>
      resolveFiles(content.files).apply((files) => describeContent({ ...content, files })),
    );
    const drifts = sides.map(({ drift }) => drift);
    // The time to confirm is part of it: it stands in what the hosts are armed with.
    const id = pulumi
      .all(contents)
      .apply((texts) => generationId([...texts, ...drifts, String(confirmWithin)]));

    const manifests = sides.map(({ drift }, index) =>
      pulumi
        .all([contents[index]!, id])
        .apply(([content, known]) => renderManifest(content, { id: known, mends: drift, confirmWithin })),
    );
    const allStaged = sides.flatMap((side) => side.staged);
    const on = (side: Side, name: string, args: pulumi.Input<string>, dependsOn: pulumi.Resource[]) =>
      side.host.call(name, args, { parent: this, dependsOn });

    const armed = sides.map((side, index) =>
      side.host.call("arm", "arm", { stdin: manifests[index]!, parent: this, dependsOn: allStaged }),
    );
    const switched = sides.map((side) => on(side, "switch", pulumi.interpolate`switch ${id}`, armed));
    const settled = sides.map((side) => on(side, "settle", pulumi.interpolate`settle ${id}`, switched));
    const confirmed: command.remote.Command[] = [];
    for (const side of sides) {
      // One after the other: where the first can't be confirmed, no other is, and all go back.
      const before = [...settled, ...confirmed];
      confirmed.push(on(side, "confirm", pulumi.interpolate`confirm ${id}`, before));
    }
    this.generation = pulumi
      .all([id, ...confirmed.map((each) => each.stdout)])
      .apply(([known]) => known as string);
    this.checks = Object.fromEntries(sides.map(({ host }, index) => [host.name, answerOf(settled[index]!)]));
    this.registerOutputs({ generation: this.generation });
  }
}
