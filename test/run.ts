// The project's tests, from a bare clone:  sh toolchain/run test/run.ts unit|core|all [SCENARIO...] [--minutes N]
//   unit  types, lint, unit tests: under a minute, no lab, no Pulumi CLI
//   core  the same, every script by shellcheck, the hosts' program cut off at its every step, the command plugin's conformance, and the lab scenarios that everything stands on
//   all   every other scenario, or those named; what has passed on the same sources is not run again
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { prepareMachine } from "../lab/image.ts";
import { ensureToolchain } from "../toolchain/install.ts";
import { root } from "../toolchain/versions.ts";

/** Scenarios (files of test/lab) that `core` runs, in this order; `all` runs the others. */
const coreScenarios = ["deploy", "line"];

/** What `all` runs first: what the site stands on after these. */
const firstScenarios = ["activation", "reboot", "separation"];

/** Scenarios in labs of another kind, each of which has to be booted: `all` runs them last. */
const lastScenarios = ["interfaces", "many", "sharing", "backups", "debian12", "ownGuest"];

/** What one step came to. */
interface Outcome {
  passed: number;
  failed: number;
  seconds: number;
  /** What failed, and how: told again at the very end, where it is found. */
  failures?: string[];
}

/** What of vitest's JSON report is read here. */
interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    name: string;
    status: string;
    message?: string;
    assertionResults: { fullName: string; failureMessages?: string[] }[];
  }[];
}

/** Outcomes by step's name, of one state of the sources. */
interface Ledger {
  sources: string;
  outcomes: Record<string, Outcome>;
}

const began = Date.now();
const minute = 60_000;
const ledgerFile = join(root, ".lab/tests.json");

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string" } },
});
const [mode = "core", ...named] = positionals;
const deadline =
  values.minutes === undefined ? Number.POSITIVE_INFINITY : began + Number(values.minutes) * minute;
const ledger = await readLedger();
const unitSteps = ["types", "lint", "unit"];
/** What this run is asked for: it is run again, whatever came of it before. All that is known, where it goes on with the others. */
const asked =
  mode === "unit"
    ? unitSteps
    : mode === "core"
      ? [...unitSteps, "shell", "cuts", "plugin", ...coreScenarios.map((name) => `lab ${name}`)]
      : undefined;
for (const name of asked ?? []) delete ledger.outcomes[name];

if (mode === "unit") {
  await unit();
} else if (mode === "core") {
  await unit();
  if (told().every(([, { failed }]) => failed === 0)) {
    await prepareMachine({ sshd: "openssh-server", ssh: "openssh-client", shellcheck: "shellcheck" });
    await vitest("shell", "shell");
    await ensureToolchain();
    await vitest("cuts", "cuts");
    await vitest("plugin", "plugin");
    for (const name of coreScenarios) await vitest(`lab ${name}`, "lab", `test/lab/${name}.test.ts`);
  }
} else if (mode === "all") {
  for (const name of await otherScenarios()) {
    if (named.length === 0 && (ledger.outcomes[`lab ${name}`]?.failed ?? 1) === 0) continue;
    await vitest(`lab ${name}`, "lab", `test/lab/${name}.test.ts`);
  }
} else {
  console.error(`test: ${mode} is none of unit, core, all`);
  process.exit(2);
}
finish();

async function unit(): Promise<void> {
  const bin = (name: string) => join(root, "node_modules", name);
  await single("types", process.execPath, [bin("typescript/bin/tsc"), "--noEmit", "-p", "."]);
  await single("lint", process.execPath, [
    bin("@biomejs/biome/bin/biome"),
    "check",
    "--error-on-warnings",
    ".",
  ]);
  await vitest("unit", "unit");
}

/** A step that passes or fails as a whole. */
async function single(name: string, command: string, args: string[]): Promise<void> {
  const started = Date.now();
  const code = await run(command, args);
  await note(name, { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, seconds: since(started) });
}

/** A step that vitest runs, and counts. */
async function vitest(name: string, project: string, file?: string): Promise<void> {
  const left = deadline - Date.now();
  if (left < minute) return outOfTime(name, `no time is left for ${name}`);
  console.log(`test: ${name}`);
  const started = Date.now();
  const report = join(root, `.lab/report-${process.pid}.json`);
  const code = await run(
    process.execPath,
    [
      ...[join(root, "node_modules/vitest/vitest.mjs"), "run", "--project", project],
      ...["--reporter", "verbose", "--reporter", "json", "--outputFile", report],
      ...(file ? [file] : []),
    ],
    left,
  );
  const counted: Report | undefined = await readFile(report, "utf8").then(JSON.parse, () => undefined);
  await rm(report, { force: true });
  const outcome = {
    passed: counted?.numPassedTests ?? 0,
    failed: counted?.numFailedTests ?? 0,
    failures: failuresOf(counted),
  };
  // A file that can't be loaded, a hook that failed, or a run cut off by the deadline counts as one failure.
  if (code !== 0 && outcome.failed === 0) outcome.failed = 1;
  if (code === 124) await outOfTime(name, `${name} was cut off: the time was up`);
  else await note(name, { ...outcome, seconds: since(started) });
}

/** Of the others as many run as there is time for; what everything stands on has to. */
async function outOfTime(name: string, text: string): Promise<void> {
  console.log(`test: ${text}`);
  if (mode === "core") await note(name, { passed: 0, failed: 1, failures: [text], seconds: 0 });
}

/** The beginning and the end of each failure's text: a Pulumi run's error stands in one of them. */
function failuresOf(report: Report | undefined): string[] {
  const tests = report?.testResults.flatMap((file) => [
    ...file.assertionResults.map(({ fullName, failureMessages }) => ({
      name: fullName,
      text: failureMessages?.join("\n"),
    })),
    { name: file.name.slice(root.length + 1), text: file.status === "failed" ? file.message : "" },
  ]);
  return (tests ?? []).flatMap(({ name, text }) => {
    if (!text) return [];
    const lines = text.split("\n").filter((line) => !/^\s+at .*node_modules/.test(line));
    const shown = lines.length <= 50 ? lines : [...lines.slice(0, 20), "[...]", ...lines.slice(-30)];
    return [`${name}\n${shown.map((line) => `    ${line}`).join("\n")}`];
  });
}

/** Runs a command with its output on the terminal; 124 when it was ended for want of time. */
function run(command: string, args: string[], limit = Number.POSITIVE_INFINITY): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, LAB_SOURCES: ledger.sources },
      stdio: "inherit",
      detached: limit !== Number.POSITIVE_INFINITY,
    });
    let late = false;
    const end = () => {
      late = true;
      process.kill(-child.pid!, "SIGTERM");
    };
    const timer = limit === Number.POSITIVE_INFINITY ? undefined : setTimeout(end, limit);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve(late ? 124 : (code ?? 1));
    });
  });
}

async function otherScenarios(): Promise<string[]> {
  const files = await readdir(join(root, "test/lab"));
  const all = files.filter((file) => file.endsWith(".test.ts")).map((file) => file.replace(".test.ts", ""));
  const unknown = named.filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    console.error(`test: no scenario is called ${unknown.join(", ")}. There are: ${all.sort().join(", ")}`);
    process.exit(2);
  }
  if (named.length > 0) return named;
  const placed = [...coreScenarios, ...firstScenarios, ...lastScenarios];
  return [...firstScenarios, ...all.filter((name) => !placed.includes(name)).sort(), ...lastScenarios];
}

async function readLedger(): Promise<Ledger> {
  const sources = await digestOfSources();
  const old: Ledger | undefined = await readFile(ledgerFile, "utf8").then(JSON.parse, () => undefined);
  return old?.sources === sources ? old : { sources, outcomes: {} };
}

/** One digest over everything that a test's outcome depends on. */
async function digestOfSources(): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((file) => !/^(node_modules|\.[^/]*|docs|bench)\/|\.md$/.test(file));
  for (const file of files.sort()) hash.update(file).update(await readFile(join(root, file)));
  return hash.digest("hex");
}

async function note(name: string, outcome: Outcome): Promise<void> {
  ledger.outcomes[name] = outcome;
  await mkdir(join(root, ".lab"), { recursive: true });
  await writeFile(ledgerFile, JSON.stringify(ledger, null, 2));
}

/** The outcomes that this run tells of. */
function told(): [string, Outcome][] {
  return Object.entries(ledger.outcomes).filter(([name]) => asked?.includes(name) ?? true);
}

function finish(): never {
  for (const [name, { failures = [] }] of told()) {
    for (const failure of failures) console.log(`\nFAILED  ${name}: ${failure}`);
  }
  console.log("");
  let [passed, failed] = [0, 0];
  for (const [name, outcome] of told()) {
    passed += outcome.passed;
    failed += outcome.failed;
    const word = outcome.failed === 0 ? "passed" : "FAILED";
    console.log(`${word}  ${name.padEnd(24)} ${String(outcome.seconds).padStart(5)} s`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

function since(started: number): number {
  return Math.round((Date.now() - started) / 1000);
}
