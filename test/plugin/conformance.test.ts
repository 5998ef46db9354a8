// What the program counts on in the command plugin, stated against a real SSH server and the real CLI. It must hold with
// Pulumi's own plugin and with the stand-in of toolchain/go/command-plugin alike: a statement that only one of them
// meets does not belong here.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureToolchain, type Toolchain } from "../../toolchain/install.ts";
import { root } from "../../toolchain/versions.ts";
import { freePort, makeKey, type Sshd, startSshd } from "./sshd.ts";

type Args = Record<string, unknown>;
type Commands = Record<string, { args: Args; options?: Args; secretStdin?: boolean }>;
type Outputs = Record<string, { id: string; stdout: string; stderr: string }>;

const MINUTES = 60_000;
const folder = mkdtempSync(join(tmpdir(), "plugin-conformance-"));
let toolchain: Toolchain;
let sshd: Sshd;

beforeAll(async () => {
  toolchain = await ensureToolchain();
  sshd = await startSshd(folder);
}, 20 * MINUTES);

afterAll(() => {
  sshd?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** One stack in a folder of its own, with a journal that its commands write to. */
class Stack {
  readonly dir = mkdtempSync(join(folder, "stack-"));
  readonly #journal = join(this.dir, "journal");

  constructor() {
    cpSync(fileURLToPath(new URL("program", import.meta.url)), this.dir, { recursive: true });
    symlinkSync(join(root, "node_modules"), join(this.dir, "node_modules"));
    writeFileSync(join(this.dir, "package.json"), '{ "type": "module" }');
    mkdirSync(join(this.dir, "state"));
    writeFileSync(this.#journal, "");
  }

  /** A shell command that writes a line to the journal. */
  note = (line: string) => `echo "${line}" >> ${this.#journal}`;

  /** What has been written to the journal since the last look. */
  journal(): string[] {
    const lines = readFileSync(this.#journal, "utf8").split("\n").slice(0, -1);
    writeFileSync(this.#journal, "");
    return lines;
  }

  declare(commands: Commands) {
    const complete = Object.entries(commands).map(([name, { args, ...rest }]) => [
      name,
      { args: { connection: sshd.connection, addPreviousOutputInEnv: false, ...args }, ...rest },
    ]);
    writeFileSync(join(this.dir, "commands.json"), JSON.stringify(Object.fromEntries(complete)));
  }

  async pulumi(...args: string[]): Promise<{ code: number; output: string }> {
    const child = spawn("pulumi", [...args, "--non-interactive", "--color=never"], {
      cwd: this.dir,
      env: {
        ...process.env,
        ...toolchain.env,
        PULUMI_BACKEND_URL: `file://${join(this.dir, "state")}`,
        PULUMI_CONFIG_PASSPHRASE: "for tests",
        SSH_AUTH_SOCK: "",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        output += data;
      });
    }
    const code = await new Promise<number>((done, fail) => {
      child.once("error", fail);
      child.once("close", (code) => done(code ?? -1));
    });
    return { code, output };
  }

  /** Runs `pulumi up` of these commands and returns what it showed. It must succeed. */
  async up(commands: Commands, ...flags: string[]): Promise<string> {
    const { code, output } = await this.attempt(commands, ...flags);
    expect(code, output).toBe(0);
    return output;
  }

  async attempt(commands: Commands, ...flags: string[]) {
    this.declare(commands);
    return this.pulumi("up", "--yes", "--skip-preview", ...flags);
  }

  async export(): Promise<{ text: string; outputs: Outputs; commands: Record<string, Args> }> {
    const text = (await this.pulumi("stack", "export")).output;
    const resources: { type: string; urn: string; inputs: Args; outputs: Args }[] =
      JSON.parse(text).deployment.resources ?? [];
    const stack = resources.find((resource) => resource.type === "pulumi:pulumi:Stack");
    const commands = resources.filter((resource) => resource.type === "command:remote:Command");
    return {
      text,
      outputs: (stack?.outputs.outputs ?? {}) as Outputs,
      commands: Object.fromEntries(
        commands.map((resource) => [resource.urn.split("::").pop(), resource.inputs]),
      ),
    };
  }
}

async function newStack(): Promise<Stack> {
  const stack = new Stack();
  expect(await stack.pulumi("stack", "init", "test")).toMatchObject({ code: 0 });
  return stack;
}

describe("remote.Command", { timeout: 2 * MINUTES }, () => {
  it("creates, updates on any changed input, and deletes as the last state says", async () => {
    const stack = await newStack();
    const { note } = stack;
    const commands: Commands = {
      all: {
        args: {
          create: `cat; printf 'error\\n\\n' >&2; ${note("create all")}`,
          update: note("update all"),
          delete: note("delete all, stdin $(cat)"),
          stdin: "text\n\n",
        },
      },
      "no-update": { args: { create: note("create no-update, stdin $(cat)"), stdin: "" } },
      "no-create": { args: { delete: note("delete no-create") } },
    };
    await stack.up(commands);
    expect(stack.journal().sort()).toEqual(["create all", "create no-update, stdin "]);
    const { outputs } = await stack.export();
    expect(outputs.all).toMatchObject({ stdout: "text\n", stderr: "error\n" });
    expect(outputs.all!.id).toMatch(/^all[0-9a-f]{8}$/);
    expect(outputs["no-create"]).toMatchObject({ stdout: "", stderr: "" });

    // Nothing to do, and nothing that a refresh could see.
    await stack.up(commands, "--expect-no-changes", "--refresh");
    expect(stack.journal()).toEqual([]);

    // A changed stdin; a changed connection; a command that is only used at the end.
    commands.all!.args.stdin = "other";
    commands["no-update"]!.args.connection = { ...sshd.connection, perDialTimeout: 14 };
    commands["no-create"]!.args.delete = note("delete no-create anew");
    await stack.up(commands);
    expect(stack.journal().sort()).toEqual(["create no-update, stdin ", "update all"]);
    expect((await stack.export()).outputs.all!.stdout).toBe("");

    // Deletes come after creates and updates.
    commands.late = { args: { create: `sleep 1; ${note("create late")}` } };
    delete commands.all;
    await stack.up(commands);
    expect(stack.journal()).toEqual(["create late", "delete all, stdin other"]);

    expect(await stack.pulumi("destroy", "--yes", "--skip-preview")).toMatchObject({ code: 0 });
    expect(stack.journal()).toEqual(["delete no-create anew"]);
  });

  it("replaces on a changed trigger: creates before it deletes, unless told otherwise", async () => {
    const stack = await newStack();
    const commands = (trigger: number): Commands =>
      Object.fromEntries(
        ["usual", "reversed"].map((name) => [
          name,
          {
            args: {
              create: stack.note(`create ${name} ${trigger}`),
              update: stack.note(`update ${name} ${trigger}`),
              delete: stack.note(`delete ${name} ${trigger}`),
              triggers: [trigger],
            },
            options: { deleteBeforeReplace: name === "reversed" },
          },
        ]),
      );
    await stack.up(commands(1));
    stack.journal();
    await stack.up(commands(2));
    const journal = stack.journal();
    expect(journal.filter((line) => line.includes("usual"))).toEqual(["create usual 2", "delete usual 1"]);
    expect(journal.filter((line) => line.includes("reversed"))).toEqual([
      "delete reversed 1",
      "create reversed 2",
    ]);
  });

  it("keeps no resource of a failed create, and the old state of a failed update", async () => {
    const stack = await newStack();
    const commands: Commands = {
      fails: { args: { create: "echo said; echo cried >&2; exit 3", stdin: "x" } },
      works: { args: { create: "true", update: stack.note("update $(cat)"), stdin: "old" } },
    };
    const first = await stack.attempt(commands);
    expect(first.code).not.toBe(0);
    expect(first.output).toContain(
      'Process exited with status 3: running "echo said; echo cried >&2; exit 3"',
    );
    const error = first.output.slice(first.output.lastIndexOf("Process exited with status 3"));
    expect(error).toContain("said");
    expect(error).toContain("cried");
    // What was under way beside it may or may not have been begun.
    const works = commands.works!;
    await stack.up({ works });
    expect(Object.keys((await stack.export()).commands)).toEqual(["works"]);

    stack.journal();
    works.args.stdin = "new";
    works.args.update = `${stack.note("update $(cat)")}; exit 1`;
    expect((await stack.attempt({ works })).code).not.toBe(0);
    expect((await stack.export()).commands.works).toMatchObject({ stdin: "old" });
    works.args.update = stack.note("update $(cat)");
    await stack.up({ works });
    expect(stack.journal()).toEqual(["update new", "update new"]);
  });

  it("reaches a host in every way that the program offers", async () => {
    const stack = await newStack();
    const { privateKey: _key, ...keyless } = sshd.connection;
    const { hostKey: _host, ...unpinned } = sshd.connection;
    const locked = makeKey(join(stack.dir, "locked"), "open sesame");
    writeFileSync(join(folder, "authorized_keys"), readFileSync(`${locked}.pub`), { flag: "a" });
    const agentSocketPath = join(stack.dir, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", agentSocketPath], { stdio: "ignore" });
    try {
      await expect.poll(() => addKey(agentSocketPath), { timeout: 5000 }).toBe(true);
      const ways: Record<string, Args> = {
        unpinned,
        // Through this server to itself.
        proxied: { ...sshd.connection, proxy: sshd.connection },
        agent: { ...keyless, agentSocketPath },
        locked: {
          ...keyless,
          privateKey: readFileSync(locked, "utf8"),
          privateKeyPassword: "open sesame",
        },
      };
      await stack.up(
        Object.fromEntries(
          Object.entries(ways).map(([name, connection]) => [
            name,
            { args: { create: "echo reached", connection } },
          ]),
        ),
      );
      const { outputs } = await stack.export();
      for (const name of Object.keys(ways)) expect(outputs[name], name).toMatchObject({ stdout: "reached" });
    } finally {
      agent.kill();
    }
  });

  it("refuses a wrong host key, retries every failure as often as it is told, and shows no key", async () => {
    const stack = await newStack();
    const other = readFileSync(`${makeKey(join(stack.dir, "other"))}.pub`, "utf8");
    const stranger = readFileSync(makeKey(join(stack.dir, "stranger")), "utf8");
    const attempt = async (changes: Args) => {
      const connection = { ...sshd.connection, ...changes };
      const result = await stack.attempt({ never: { args: { create: stack.note("reached"), connection } } });
      expect(result.code).not.toBe(0);
      expect(stack.journal()).toEqual([]);
      for (const line of `${connection.privateKey}`.split("\n").filter((line) => line.length > 40)) {
        expect(result.output).not.toContain(line);
      }
      return result.output;
    };
    expect(await attempt({ hostKey: other })).toContain("host key mismatch");
    expect(await attempt({ port: await freePort() })).toContain("refused");
    const before = sshd.log().split("Connection closed by authenticating user").length;
    await attempt({ privateKey: stranger });
    const dials = sshd.log().split("Connection closed by authenticating user").length - before;
    expect(dials).toBeGreaterThanOrEqual(2);
    expect(dials).toBeLessThanOrEqual(3);
  });

  it("passes variables that the server accepts, and the previous output unless told not to", async () => {
    const stack = await newStack();
    const commands = (change: string): Commands =>
      Object.fromEntries(
        [true, false].map((addPreviousOutputInEnv) => {
          const name = `with-${addPreviousOutputInEnv}`;
          const create = `${stack.note(`${name}: $GREETING, $PULUMI_COMMAND_STDOUT`)}; echo first`;
          const environment = { GREETING: "hello" };
          return [name, { args: { create, environment, stdin: change, addPreviousOutputInEnv } }];
        }),
      );
    await stack.up(commands("1"));
    stack.journal();
    await stack.up(commands("2"));
    expect(stack.journal().sort()).toEqual(["with-false: hello, ", "with-true: hello, first"]);
  });

  it("shows output line by line, or what logging says, and keeps secrets", async () => {
    const stack = await newStack();
    const create = (name: string) => `echo ${name} to stdout; echo ${name} to stderr >&2`;
    const commands: Commands = {
      usual: { args: { create: create("usual") } },
      quiet: { args: { create: create("quiet"), logging: "none" } },
      half: { args: { create: create("half"), logging: "stderr" } },
      hidden: { args: { create: "cat >/dev/null", stdin: "the secret text" }, secretStdin: true },
    };
    const shown = await stack.up(commands);
    for (const line of ["usual to stdout", "usual to stderr", "half to stderr"])
      expect(shown).toContain(line);
    for (const text of ["quiet to std", "half to stdout", "the secret text"]) {
      // The stack's outputs, which come last, name what every command printed.
      expect(shown.slice(0, shown.indexOf("\nOutputs:"))).not.toContain(text);
    }
    const { text, outputs } = await stack.export();
    expect(outputs.quiet).toMatchObject({ stdout: "quiet to stdout", stderr: "quiet to stderr" });
    expect(text).not.toContain("PRIVATE KEY");
    expect(text).not.toContain("the secret text");
  });

  it("shows a changed stdin as a difference of lines, and every change without touching the host", async () => {
    const stack = await newStack();
    const commands: Commands = {
      file: { args: { create: stack.note("written"), stdin: "first\nsecond\nthird\n" } },
    };
    await stack.up(commands);
    stack.journal();
    commands.file!.args.stdin = "first\nchanged\nthird\n";
    stack.declare(commands);
    const { code, output } = await stack.pulumi("preview", "--diff");
    expect(code, output).toBe(0);
    const lines = output.split("\n").map((line) => line.trim());
    expect(lines).toEqual(expect.arrayContaining(["first", "- second", "+ changed", "third"]));
    expect(stack.journal()).toEqual([]);
  });
});

function addKey(agentSocketPath: string): boolean {
  try {
    const env = { ...process.env, SSH_AUTH_SOCK: agentSocketPath };
    execFileSync("ssh-add", ["-q", join(folder, "user")], { env, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
