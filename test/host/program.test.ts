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
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import {
  describeContent,
  digest,
  type HostContent,
  type HostUnit,
  renderManifest,
} from "../../host/generation.ts";

// The program as it is, on a host of its own: its folders stand in one of the test's, and systemd is a script that notes
// what it is told. A unit that was restarted works again at once, unless the test names it in `lost`.
const host = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
const at = (...names: string[]) => join(host, ...names);
const program = at("adsl-bonding-test");
afterAll(() => rmSync(host, { recursive: true }));
vi.setConfig({ testTimeout: 60_000 });

function write(name: string, text: string) {
  writeFileSync(at(name), text);
  chmodSync(at(name), 0o755);
}

beforeEach(() => {
  rmSync(host, { recursive: true });
  for (const folder of ["bin", "lib", "etc", "lock"]) mkdirSync(at(folder), { recursive: true });
  const text = readFileSync(new URL("../../host/program.sh", import.meta.url), "utf8")
    .replaceAll("/var/lib/adsl-bonding", at("lib"))
    .replaceAll("/etc/adsl-bonding", at("etc"))
    .replace("run=/run\n", `run=${at("lock")}\n`);
  write("adsl-bonding-test", text);
  write(
    "bin/systemctl",
    `#!/bin/sh
case "$*" in
  *adsl-test-*) ;;
  restart* | stop* | start*) echo "$*" >>${at("told")} ;;
esac
[ "$1" != restart ] || [ ! -e ${at("lost")} ] || grep -vxFf ${at("lost")} ${at("working")} >${at("rest")} || true
[ ! -e ${at("rest")} ] || mv ${at("rest")} ${at("working")}
`,
  );
  write("bin/systemd-run", "#!/bin/sh\n");
  write("bin/journalctl", "#!/bin/sh\necho a line of the journal\n");
  write("bin/sleep", "#!/bin/sh\nexec /bin/sleep 0.05\n");
  write("bin/id", "#!/bin/sh\necho 0\n");
  writeFileSync(at("told"), "");
});

/** Runs a command of the program; gives what it printed, on both of its outputs. */
function run(args: string[], input = ""): string {
  const env = { ...process.env, PATH: `${at("bin")}:${process.env.PATH}` };
  const { stdout, stderr } = spawnSync(program, args, { env, input, encoding: "utf8" });
  return stdout + stderr;
}

/** What systemd was told since the last look. */
function told(): string[] {
  const lines = readFileSync(at("told"), "utf8").split("\n").filter(Boolean);
  writeFileSync(at("told"), "");
  return lines;
}

const tunnels = ["t@one.service", "t@two.service", "t@two-2.service", "t@three.service"];

/** A generation of a bond and of tunnels over three lines, each of which reads a file of its own. */
function content(texts: Record<string, string> = {}): HostContent {
  const check = `#!/bin/sh\ncase $1 in count) echo 4 ;; working) cat ${at("working")} ;; esac\n`;
  const text = (name: string) => texts[name] ?? `${name}\n`;
  const units: HostUnit[] = tunnels.map((name) => ({
    name,
    reads: [at("etc", name)],
    group: name.replace(/^t@(\w+).*/, "$1"),
  }));
  return {
    files: [
      ...["bond", ...tunnels].map((name) => ({ path: at("etc", name), text: text(name) })),
      { path: at("etc", "check"), text: check, mode: "0755" },
    ],
    units: [{ name: "bond.service", reads: [at("etc", "bond")] }, ...units],
    listeners: [],
    check: at("etc", "check"),
  };
}

/** Stages and arms a generation, and switches to it. */
function switchTo(id: string, wanted: HostContent, confirmWithin = 14) {
  for (const { path, text } of wanted.files) run(["stage", path], text);
  run(["arm"], renderManifest(describeContent(wanted), { id, mends: "", confirmWithin }));
  run(["switch", id]);
  run(["switch-now"]);
}

function deploy() {
  writeFileSync(at("working"), `${tunnels.join("\n")}\n`);
  switchTo("first", content());
  run(["confirm", "first"]);
  expect(told()).toContain(`start bond.service ${tunnels.join(" ")}`);
}

const anew = Object.fromEntries(tunnels.map((name) => [name, "other keys\n"]));
const started = `start bond.service ${tunnels.join(" ")}`;

test("a command that was meant for another installation of the host is refused", () => {
  mkdirSync(at("lib", "test"), { recursive: true });
  writeFileSync(at("lib", "test", "installation"), "one\n");
  expect(run(["of", "two", "stage", "/etc/file"], "text\n")).toContain("this host was made anew");
  expect(run(["of", "one", "stage", "/etc/file"], "text\n")).toMatch(/^staged \/etc\/file as /);
});

test("a host that has lost a key has no name: only a new installation makes all its keys again", () => {
  const key = at("etc", "test", "keys", "one.key");
  mkdirSync(at("etc", "test", "keys"), { recursive: true });
  writeFileSync(key, "a key\n");
  writeFileSync(at("working"), "");
  switchTo("first", content({ bond: `key ${key}\n` }));
  run(["confirm", "first"]);
  writeFileSync(at("lib", "test", "installation"), "one\n");
  expect(run(["installation"])).toBe("one\n");
  expect(run(["drift"])).not.toContain("one.key");
  rmSync(key);
  expect(run(["installation"])).toBe("");
  expect(run(["drift"])).toContain(`${key} is gone`);
});

test("keys that nothing reads any more go when a generation is confirmed", () => {
  mkdirSync(at("etc", "test", "keys"), { recursive: true });
  for (const name of ["old", "new"]) writeFileSync(at("etc", "test", "keys", `${name}.key`), "a key\n");
  writeFileSync(at("working"), "");
  switchTo("first", content({ bond: `key ${at("etc", "test", "keys", "new.key")}\n` }));
  run(["confirm", "first"]);
  expect(existsSync(at("etc", "test", "keys", "old.key"))).toBe(false);
  expect(existsSync(at("etc", "test", "keys", "new.key"))).toBe(true);
});

test("texts that were staged for another change, which waits, outlast a confirmation; the replaced ones go", () => {
  deploy();
  const stagedAs = (text: string) => at("lib", "test", "staged", digest(text));
  expect(existsSync(stagedAs("bond\n"))).toBe(true);
  switchTo("second", content({ bond: "another bond\n" }));
  run(["stage", at("etc", "bond")], "a third bond\n");
  const soon = Date.now() / 1000 + 5;
  utimesSync(stagedAs("a third bond\n"), soon, soon);
  expect(run(["confirm", "second"])).toContain("active: second");
  expect(existsSync(stagedAs("a third bond\n"))).toBe(true);
  expect(existsSync(stagedAs("another bond\n"))).toBe(true);
  expect(existsSync(stagedAs("bond\n"))).toBe(false);
});

test("where nothing but tunnels changes they restart a line at a time", () => {
  deploy();
  switchTo("second", content(anew));
  expect(told()).toEqual([
    "restart t@one.service",
    "restart t@two.service t@two-2.service",
    "restart t@three.service",
    started,
  ]);
  expect(run(["confirm", "second"])).toContain("active: second");
  expect(readFileSync(at("etc", tunnels[0]!), "utf8")).toBe("other keys\n");
  expect(existsSync(at("lib", "test", "working"))).toBe(false);
});

test("only what changes restarts", () => {
  deploy();
  switchTo("second", content({ "t@two-2.service": "other keys\n" }));
  expect(told()).toEqual(["restart t@two-2.service", started]);
});

test("a line that was dead before is not waited for", () => {
  deploy();
  writeFileSync(at("working"), "t@two.service\nt@two-2.service\nt@three.service\n");
  const began = Date.now();
  switchTo("second", content(anew), 700);
  expect(told()).toHaveLength(4);
  expect(Date.now() - began).toBeLessThan(20_000);
});

test("a line that does not come back ends the switch: no other is touched, and all goes back", () => {
  deploy();
  writeFileSync(at("lost"), "t@one.service\n");
  switchTo("second", content(anew), 6);
  const restarts = told().filter((line) => line.startsWith("restart"));
  // Its own restart; then, going back, a restart of each.
  expect(restarts).toEqual([
    "restart t@one.service",
    "restart t@one.service",
    "restart t@two.service t@two-2.service",
    "restart t@three.service",
  ]);
  expect(run(["status"])).toMatch(/last undone: .* one does not work again after its restart/);
  expect(readFileSync(at("etc", tunnels[0]!), "utf8")).toBe(`${tunnels[0]}\n`);
  expect(run(["settle", "second"])).toContain("t@one.service: a line of the journal");
});

test("where anything else changes too, all that changes stops first and starts last", () => {
  deploy();
  switchTo("second", content({ ...anew, bond: "another\n" }));
  expect(told()).toEqual([
    ...[...tunnels].reverse().map((name) => `stop ${name}`),
    "stop bond.service",
    started,
  ]);
});

test("a tunnel's file edited by hand is mended by a restart of that one alone", () => {
  deploy();
  writeFileSync(at("etc", "t@three.service"), "edited\n");
  switchTo("second", content());
  expect(told()).toEqual(["restart t@three.service", started]);
});
