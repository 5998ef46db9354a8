import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { exec, facts } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { home, pause, run as runProgram } from "../../lab/system.ts";
import { deployedSite, must } from "./site.ts";

let stack: Stack;
/** Pieces of every secret in use, by what they are: long enough to be found nowhere by chance. */
const secrets = new Map<string, string>();

beforeAll(async () => {
  stack = await deployedSite();
  const keep = (what: string, pem: string) => {
    const line = pem.split("\n").filter((each) => each.length > 40 && !each.startsWith("---"));
    // OpenSSH's format begins alike for all keys, so the last whole line it is.
    secrets.set(what, line.at(-1)!);
  };
  keep("the operator's SSH key", await readFile((await facts()).keyFile, "utf8"));
  for (const host of ["pi", "server"]) {
    for (const line of ["ovh", "orange"]) {
      keep(`${host}'s key of ${line}`, await must(host, `cat /etc/adsl-bonding/dev/keys/${line}.key`));
    }
  }
  secrets.set("the state's passphrase", (await readFile(join(home, "stack/passphrase"), "utf8")).trim());
  for (const secret of secrets.values()) expect(secret.length).toBeGreaterThan(20);
});

/** Which secrets stand in a text. */
function leaked(text: string): string[] {
  return [...secrets].filter(([, secret]) => text.includes(secret)).map(([what]) => what);
}

/** The command lines of everything that runs on this machine. */
async function commandLines(): Promise<string> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""));
  return (await Promise.all(lines)).join("\n").replaceAll("\0", " ");
}

/** Runs with the operator's key in an agent, and no longer in a file that the config names; `run` gets what it is reached by. */
async function withAgent(run: (env: Record<string, string>) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "agent-"));
  const socket = join(folder, "socket");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
  const env = { SSH_AUTH_SOCK: socket };
  try {
    for (let tries = 0; !existsSync(socket) && tries < 50; tries++) await pause(0.1);
    await runProgram("ssh-add", ["-q", (await facts()).keyFile], { env });
    await run(env);
  } finally {
    agent.kill();
    await rm(folder, { recursive: true, force: true });
  }
}

// With the key in a file Pulumi's own log has it from -v=9 on: it writes a resource's inputs, the old ones too.
test("no secret in Pulumi's log at its highest verbosity, once the key is in an agent", async () => {
  await withAgent(async (env) => {
    const change = async (arpInterval: number, ...words: string[]) => {
      await stack.configure((site) => {
        for (const { ssh } of [site.server, site.pi]) {
          delete ssh.privateKeyFile;
          delete ssh.jump.privateKeyFile;
        }
        site.bond = { arpInterval };
      });
      const up = await stack.pulumi(["up", "--yes", "--skip-preview", ...words], { env });
      expect(up.code, up.stdout + up.stderr.slice(-5000)).toBe(0);
      return up.stdout + up.stderr;
    };
    await change(110);
    const log = await change(120, "--logtostderr", "--logflow", "-v=11");
    expect(log).toContain("arp_interval 120");
    expect(leaked(log)).toEqual([]);
  });
});

test("no secret in the state, in previews, in what a failed up prints, or in process lists", async () => {
  const state = await stack.pulumi(["stack", "export"]);
  expect(state.stdout).toContain("adsl-bonding:components:Bond");
  expect(leaked(state.stdout)).toEqual([]);

  // A change that fails while it is tried, so that errors and journals are told too.
  await stack.configure((site) => {
    site.activation = { confirmWithin: 40 };
    site.lines[0].gateway = "192.168.1.98";
  });
  const preview = await stack.pulumi(["preview", "--diff", "--show-full-output"]);
  expect(preview.stdout).toContain("192.168.1.98");
  expect(leaked(preview.stdout + preview.stderr)).toEqual([]);

  const seen: string[] = [];
  let running = true;
  const watch = (async () => {
    while (running) {
      seen.push(await commandLines());
      for (const host of ["pi", "server"]) seen.push((await exec(host, "ps axww -o args; sleep 2")).stdout);
    }
  })();
  const up = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  running = false;
  await watch;
  expect(up.code).not.toBe(0);
  expect(up.stdout).toContain("1 of 2 slaves");
  expect(leaked(up.stdout + up.stderr)).toEqual([]);
  const lists = seen.join("\n");
  expect(lists).toContain("pulumi-resource-command");
  expect(lists).toContain("adsl-bonding-dev");
  expect(leaked(lists)).toEqual([]);
});
