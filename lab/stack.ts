import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseDocument, stringify } from "yaml";
import { ensureToolchain } from "../toolchain/install.ts";
import { root } from "../toolchain/versions.ts";
import { exec, type Facts, keepAs, wakeAs } from "./index.ts";
import { attempt, home, LabError, type Result, type RunOptions, step } from "./system.ts";

/**
 * The stack `dev` against the running lab: the project's own Pulumi.dev.yaml, in an ignored copy completed
 * with what only the lab knows, and a state of its own under a passphrase of its own.
 */
export interface Stack {
  /** Runs the CLI, as `npx pulumi` would: `pulumi(["up", "--yes"])`. */
  pulumi(args: string[], options?: RunOptions): Promise<Result>;
  /** The same with its output going to the terminal as it comes; gives the exit code. */
  show(args: string[]): Promise<number>;
  /** Changes the copy's site config; the next command uses it. */
  configure(change: (site: SiteConfig) => void): Promise<void>;
  /** Path of the copy. */
  config: string;
  /** The environment that the CLI runs in, for whatever runs it by itself. */
  env: Record<string, string>;
}

/** The site's part of a stack's config, as YAML has it. */
// biome-ignore lint/suspicious/noExplicitAny: tests put wrong values into it on purpose
export type SiteConfig = any;

const folder = join(home, "stack");

/** Keeps the lab and its stack's state together, under a name. */
export async function keepDeployment(name: string): Promise<void> {
  await keepAs(name);
  await rm(`${folder}-${name}`, { recursive: true, force: true });
  await cp(folder, `${folder}-${name}`, { recursive: true });
}

/** Puts the lab and its stack's state back to what was kept; false, and nothing done, where nothing was. */
export async function wakeDeployment(name: string): Promise<boolean> {
  if (!existsSync(`${folder}-${name}`) || !(await wakeAs(name))) return false;
  await rm(folder, { recursive: true, force: true });
  await cp(`${folder}-${name}`, folder, { recursive: true });
  return true;
}

/** More than any command takes, by the lab's clock: a host that is a guest of its own is slow. Whatever hangs ends here. */
const limits = { virtual: 1800, real: 3600 };

/**
 * Opens the stack for a lab that is up.
 * @param name of the stack, and of its copy of the config
 */
export async function openStack(facts: Facts, name = "dev"): Promise<Stack> {
  const { env } = await ensureToolchain({ log: step });
  const limitSeconds = limits[facts.clock];
  const config = join(folder, `Pulumi.${name}.yaml`);
  const state = join(folder, `state-${name}`);
  const passphrase = join(folder, "passphrase");
  const environment = {
    ...env,
    PULUMI_BACKEND_URL: `file://${state}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: passphrase,
  };

  const words = (args: string[]) => [
    ...[...args, "--non-interactive", "--stack", name],
    ...(["up", "preview", "refresh", "destroy"].includes(args[0]!) ? ["--config-file", config] : []),
  ];
  const pulumi: Stack["pulumi"] = (args, options = {}) =>
    attempt("pulumi", words(args), {
      cwd: root,
      timeoutSeconds: limitSeconds,
      ...options,
      env: { ...environment, ...options.env },
    });

  const template = async () => parseDocument(await readFile(join(root, "Pulumi.dev.yaml"), "utf8")).toJS();
  const write = async (change: (site: SiteConfig) => void) => {
    const old = await readFile(config, "utf8").catch(() => "");
    const salt = /^encryptionsalt: .*$/m.exec(old)?.[0];
    const document = await template();
    const site = document.config["adsl-bonding:site"];
    const ssh = (host: string) => ({
      user: facts.user,
      privateKeyFile: facts.keyFile,
      hostKey: facts.hosts[host]!.hostKey,
      jump: { ...facts.jump, privateKeyFile: facts.keyFile },
    });
    const [main, ...others] = facts.site.servers;
    site.server.ssh = ssh(main!.name);
    site.pi.ssh = ssh("pi");
    if (others.length > 0) {
      site.backups = others.map(({ name, address }) => ({ name, address, ssh: ssh(name) }));
    }
    // The lab's own site may be another than the example's: a line of the same name keeps what only the example says.
    site.server.address = main!.address;
    site.pi.address = `${facts.site.pi.address}/24`;
    site.lines = facts.site.lines.map(({ name, box, down, up, encapsulation }) => ({
      ...site.lines.find((line: SiteConfig) => line.name === name),
      ...{ name, gateway: box, down: `${down} kbit/s`, up: `${up} kbit/s` },
      ...(encapsulation ? { encapsulation } : {}),
    }));
    change(site);
    await writeFile(config, `${salt ? `${salt}\n` : ""}${stringify(document)}`);
  };

  const create = async () => {
    await mkdir(state, { recursive: true });
    if ((await readFile(passphrase, "utf8").catch(() => "")) === "") {
      await writeFile(passphrase, randomBytes(24).toString("base64url"), { mode: 0o600 });
    }
    await write(() => {});
    // The CLI writes a new stack's salt into the config beside the project file it finds: so a copy of that
    // stands here, and the project's own Pulumi.dev.yaml is left as it is.
    await copyFile(join(root, "Pulumi.yaml"), join(folder, "Pulumi.yaml"));
    const made = await attempt(
      "pulumi",
      ["--non-interactive", "stack", "select", "--create", name, "--secrets-provider", "passphrase"],
      { cwd: folder, env: environment, timeoutSeconds: 120 },
    );
    if (made.code !== 0) throw new LabError(`the stack ${name} can't be made:\n${made.stderr}`);
  };

  // A state is of the hosts as they were when it was made; a lab that was booted or reset since has others.
  const mark = `/run/stack-${name}`;
  const known = await readFile(join(folder, `${name}.mark`), "utf8").catch(() => "none");
  if ((await exec("guest", `cat ${mark}`)).stdout !== known) {
    await rm(state, { recursive: true, force: true });
    await rm(config, { force: true });
    const fresh = randomBytes(9).toString("hex");
    await exec("guest", `cat >${mark}`, { stdin: fresh });
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `${name}.mark`), fresh);
  }
  await create();
  return {
    pulumi,
    show: (args) =>
      new Promise((resolve, reject) => {
        const child = spawn("pulumi", words(args), {
          cwd: root,
          env: { ...process.env, ...environment },
          stdio: ["ignore", "inherit", "inherit"],
          timeout: limitSeconds * 1000,
        });
        child.on("error", reject);
        child.on("close", (code) => resolve(code ?? 1));
      }),
    configure: write,
    config,
    env: environment,
  };
}
