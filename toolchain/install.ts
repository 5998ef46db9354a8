// Sees to it that `npx pulumi up` works: the CLI, its language host for Node.js and the command plugin, each where the
// CLI itself looks for it. What can be downloaded from Pulumi is downloaded; only where that can't be reached are
// stand-ins built (toolchain/go, toolchain/language-host), marked as such by a file beside them.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import {
  access,
  chmod,
  constants,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { projectVersions, root } from "./versions.ts";

/** Where a part comes from: Pulumi's own download, our replacement for it, or Pulumi's own source, built here. */
export type Source = "official" | "stand-in" | "built from source";

/** One piece of the toolchain, as it is now installed. */
export interface Part {
  name: string;
  version: string;
  source: Source;
  path: string;
  /** What getting it took this time; 0 when it was there already. */
  seconds: number;
}

/** The installed toolchain, and how to use it. */
export interface Toolchain {
  pulumiHome: string;
  /** What a child process needs in its environment, over process.env, so that `pulumi` and `npx pulumi` work. */
  env: Record<string, string>;
  parts: Part[];
}

const MARKER = "STAND-IN.txt";
const DAY = 24 * 3600 * 1000;
const PROBE_TIMEOUT = 4000;
const DOWNLOAD_TIMEOUT = 10 * 60 * 1000;

type Log = (line: string) => void;

/**
 * Installs what is missing and says what there is. Takes well under a second when all is there, minutes when it has to
 * be built. Several processes may call it at once: one works, the others wait.
 */
export async function ensureToolchain(options: { log?: Log } = {}): Promise<Toolchain> {
  const log = options.log ?? ((line: string) => console.error(`toolchain: ${line}`));
  const home = resolve(process.env.PULUMI_HOME || join(homedir(), ".pulumi"));
  const versions = projectVersions();
  const bin = join(home, "versions", versions.pulumi, "bin");
  const env: Record<string, string> = {
    PATH: [join(root, "node_modules/.bin"), bin, process.env.PATH ?? ""].join(delimiter),
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  if (process.env.PULUMI_HOME) env.PULUMI_HOME = home;

  await mkdir(join(home, "plugins"), { recursive: true });
  await mkdir(join(home, "versions"), { recursive: true });
  const parts = await locked(join(home, ".adsl-bonding-toolchain.lock"), log, async () => [
    ...(await ensureCli(bin, versions.pulumi, log)),
    await ensureCommandPlugin(home, bin, versions.command, log),
  ]);
  // Where one official download is out of reach the others are, and each vain try for a plugin costs its time-outs.
  if (parts.some((part) => part.source === "stand-in"))
    env.PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION = "true";
  return { pulumiHome: home, env, parts };
}

/** The CLI and the language host: the official archive brings both, so they live and are replaced together. */
async function ensureCli(bin: string, version: string, log: Log): Promise<Part[]> {
  const [cli, host, marker] = [join(bin, "pulumi"), join(bin, "pulumi-language-nodejs"), join(bin, MARKER)];
  const started = Date.now();
  const parts = (standIn: boolean, seconds: number): Part[] => [
    { name: "Pulumi CLI", version, source: standIn ? "built from source" : "official", path: cli, seconds },
    {
      name: "Node.js language host",
      version,
      source: standIn ? "stand-in" : "official",
      path: host,
      seconds: 0,
    },
  ];
  const whole = (await isExecutable(host)) && (await isCli(cli, version));
  const standIn = await exists(marker);
  if (whole && !standIn) return parts(false, 0);

  if (!whole || (await isDue(marker))) {
    const architecture = process.arch === "arm64" ? "arm64" : "x64";
    const url = `https://get.pulumi.com/releases/sdk/pulumi-v${version}-linux-${architecture}.tar.gz`;
    const refusal = await probe(url);
    if (refusal === undefined) {
      log(`downloading the Pulumi CLI ${version}`);
      try {
        await replaceFolder(bin, async (folder) => {
          await download(url, join(folder, "archive"));
          await run("tar", ["-xzf", "archive", "--strip-components=1"], { cwd: folder });
          await rm(join(folder, "archive"));
          if (!(await isCli(join(folder, "pulumi"), version))) {
            throw new Error("the archive holds no such CLI");
          }
        });
        return parts(false, secondsSince(started));
      } catch (error) {
        log(`downloading the Pulumi CLI failed: ${message(error)}`);
      }
    } else if (!whole) {
      log(`the official Pulumi CLI can't be had here (${refusal})`);
    }
  }

  const source = await readFile(join(root, "toolchain/language-host/main.ts"), "utf8");
  if (whole) {
    await touch(marker);
    // The bridge is part of this project and changes with it.
    if ((await readFile(`${host}.mts`, "utf8").catch(() => "")) !== source)
      await installLanguageHost(host, source);
    return parts(true, 0);
  }
  await replaceFolder(bin, async (folder) => {
    await goBuild(
      log,
      `the Pulumi CLI ${version}`,
      join(folder, "pulumi"),
      "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
      {
        "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": version,
      },
    );
    await installLanguageHost(join(folder, "pulumi-language-nodejs"), source);
    await writeFile(
      join(folder, MARKER),
      note(
        "The Pulumi CLI here was built from Pulumi's own Go module; the language host beside it (pulumi-language-nodejs) is a stand-in",
      ),
    );
  });
  log(
    `INSTALLED A STAND-IN for Pulumi's Node.js language host, in ${bin}: the official one can't be downloaded here`,
  );
  return parts(true, secondsSince(started));
}

/** The bridge is TypeScript, which Node knows by a file's ending; the name that the CLI looks for has none. */
async function installLanguageHost(path: string, source: string) {
  await writeFile(`${path}.mts`, source);
  await writeFile(path, '#!/bin/sh\nexec node "$0.mts" "$@"\n');
  await chmod(path, 0o755);
}

async function ensureCommandPlugin(home: string, bin: string, version: string, log: Log): Promise<Part> {
  const folder = join(home, "plugins", `resource-command-v${version}`);
  const [path, marker] = [join(folder, "pulumi-resource-command"), join(folder, MARKER)];
  const started = Date.now();
  const part = (source: Source, seconds = 0): Part => ({
    name: "command plugin",
    version,
    source,
    path,
    seconds,
  });
  // The CLI itself marks an install of its own that isn't finished by a file of this name.
  const whole = (await isExecutable(path)) && !(await exists(`${folder}.partial`));
  const standIn = await exists(marker);
  if (whole && !standIn) return part("official");

  if (!whole || (await isDue(marker))) {
    const architecture = process.arch === "arm64" ? "arm64" : "amd64";
    const archive = `pulumi-resource-command-v${version}-linux-${architecture}.tar.gz`;
    const refusal = await probeAny([
      `https://get.pulumi.com/releases/plugins/${archive}`,
      `https://github.com/pulumi/pulumi-command/releases/download/v${version}/${archive}`,
    ]);
    if (refusal === undefined) {
      log(`downloading the command plugin ${version}`);
      const aside = join(home, `.stand-in-${process.pid}`);
      if (standIn) await rename(folder, aside);
      try {
        const environment = { PULUMI_SKIP_UPDATE_CHECK: "true" };
        await run(join(bin, "pulumi"), ["plugin", "install", "resource", "command", version, "--reinstall"], {
          env: environment,
          timeout: DOWNLOAD_TIMEOUT,
        });
        await rm(aside, { recursive: true, force: true });
        return part("official", secondsSince(started));
      } catch (error) {
        log(`downloading the command plugin failed: ${message(error)}`);
        if (standIn) {
          await rm(folder, { recursive: true, force: true });
          await rename(aside, folder);
        }
      }
    } else if (!whole) {
      log(`the official command plugin can't be had here (${refusal})`);
    }
  }

  const sources = await digest(join(root, "toolchain/go"));
  if (whole && (await readFile(marker, "utf8")).includes(sources)) {
    await touch(marker);
    return part("stand-in");
  }
  await replaceFolder(folder, async (fresh) => {
    await goBuild(log, "a command plugin", join(fresh, "pulumi-resource-command"), "./command-plugin", {
      "main.version": version,
    });
    await writeFile(
      join(fresh, MARKER),
      note(`The command plugin here is a stand-in, built from sources ${sources}`),
    );
  });
  await rm(`${folder}.partial`, { force: true });
  log(
    `INSTALLED A STAND-IN for Pulumi's command plugin, in ${folder}: the official one can't be downloaded here`,
  );
  return part("stand-in", secondsSince(started));
}

function note(what: string): string {
  return `${what},
made by the project adsl-bonding because the official download could not be reached.
It is replaced by the official one as soon as that can be reached (looked for once a day).
To be rid of it at once, remove this folder.
`;
}

/** Builds one program of the Go module, with its elapsed time told now and then: the first takes minutes. */
async function goBuild(
  log: Log,
  what: string,
  target: string,
  packagePath: string,
  variables: Record<string, string>,
) {
  const wanted = /^go (\S+)/m.exec(await readFile(join(root, "toolchain/go/go.mod"), "utf8"))?.[1];
  const minor = Number(/go1\.(\d+)/.exec((await output("go", ["version"])) ?? "")?.[1] ?? 0);
  // From 1.21 on, Go fetches a newer Go by itself when a module asks for it.
  if (minor < 21) {
    throw new Error(
      `${what} can neither be downloaded here nor built: Go is ${minor ? `too old (1.${minor})` : "missing"}. Install Go ` +
        `${wanted} or later (https://go.dev/dl, or a package of your distribution) and see that \`go\` is on PATH; ` +
        "or let this machine reach get.pulumi.com.",
    );
  }
  const started = Date.now();
  log(`building ${what} with Go (minutes, when it is the first time on this machine)`);
  const ticker = setInterval(() => log(`building ${what}: ${secondsSince(started)} s`), 15_000);
  try {
    // -s -w leaves out what only a debugger needs: a third of the file.
    const flags = [
      "-s",
      "-w",
      ...Object.entries(variables).flatMap(([name, value]) => ["-X", `${name}=${value}`]),
    ];
    await run("go", ["build", "-ldflags", flags.join(" "), "-o", target, packagePath], {
      cwd: join(root, "toolchain/go"),
      env: { GOTOOLCHAIN: process.env.GOTOOLCHAIN ?? "auto" },
    });
  } finally {
    clearInterval(ticker);
  }
  log(`built ${what} in ${secondsSince(started)} s`);
}

/** Fills a new folder beside the target and puts it in the target's place when it is complete, never before. */
async function replaceFolder(target: string, fill: (folder: string) => Promise<void>) {
  await mkdir(dirname(target), { recursive: true });
  const prefix = ".adsl-bonding-building-";
  // Left by a run that was killed; the lock is ours.
  for (const name of await readdir(dirname(target))) {
    if (name.startsWith(prefix)) await rm(join(dirname(target), name), { recursive: true, force: true });
  }
  const folder = await mkdtemp(join(dirname(target), prefix));
  try {
    await chmod(folder, 0o755);
    await fill(folder);
    await rm(target, { recursive: true, force: true });
    await rename(folder, target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Why a URL can't be had, or undefined if it can. Answers in seconds whether it is refused or hangs. */
async function probe(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(PROBE_TIMEOUT) });
    return response.ok ? undefined : `${new URL(url).host} answers ${response.status}`;
  } catch (error) {
    const cause =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : message(error);
    return `${new URL(url).host}: ${cause}`;
  }
}

async function probeAny(urls: string[]): Promise<string | undefined> {
  const refusals = await Promise.all(urls.map(probe));
  return refusals.includes(undefined) ? undefined : refusals.join("; ");
}

async function download(url: string, path: string) {
  const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT) });
  if (!response.ok || !response.body) throw new Error(`${url} answers ${response.status}`);
  await pipeline(Readable.fromWeb(response.body), createWriteStream(path));
}

/** Whether a stand-in's official counterpart is to be looked for again. */
async function isDue(marker: string): Promise<boolean> {
  return Date.now() - (await stat(marker)).mtimeMs > DAY;
}

async function touch(marker: string) {
  if (await isDue(marker)) await utimes(marker, new Date(), new Date());
}

/** Runs work while holding a lock file. A lock whose owner is gone is taken over. */
async function locked<T>(path: string, log: Log, work: () => Promise<T>): Promise<T> {
  for (let waited = 0; ; waited++) {
    try {
      const file = await open(path, "wx");
      await file.writeFile(String(process.pid));
      await file.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    // An empty file is one that its owner is just about to fill, unless it stays so.
    if (owner ? !(await exists(`/proc/${owner}`)) : waited > 10) await rm(path, { force: true });
    else if (waited % 30 === 1)
      log(`waiting for another process (${owner}) that is installing the toolchain`);
    await new Promise((done) => setTimeout(done, 500));
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  timeout?: number;
}

/** Runs a program quietly; what it printed is shown only if it fails. */
function run(program: string, args: string[], options: RunOptions = {}): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: options.timeout,
    });
    let [stdout, everything] = ["", ""];
    child.stdout.on("data", (data) => {
      stdout += data;
      everything += data;
    });
    child.stderr.on("data", (data) => {
      everything += data;
    });
    child.once("error", fail);
    child.once("close", (code, signal) => {
      if (code === 0) done(stdout.trim());
      else
        fail(
          new Error(
            `${program} ${args[0]} ended with ${signal ?? `status ${code}`}:\n${everything.slice(-4000)}`,
          ),
        );
    });
  });
}

/** What a program prints, or nothing if it can't be run. */
async function output(program: string, args: string[]): Promise<string | undefined> {
  return run(program, args, { env: { PULUMI_SKIP_UPDATE_CHECK: "true" }, timeout: 60_000 }).catch(
    () => undefined,
  );
}

/** The official CLI puts a v before its version, one built from the module doesn't. */
async function isCli(path: string, version: string): Promise<boolean> {
  return (await output(path, ["version"]))?.replace(/^v/, "") === version;
}

/** One digest of all files under a folder, by name and content. */
async function digest(folder: string): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.sort()) hash.update(`${file.slice(folder.length)}\0`).update(await readFile(file));
  return hash.digest("hex");
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
const isExecutable = (path: string) =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
const secondsSince = (started: number) => Math.round((Date.now() - started) / 1000);
const message = (error: unknown) => (error instanceof Error ? error.message : String(error));
