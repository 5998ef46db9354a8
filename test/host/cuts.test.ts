import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeContent, type HostContent, renderManifest } from "../../host/generation.ts";
import { programBelow } from "./sandbox.ts";

// The program on a host of its own (its folders and systemd are the test's), cut off at every single call of another program
// that changes something: whatever comes of it, the host has to end on one whole generation, and the next `up` has to work.
const home = mkdtempSync(join(tmpdir(), "adsl-bonding-cuts-"));
const host = join(home, "host");
const kept = join(home, "kept");
const at = (...names: string[]) => join(host, ...names);
afterAll(() => rmSync(home, { recursive: true }));

function executable(name: string, text: string) {
  writeFileSync(at(name), text);
  chmodSync(at(name), 0o755);
}

/**
 * Counts each call; at the one that is meant it ends all of the program, or fails without having done anything, or from
 * then on all fail that write to the disk.
 */
const counted = `read -r count <${at("count")}
read -r meant how <${at("meant")}
count=$((count + 1))
echo $count >${at("count")}
if [ "$count" = "$meant" ]; then
  read -r _ _ _ _ group _ </proc/self/stat
  [ "$how" != cut ] || kill -9 -"$group"
  [ "$how" = readonly ] || { echo "no space left on device" >&2; exit 1; }
fi
if [ "$how" = readonly ] && [ "$count" -ge "$meant" ]; then
  case $0 in
    */systemctl | */sysctl) ;;
    *)
      echo "read-only file system" >&2
      exit 1
      ;;
  esac
fi
`;

/** A systemd that knows what runs and what is enabled. */
const systemctl = `#!/bin/sh
case "$*" in *is-active* | *is-enabled*) ;; *) ${counted} ;; esac
word=
for each; do
  case $each in
    -* | --*) continue ;;
  esac
  if [ -z "$word" ]; then word=$each; continue; fi
  case $word in
    start | restart) /bin/touch ${at("active")}/$each ;;
    stop) /bin/rm -f ${at("active")}/$each ;;
    enable) /bin/touch ${at("enabled")}/$each ;;
    disable) /bin/rm -f ${at("enabled")}/$each ;;
    is-active)
      [ -e ${at("active")}/$each ] && state=active || state=inactive
      case "$*" in *-q*) ;; *) echo $state ;; esac
      [ $state = active ] || exit 3
      ;;
    is-enabled) [ -e ${at("enabled")}/$each ] || exit 1 ;;
  esac
done
exit 0
`;

interface Cut {
  /** The how-many-th call is meant. */
  at: number;
  how: "cut" | "fail" | "readonly";
}

/** Runs a command of the program; says whether the call that was meant was reached. */
function run(args: string[], input = "", cut: Cut = { at: 0, how: "cut" }) {
  writeFileSync(at("count"), "0\n");
  writeFileSync(at("meant"), `${cut.at} ${cut.how}\n`);
  const env = { ...process.env, PATH: `${at("bin")}:${process.env.PATH}` };
  const words = ["-w", at("adsl-bonding-test"), ...args];
  const { stdout, stderr, status } = spawnSync("setsid", words, { env, input, encoding: "utf8" });
  const calls = Number(readFileSync(at("count"), "utf8"));
  return { text: stdout + stderr, code: status, reached: cut.at > 0 && calls >= cut.at };
}

/** Two slaves work; the far end tells of whatever generation is asked for, where it tells at all. */
const checkText = `#!/bin/sh\ncase $1 in count) echo 2 ;; heard) [ -e ${at("heard")} ] ;; esac\n`;

/** A generation: its files, each read by the unit of its name, and the settings. */
function generation(files: Record<string, string>): HostContent {
  const own = Object.entries(files).map(([name, text]) => ({ path: at("etc", "site", name), text }));
  const check = at("etc", "site", "check");
  return {
    files: [
      ...own,
      { path: at("etc", "sysctl.d", "60-adsl-test.conf"), text: "net.ipv4.conf.gone.rp_filter = 2\n" },
      { path: check, text: checkText, mode: "0755" },
    ],
    units: own.map(({ path }) => ({ name: `${path.split("/").at(-1)}.service`, reads: [path] })),
    listeners: [],
    check,
  };
}

const generations: Record<string, HostContent> = {
  "": { files: [], units: [], listeners: [], check: "" },
  first: generation({ bond: "one\n", tunnel: "same\n", leaving: "goes\n" }),
  second: generation({ bond: "two\n", tunnel: "same\n", coming: "comes\n" }),
  third: generation({ bond: "three\n", tunnel: "another\n" }),
};

function arm(id: string) {
  const wanted = generations[id]!;
  for (const { path, text } of wanted.files) run(["stage", path], text);
  const { code, text } = run(
    ["arm"],
    renderManifest(describeContent(wanted), { id, mends: "", confirmWithin: 30 }),
  );
  expect(code, text).toBe(0);
}

function mustRun(...args: string[]) {
  const { code, text } = run(args);
  expect(code, `${args}: ${text}`).toBe(0);
}

function up(id: string) {
  arm(id);
  mustRun("switch", id);
  mustRun("switch-now");
  mustRun("confirm", id);
}

/** Nothing runs, and what is under /run is gone. */
function powerOff() {
  for (const folder of ["active", "run"]) rmSync(at(folder), { recursive: true });
  for (const folder of ["active", "run"]) mkdirSync(at(folder));
}

/** The power comes back, and the program is called as systemd calls it. */
function boot() {
  powerOff();
  mustRun("recover");
  for (const name of enabled()) writeFileSync(at("active", name), "");
}

/** The units that are enabled, but for the program's own. */
function enabled(): string[] {
  return readdirSync(at("enabled"))
    .filter((name) => !name.includes("recover"))
    .sort();
}

/** Every file below a folder, by its path in it. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The host runs this generation: its files and no other, its units and no other; and nothing is on trial. */
function expectWhole(id: string, told: string) {
  const { files, units } = generations[id]!;
  // Beside them stands what the program notes of the generation for itself.
  const found = filesBelow(at("etc")).filter((path) => !path.startsWith(at("etc", "test/")));
  expect(found, told).toEqual(files.map(({ path }) => path).sort());
  for (const { path, text } of files) expect(readFileSync(path, "utf8"), told).toBe(text);
  const names = units.map(({ name }) => name).sort();
  expect(readdirSync(at("active")).sort(), told).toEqual(names);
  expect(enabled(), told).toEqual(names);
  expect(onTrial(), told).toBe(false);
}

function onTrial(): boolean {
  return ["trying", "undone"].some((name) => existsSync(at("lib", "test", name)));
}

function current(): string {
  return /^generation (.*)$/m.exec(readFileSync(at("lib", "test", "current"), "utf8"))?.[1] ?? "";
}

/** Keeps the host as it is, and gives a way back to it. */
function keep(): () => void {
  rmSync(kept, { recursive: true, force: true });
  cpSync(host, kept, { recursive: true });
  return () => {
    rmSync(host, { recursive: true });
    cpSync(kept, host, { recursive: true });
  };
}

beforeAll(() => {
  for (const folder of ["bin", "lib", "etc", "units", "run", "active", "enabled"])
    mkdirSync(at(folder), { recursive: true });
  executable("adsl-bonding-test", programBelow(at));
  executable("bin/systemctl", systemctl);
  // The interface of the settings is gone, as that of an adapter that was pulled.
  executable("bin/sysctl", `#!/bin/sh\n${counted}case "$*" in *-e*) exit 0 ;; esac\nexit 255\n`);
  for (const name of ["mv", "rm", "chmod", "mkdir", "touch", "mktemp", "sync", "fallocate"]) {
    const real = name === "sync" || name === "fallocate" ? "exit 0" : `exec /bin/${name} "$@"`;
    executable(`bin/${name}`, `#!/bin/sh\n${counted}${real}\n`);
  }
  executable("bin/systemd-run", `#!/bin/sh\n${counted}`);
  executable("bin/journalctl", "#!/bin/sh\n");
  executable("bin/id", "#!/bin/sh\necho 0\n");
});

/** What is cut off, how often it was tried, and what the host then does by itself. */
function cutEverywhere(how: Cut["how"], begin: () => void, words: string[], then: (told: string) => void) {
  begin();
  const back = keep();
  let calls = 1;
  for (; ; calls++) {
    const { reached, text } = run(words, "", { at: calls, how });
    if (!reached) break;
    then(`${words.join(" ")}, ${how} at call ${calls}: ${text}`);
    back();
  }
  // As many calls as that change something, at least.
  expect(calls).toBeGreaterThan(3);
}

/** Undoes what was not confirmed, as the timer does again and again. */
function expire(id: string) {
  for (let tries = 0; tries < 2; tries++) mustRun("expire", id);
}

const fresh = () => {
  rmSync(at("heard"), { force: true });
  for (const folder of ["lib", "etc", "units", "run", "active", "enabled"]) {
    rmSync(at(folder), { recursive: true });
    mkdirSync(at(folder));
  }
};
const deployed = () => {
  fresh();
  up("first");
  expectWhole("first", "deployed");
};
const armed = () => {
  deployed();
  arm("second");
};
const trying = () => {
  armed();
  mustRun("switch", "second");
};
const switched = () => {
  trying();
  mustRun("switch-now");
};
/** It was found to work here, and the far end has been confirmed. */
const confirmedThere = () => {
  switched();
  mustRun("settle", "second");
  writeFileSync(at("heard"), "");
};
const switchedOff = () => {
  switched();
  powerOff();
};

describe("the power goes", () => {
  const after = (told: string) => {
    boot();
    expectWhole(current(), told);
    up("third");
    expectWhole("third", told);
  };
  test("while it begins to switch", () => cutEverywhere("cut", armed, ["switch", "second"], after));
  test("while it switches", () => cutEverywhere("cut", trying, ["switch-now"], after));
  test("while it confirms", () => cutEverywhere("cut", switched, ["confirm", "second"], after));
  test("while it goes with the far end", () =>
    cutEverywhere("cut", confirmedThere, ["expire", "second"], after));
  test("while it goes back", () => cutEverywhere("cut", switched, ["expire", "second"], after));
  test("while it recovers from that", () => {
    const interrupted = () => {
      switched();
      run(["expire", "second"], "", { at: 12, how: "cut" });
      powerOff();
    };
    cutEverywhere("cut", interrupted, ["recover"], after);
  });
  test.each(["fail", "readonly"] as const)("and it recovers on a disk that takes nothing: %s", (how) =>
    cutEverywhere(how, switchedOff, ["recover"], (told) => {
      for (const name of enabled()) writeFileSync(at("active", name), "");
      // What could not be done at the boot is the timer's.
      if (onTrial()) expire("second");
      expectWhole("first", told);
      up("third");
      expectWhole("third", told);
    }),
  );
  test("while a first deployment is tried", () => {
    const first = () => {
      fresh();
      arm("first");
      mustRun("switch", "first");
    };
    cutEverywhere("cut", first, ["switch-now"], (told) => {
      boot();
      expectWhole("", told);
      up("third");
      expectWhole("third", told);
    });
  });
});

describe("what does it is killed, or fails at one thing", () => {
  const after = (told: string) => {
    expire("second");
    expectWhole("first", told);
    up("third");
    expectWhole("third", told);
  };
  for (const how of ["cut", "fail"] as const) {
    test(`a switch: ${how}`, () => cutEverywhere(how, trying, ["switch-now"], after));
    test(`going with the far end: ${how}`, () =>
      cutEverywhere(how, confirmedThere, ["expire", "second"], (told) => {
        expire("second");
        expectWhole("second", told);
        up("third");
        expectWhole("third", told);
      }));
    test(`going back: ${how}`, () => cutEverywhere(how, switched, ["expire", "second"], after));
  }
  test("going back on a disk that can't be written any more", () =>
    cutEverywhere("readonly", switched, ["expire", "second"], (told) => {
      // What can run of the generation before runs all the same.
      const names = generations.first!.units.map(({ name }) => name);
      expect(readdirSync(at("active")), told).toEqual(expect.arrayContaining(names));
      // A further try does not stop it again for nothing.
      if (onTrial()) {
        const { text } = run(["expire", "second"], "", { at: 1, how: "readonly" });
        expect(text, told).toContain("going back waits");
      }
      after(told);
    }));
  test("what begins a switch", () =>
    cutEverywhere("fail", armed, ["switch", "second"], (told) => {
      // A timer that could not be set, and a switch that did not begin, leave nothing on trial; what is on trial is undone.
      if (existsSync(at("lib", "test", "trying"))) mustRun("switch-now");
      after(told);
    }));
  test("a removal, which a second one completes", () =>
    cutEverywhere("cut", switched, ["remove", "now"], (told) => {
      if (existsSync(at("adsl-bonding-test"))) mustRun("remove", "now");
      expectWhole("", told);
      for (const folder of ["lib", "etc"]) expect(existsSync(at(folder, "test")), told).toBe(false);
    }));
});
