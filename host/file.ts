import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { HostFile } from "./generation.ts";
import type { Host } from "./host.ts";

/** A file whose text may only be known once a command has run (a fingerprint). */
export interface StagedFile extends Omit<HostFile, "text"> {
  text: pulumi.Input<string>;
}

/** Stages a file: its text reaches the host, its place is left as it is until the host's activation. */
export function stageFile(
  host: Host,
  file: StagedFile,
  options: { parent: pulumi.Resource; dependsOn: pulumi.Resource[] },
): command.remote.Command {
  return host.call(file.path, `stage ${file.path}`, { stdin: file.text, ...options });
}

/** The files with their texts, once all are known. */
export function resolveFiles(files: StagedFile[]): pulumi.Output<HostFile[]> {
  return pulumi.all(
    files.map(({ path, mode, text }) => pulumi.output(text).apply((known) => ({ path, mode, text: known }))),
  );
}
