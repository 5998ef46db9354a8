import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ensureToolchain, type Part } from "../../toolchain/install.ts";
import { projectVersions } from "../../toolchain/versions.ts";

// Pulumi's downloads and Go are played here; the real ones are met by the lab's own toolchain.

const versions = projectVersions();
let folder: string;
let home: string;
let asked: string[];
let told: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "toolchain-"));
  home = join(folder, "home");
  asked = [];
  told = [];
  vi.stubEnv("PULUMI_HOME", home);
  vi.stubEnv("PATH", `${join(folder, "bin")}:/usr/bin:/bin`);
  program(join(folder, "bin/go"), fakeGo);
});

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  rmSync(folder, { recursive: true, force: true });
});

/** A CLI as the official archive has it: it knows its version, and installs the command plugin. */
const officialCli = `case $1 in
  version) echo v${versions.pulumi} ;;
  plugin)
    folder=$PULUMI_HOME/plugins/resource-command-v$5
    mkdir -p "$folder"
    rm -f "$folder.partial"
    echo official >"$folder/pulumi-resource-command"
    chmod +x "$folder/pulumi-resource-command" ;;
esac`;

/** A Go that is new enough, and builds a program that knows the CLI's version. */
const fakeGo = `case $1 in
  version) echo go version go1.25.0 linux/amd64 ;;
  build)
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho ${versions.pulumi}\\n' >"$2"
    chmod +x "$2" ;;
esac`;

function program(path: string, text: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

/** What the download servers answer. */
function servers(answer: (url: string, signal: AbortSignal) => Promise<Response> | Response): void {
  vi.stubGlobal("fetch", async (url: string, { signal }: { signal: AbortSignal }) => {
    asked.push(url);
    return answer(url, signal);
  });
}

const refusing = () => new Response(null, { status: 403 });

/** The official archive: a CLI and its language host in one folder. */
function giving(): Response {
  const inside = join(folder, "archive/pulumi");
  program(join(inside, "pulumi"), officialCli);
  program(join(inside, "pulumi-language-nodejs"), "");
  const { status } = spawnSync("tar", ["-czf", "../official.tar.gz", "pulumi"], { cwd: join(inside, "..") });
  expect(status).toBe(0);
  return new Response(readFileSync(join(folder, "official.tar.gz")));
}

async function install(): Promise<string[]> {
  const { parts } = await ensureToolchain({ log: (line) => told.push(line) });
  return parts.map(({ source }: Part) => source);
}

const standIns = ["built from source", "stand-in", "stand-in"];
const official = ["official", "official", "official"];
const cli = () => join(home, "versions", versions.pulumi, "bin");
const plugin = () => join(home, "plugins", `resource-command-v${versions.command}`);

test("what can be downloaded is, and then stays without a look", async () => {
  servers(giving);
  expect(await install()).toEqual(official);
  expect(existsSync(join(cli(), "STAND-IN.txt"))).toBe(false);
  asked = [];
  expect(await install()).toEqual(official);
  expect(asked).toEqual([]);
});

test("where downloads are refused stand-ins are built, and say so; once, and then not again for a day", async () => {
  servers(refusing);
  expect(await install()).toEqual(standIns);
  expect(told.join("\n")).toContain("can't be had here (get.pulumi.com answers 403)");
  expect(told.filter((line) => line.startsWith("INSTALLED A STAND-IN for Pulumi's "))).toHaveLength(2);
  for (const place of [cli(), plugin()]) {
    expect(readFileSync(join(place, "STAND-IN.txt"), "utf8")).toContain("made by the project adsl-bonding");
  }
  [asked, told] = [[], []];
  expect(await install()).toEqual(standIns);
  expect([asked, told]).toEqual([[], []]);
});

test("a day later the official ones take the stand-ins' place, if they can be had", async () => {
  servers(refusing);
  await install();
  servers(giving);
  expect(await install()).toEqual(standIns);
  const yesterday = new Date(Date.now() - 25 * 3600 * 1000);
  for (const place of [cli(), plugin()]) utimesSync(join(place, "STAND-IN.txt"), yesterday, yesterday);
  expect(await install()).toEqual(official);
  for (const place of [cli(), plugin()]) expect(existsSync(join(place, "STAND-IN.txt"))).toBe(false);
});

test("a server that never answers is given up after seconds", async () => {
  servers(
    (_, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  );
  const began = Date.now();
  expect(await install()).toEqual(standIns);
  expect(Date.now() - began).toBeLessThan(30_000);
}, 60_000);

test("what is half there is noticed, and made whole", async () => {
  servers(giving);
  await install();
  // A CLI that was cut off, and a plugin whose installation was.
  writeFileSync(join(cli(), "pulumi"), "");
  writeFileSync(`${plugin()}.partial`, "");
  expect(await install()).toEqual(official);
  expect(existsSync(`${plugin()}.partial`)).toBe(false);
  expect(readFileSync(join(cli(), "pulumi"), "utf8")).toContain(versions.pulumi);
});

test("a build that was broken off leaves nothing that counts", async () => {
  servers(refusing);
  program(join(folder, "bin/go"), "case $1 in version) echo go version go1.25.0 ;; *) exit 1 ;; esac");
  await expect(install()).rejects.toThrow("go build ended with status 1");
  expect(existsSync(cli())).toBe(false);
  program(join(folder, "bin/go"), fakeGo);
  expect(await install()).toEqual(standIns);
});

test.each([
  ["missing", "exit 127", "Go is missing"],
  ["too old", "echo go version go1.19.8 linux/amd64", "Go is too old (1.19)"],
])("with neither downloads nor Go it says what to do: Go is %s", async (_, go, words) => {
  servers(refusing);
  program(join(folder, "bin/go"), go);
  await expect(install()).rejects.toThrow(words);
  await expect(install()).rejects.toThrow(/Install Go .* or let this machine reach get\.pulumi\.com/);
});
