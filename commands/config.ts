import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import { asRecord, ownConfig } from "../site/raw.ts";
import { parseSite, type Site } from "../site/schema.ts";

/** How long, in milliseconds, Pulumi is given to say which stack is selected. */
const patience = 15_000;

/** An error whose message is all the reader needs. */
export class CommandError extends Error {}

/** The stack that Pulumi's own commands would mean: the selected one, `dev` where none is. */
export async function selectedStack(root: string): Promise<string> {
  if (process.env.PULUMI_STACK) return process.env.PULUMI_STACK;
  const asked = promisify(execFile)("pulumi", ["stack", "--show-name", "--non-interactive"], {
    cwd: root,
    timeout: patience,
    env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" },
  });
  return asked.then(
    ({ stdout }) => stdout.trim().split("/").at(-1) || "dev",
    () => "dev",
  );
}

/** A stack's config as it is written, mistakes and all. */
export interface StackFile {
  path: string;
  text: string;
  site: unknown;
  /** What else the project's own config holds there. */
  beside: Record<string, unknown>;
}

/**
 * Reads the file that Pulumi reads a stack's config from.
 * @throws CommandError when there is no such file or no site in it
 */
export async function readStackFile(root: string, stack: string, file?: string): Promise<StackFile> {
  const path = file ?? join(root, `Pulumi.${stack}.yaml`);
  const text = await readFile(path, "utf8").catch((error: Error) => {
    throw new CommandError(`${error.message}. Name the stack, or its config with --config-file.`);
  });
  const config = asRecord(asRecord(readYaml(path, text)).config);
  const { site, ...beside } = ownConfig(config);
  if (site === undefined) throw new CommandError(`${path} holds no adsl-bonding:site`);
  return { path, text, site, beside };
}

function readYaml(path: string, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    // Its first line says what is wrong, and where; the others show the text, which may hold a secret.
    const [what] = (error as Error).message.split(":\n");
    throw new CommandError(`${path} can't be read as YAML: ${what}`);
  }
}

/**
 * Reads a site's config.
 * @throws CommandError when there is none, ConfigError when it has mistakes
 */
export async function readStackSite(root: string, stack: string, file?: string): Promise<Site> {
  const { site, beside } = await readStackFile(root, stack, file);
  return parseSite(withoutLogin(site), beside);
}

/** OVH is not asked here, and its login, encrypted, is no text that the schema would take. */
function withoutLogin(raw: unknown): unknown {
  const site = asRecord(raw);
  const without = (server: unknown) => {
    // What is no section at all is told as that.
    if (typeof server !== "object" || server === null) return server;
    const { ovh: _, ...rest } = asRecord(server);
    return rest;
  };
  const backups = Array.isArray(site.backups) ? { backups: site.backups.map(without) } : {};
  return { ...site, server: without(site.server), ...backups };
}
