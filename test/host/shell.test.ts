import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "../../toolchain/versions.ts";
import { declare } from "../components/declare.ts";

/** Folders that hold shell, as files of their own. */
const folders = [".ci", "bench", "commands", "components", "host", "lab", "toolchain"];

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "adsl-bonding-shell-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** What shellcheck has to say of these files. */
function complaints(files: string[], ...options: string[]): string {
  const { error, stdout, stderr } = spawnSync("shellcheck", ["--format", "gcc", ...options, ...files], {
    cwd: root,
    encoding: "utf8",
  });
  if (error) throw error;
  return stdout + stderr;
}

async function isScript(file: string): Promise<boolean> {
  return /^#!.*\b(sh|bash)\n/.test(await readFile(join(root, file), "utf8"));
}

test("every script of the project", async () => {
  const scripts: string[] = [];
  for (const folder of folders) {
    for (const entry of await readdir(join(root, folder), { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name).slice(root.length + 1);
      if (entry.isFile() && (await isScript(file))) scripts.push(file);
    }
  }
  expect(scripts).toEqual(expect.arrayContaining(["host/program.sh", "components/preflight/look.sh"]));
  expect(complaints(scripts)).toBe("");
});

/**
 * Of rendered texts warnings and errors count, but for two: a list may come to one word (SC2043), and variables are set
 * by way of their names (SC2154).
 */
const rendered = ["--severity", "warning", "--exclude", "SC2043,SC2154"];

function inMode(mode: string) {
  // biome-ignore lint/suspicious/noExplicitAny: see exampleSite
  return (site: any) => {
    site.bond = { mode };
    for (const line of site.lines) delete line.latency;
  };
}

test.each([
  ["the example's site", () => {}],
  [
    "a site with all that can be had",
    // biome-ignore lint/suspicious/noExplicitAny: see exampleSite
    (site: any) => {
      site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
      site.forwards = [{ protocol: "both", ports: "5001-5003", to: "192.168.1.10" }];
      site.bypass = [{ line: "orange", protocol: "udp", ports: "27000-27050" }];
      site.vpn = { sources: ["home.example.net"] };
      site.lan = { dhcp: { from: "192.168.1.100", to: "192.168.1.199" } };
      site.fallback = "ovh";
      site.server.letThrough = { forward: ["ip filter FORWARD"], input: ["ip filter INPUT"] };
      Object.assign(site.lines[0], { tunnels: 2 });
      Object.assign(site.lines[1], { gateway: "dhcp", interface: "eth0.35" });
    },
  ],
  ["a site in mode balance-xor", inMode("balance-xor")],
  ["a site in mode active-backup", inMode("active-backup")],
])("every script as it is rendered for the hosts of %s", async (_, change) => {
  const { commands } = await declare(change);
  const scripts: string[] = [];
  for (const { name, inputs } of commands) {
    if (!/^#!.*\bsh\n/.test(inputs.stdin ?? "")) continue;
    const file = join(scratch, name.replaceAll(/[ /]+/g, "/"));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, inputs.stdin!);
    scripts.push(file);
  }
  expect(scripts.length).toBeGreaterThan(3);
  expect(complaints(scripts, ...rendered)).toBe("");
});
