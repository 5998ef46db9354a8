import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
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
import { programBelow } from "./sandbox.ts";

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
  for (const folder of ["bin", "lib", "etc", "units", "run"]) mkdirSync(at(folder), { recursive: true });
  write("adsl-bonding-test", programBelow(at));
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
  write("bin/systemd-run", `#!/bin/sh\necho "$*" >>${at("detached")}\n`);
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
  const check = `#!/bin/sh
case $1 in
  count) echo 4 ;;
  working) cat ${at("working")} ;;
  announce) echo "$2" >${at("announced")} ;;
  heard) grep -qsx "$2" ${at("heard")} ;;
esac
`;
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

/** Stages a generation; gives the manifest to arm it with. */
function stage(id: string, wanted: HostContent, confirmWithin = 14): string {
  for (const { path, text } of wanted.files) run(["stage", path], text);
  return renderManifest(describeContent(wanted), { id, mends: "", confirmWithin });
}

/** Stages and arms a generation, and switches to it. */
function switchTo(id: string, wanted: HostContent, confirmWithin?: number) {
  run(["arm"], stage(id, wanted, confirmWithin));
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

/** A host that runs a generation which reads a key; where that stands. */
function runsWithKey(): string {
  const key = at("etc", "test", "keys", "one.key");
  mkdirSync(at("etc", "test", "keys"), { recursive: true, mode: 0o700 });
  writeFileSync(key, "a key\n", { mode: 0o600 });
  writeFileSync(at("working"), "");
  switchTo("first", content({ bond: `key ${key}\n` }));
  run(["confirm", "first"]);
  return key;
}

test("a host that has lost a key has no name: only a new installation makes all its keys again", () => {
  const key = runsWithKey();
  writeFileSync(at("lib", "test", "installation"), "one\n");
  expect(run(["installation"])).toBe("one\n");
  expect(run(["drift"])).not.toContain("one.key");
  rmSync(key);
  expect(run(["installation"])).toBe("");
  expect(run(["drift"])).toContain(`${key} is gone`);
  // The file that names it may be gone with it.
  rmSync(at("etc", "bond"));
  expect(run(["drift"])).toContain(`${key} is gone`);
});

test("a key pair of which one half is lost is made anew whole, wherever the power goes in the middle of that", () => {
  const keys = (name: string) => at("etc", "test", "keys", name);
  const publicKey = (...words: string[]) => spawnSync("openssl", words, { encoding: "utf8" }).stdout;
  run(["key", "one"]);
  rmSync(keys("one.key"));
  // The power goes when the key lies in its place, and before the certificate does.
  write("bin/mv", `#!/bin/sh\ncase $2 in *.crt) kill -9 $PPID ;; *) exec /bin/mv "$@" ;; esac\n`);
  run(["key", "one"]);
  rmSync(at("bin", "mv"));
  expect(run(["key", "one"])).toMatch(/^[0-9A-F:]{95}\n$/);
  const ofKey = publicKey("pkey", "-pubout", "-in", keys("one.key"));
  expect(ofKey).toContain("PUBLIC KEY");
  expect(publicKey("x509", "-noout", "-pubkey", "-in", keys("one.crt"))).toBe(ofKey);
});

test("the program's own text, when somebody has edited it, is drift, and a new installation brings it", () => {
  runsWithKey();
  run(["setup", "one"]);
  expect([run(["drift"]).trim(), run(["installation"])]).toEqual(["", "one\n"]);
  const text = readFileSync(program, "utf8");
  write("adsl-bonding-test", `${text}# edited\n`);
  expect(run(["drift"])).toContain(`${program} was edited`);
  expect(run(["installation"])).toBe("");
  write("adsl-bonding-test", text);
  run(["setup", "two"]);
  expect([run(["drift"]).trim(), run(["installation"])]).toEqual(["", "two\n"]);
});

test("the listener that had the tunnels' ports for a look ends before a switch, and nothing else of its number", async () => {
  writeFileSync(at("working"), "");
  const begun = (name: string) => spawn("perl", ["-e", "$0 = shift; sleep 60", name], { stdio: "ignore" });
  const listener = begun("adsl-bonding-probe");
  const other = begun("another program");
  const ended = once(listener, "exit");
  try {
    for (const [id, { pid }] of Object.entries({ first: other, second: listener })) {
      await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).not.toContain("sleep"));
      writeFileSync(at("run", "adsl-test-probe"), `${pid}\n`);
      switchTo(id, content({ bond: id }));
      run(["confirm", id]);
    }
    await ended;
    expect(other.exitCode ?? other.signalCode).toBeNull();
  } finally {
    other.kill();
    listener.kill();
  }
});

test("what was noted of a host's own settings stays noted where the disk is full on the way back", () => {
  deploy();
  const notes = at("lib", "test", "sysctl");
  writeFileSync(notes, "net.ipv4.conf.all.send_redirects=1\n");
  mkdirSync(at("etc", "sysctl.d"), { recursive: true });
  writeFileSync(at("etc", "sysctl.d", "60-adsl-other.conf"), "net.ipv4.conf.all.send_redirects = 0\n");
  symlinkSync("/dev/full", `${notes}.new`);
  switchTo("second", content(anew));
  run(["expire", "second"]);
  expect(run(["status"])).toContain("current generation: first");
  expect(readFileSync(notes, "utf8")).toBe("net.ipv4.conf.all.send_redirects=1\n");
});

test("a key that somebody has opened to others is drift, and is closed by the next change", () => {
  const key = runsWithKey();
  expect(run(["drift"]).trim()).toBe("");
  chmodSync(key, 0o644);
  chmodSync(at("etc", "bond"), 0o666);
  expect(
    run(["drift"])
      .split("\t")
      .map((text) => text.trim()),
  ).toEqual([`${at("etc", "bond")} has another mode or owner`, `${key} is open to others`]);
  switchTo("second", content({ bond: `the same key ${key}\n` }));
  run(["confirm", "second"]);
  expect(run(["drift"]).trim()).toBe("");
  expect(statSync(key).mode & 0o777).toBe(0o600);
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

test("keys that were made for another change, which waits, outlast a confirmation", () => {
  const key = (name: string) => at("etc", "test", "keys", `${name}.key`);
  mkdirSync(at("etc", "test", "keys"), { recursive: true });
  deploy();
  writeFileSync(key("one"), "a key\n");
  switchTo("second", content({ bond: `key ${key("one")}\n` }));
  const soon = Date.now() / 1000 + 5;
  for (const name of ["two", "three"]) {
    writeFileSync(key(name), "a key\n");
    utimesSync(key(name), soon, soon);
  }
  expect(run(["confirm", "second"])).toContain("active: second");
  for (const name of ["one", "two", "three"]) expect(existsSync(key(name)), name).toBe(true);
});

test("texts and keys of a manifest that waits for its turn outlast a confirmation, whenever they were made", () => {
  deploy();
  const key = at("etc", "test", "keys", "two.key");
  mkdirSync(at("etc", "test", "keys"), { recursive: true });
  writeFileSync(key, "a key\n");
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8);
  const waiting = at("lib", "test", `waiting.${boot}.abc`);
  writeFileSync(waiting, stage("third", content({ bond: `key ${key}\n` })));
  // Its time may be any: the clock may have been set since.
  const old = Date.now() / 1000 - 7200;
  utimesSync(waiting, old, old);
  switchTo("second", content({ bond: "another bond\n" }));
  expect(run(["confirm", "second"])).toContain("active: second");
  expect(existsSync(key)).toBe(true);
  expect(existsSync(at("lib", "test", "staged", digest(`key ${key}\n`)))).toBe(true);
  // One that a host's death has left counts for nothing.
  const left = at("lib", "test", "waiting.00000000.abc");
  renameSync(waiting, left);
  switchTo("fourth", content({ bond: "a fourth bond\n" }));
  expect(run(["confirm", "fourth"])).toContain("active: fourth");
  expect(existsSync(key)).toBe(false);
  expect(existsSync(left)).toBe(false);
});

test("a backup whose settings were deleted still knows what it is, and is removed as that", () => {
  deploy();
  run(["setup", "one", "spare"]);
  expect(run(["remove-as", "server"])).toContain("no longer server: nothing was removed");
  rmSync(at("etc", "test"), { recursive: true });
  run(["remove-as", "spare"]);
  expect(readFileSync(at("detached"), "utf8")).toMatch(/adsl-test-remove-\d+ .* remove now$/m);
});

test("a host that leads to the others goes when the far end has gone, and at once where nothing tells of one", () => {
  const removes = () => readFileSync(at("detached"), "utf8").includes(" remove now");
  deploy();
  // The far end's tunnels end one by one.
  write(
    "etc/check",
    `#!/bin/sh\nread -r up <${at("up")}\necho $((up - 1)) >${at("up")}\n[ "$1 $up" != "linked 0" ]\n`,
  );
  writeFileSync(at("up"), "2\n");
  expect(run(["remove-last"])).toContain("waiting until the far end is removed");
  expect(readFileSync(at("up"), "utf8")).toBe("-1\n");
  expect(removes()).toBe(true);
  writeFileSync(at("detached"), "");
  writeFileSync(at("up"), "0\n");
  expect(run(["remove-last"])).not.toContain("waiting");
  expect(removes()).toBe(true);
});

test("a removal beside another that was begun before, or after it, is none that failed", () => {
  deploy();
  // As systemd does: no two units of one name, and no program that is gone.
  write(
    "bin/systemd-run",
    `#!/bin/sh
while [ "$1" != --unit ]; do shift; done
mkdir "${at("run")}/$2" 2>/dev/null && [ -e "$3" ]
`,
  );
  for (let times = 0; times < 2; times++) expect(run(["remove"])).toBe("");
  // The other is done while this one waits for the far end.
  write("etc/check", `#!/bin/sh\nrm ${program}\nexit 1\n`);
  expect(run(["remove-last"])).toBe("");
});

test("a removal that waits, of a destroy that was cut off, spares a site that is being set up again", () => {
  deploy();
  writeFileSync(at("detached"), "");
  // The next `up` begins while the far end's tunnels end.
  write(
    "etc/check",
    `#!/bin/sh\n[ ! -e ${at("asked")} ] || exit 1\ntouch ${at("asked")}\necho text | ${program} stage /etc/file\n`,
  );
  expect(run(["remove-last"])).toContain("the site is being set up again: nothing was removed");
  expect(readFileSync(at("detached"), "utf8")).toBe("");
  expect(run(["remove-last"])).toBe("");
  expect(readFileSync(at("detached"), "utf8")).toMatch(/remove now$/m);
});

test("a generation whose keys have gone since they were made is not armed, and the next look has all made again", () => {
  deploy();
  const key = at("etc", "test", "keys", "one.key");
  writeFileSync(at("lib", "test", "installation"), "one\n");
  const manifest = stage("second", content({ bond: `key ${key}\n` }));
  expect(run(["arm"], manifest)).toContain(`${key} is gone; the next \`pulumi up\` stages all again`);
  expect(run(["installation"])).not.toBe("one\n");
  expect(existsSync(at("lib", "test", "armed"))).toBe(false);
});

test("a manifest that was cut off anywhere on its way is not armed", () => {
  const manifest = stage("first", content());
  const ends = [0, 1, 15, 40, manifest.length / 2, manifest.length - 2, manifest.length - 1];
  for (const end of ends.map(Math.floor)) {
    expect(run(["arm"], manifest.slice(0, end)), manifest.slice(0, end)).toContain("did not arrive whole");
    expect(existsSync(at("lib", "test", "armed"))).toBe(false);
  }
  expect(run(["arm"], manifest)).toContain("armed first");
});

test("where the state is lost the host knows all the same what runs, and can still be changed and cleared", () => {
  deploy();
  rmSync(at("lib", "test"), { recursive: true });
  expect(run(["status"])).toContain("current generation: first");
  rmSync(at("lib", "test"), { recursive: true });
  switchTo("second", content({ "t@one.service": "other keys\n" }));
  expect(told()).toEqual(["restart t@one.service", started]);
  // Going back needs the text that was replaced.
  run(["expire", "second"]);
  expect(readFileSync(at("etc", tunnels[0]!), "utf8")).toBe(`${tunnels[0]}\n`);
  expect(run(["status"])).toContain("current generation: first");
  told();
  rmSync(at("lib", "test"), { recursive: true });
  run(["remove", "now"]);
  const stops = [...[...tunnels].reverse(), "bond.service"].map((name) => `stop ${name}`);
  expect(told().slice(0, stops.length)).toEqual(stops);
  for (const path of [at("etc", "bond"), at("lib", "test"), at("etc", "test"), program])
    expect(existsSync(path), path).toBe(false);
});

test("what came with our packages is switched off, and not what somebody else installs meanwhile, who is waited for", () => {
  mkdirSync(at("dpkg", "updates"), { recursive: true });
  writeFileSync(at("dpkg", "updates", "0001"), "");
  write("bin/dpkg-query", "#!/bin/sh\nexit 1\n");
  write("bin/apt-get", `#!/bin/sh\necho "apt-get $1" >>${at("told")}\n`);
  write(
    "bin/dpkg",
    `#!/bin/sh
case "$*" in
  *--configure*)
    echo x >>${at("tries")}
    [ "$(wc -l <${at("tries")})" -gt 2 ] || { echo "dpkg frontend lock was locked by another process with pid 7" >&2; exit 2; }
    rm ${at("dpkg", "updates", "0001")} ;;
  -L*) echo /usr/lib/systemd/system/openvpn.service ;;
esac
`,
  );
  write(
    "bin/systemctl",
    `#!/bin/sh
case "$*" in
  list-unit-files*) echo "cron.service enabled"; ! grep -q "get -y" ${at("told")} || printf '%s enabled\n' nginx.service openvpn.service ;;
  *disable*) echo "$*" >>${at("told")} ;;
esac
`,
  );
  const said = run(["packages", "openvpn"]);
  expect(said.match(/Another package manager is at work/g)).toHaveLength(2);
  expect(said).toContain("switched off: openvpn.service");
  expect(told()).toEqual(["apt-get update", "apt-get -y", "-q disable --now openvpn.service"]);
});

test("a config file that somebody wrote before its package came is kept: nobody is there to be asked", () => {
  write("bin/dpkg-query", "#!/bin/sh\nexit 1\n");
  write("bin/dpkg", "#!/bin/sh\n");
  // As dpkg does at the end of its input.
  write(
    "bin/apt-get",
    `#!/bin/sh
case "$*" in
  *install*--force-confold*) ;;
  *install*) echo " end of file on stdin at conffile prompt"; exit 100 ;;
esac
`,
  );
  mkdirSync(at("dpkg", "updates"), { recursive: true });
  expect(run(["packages", "nftables"])).toContain("there: nftables");
});

test.each([
  ["a file of the system's", "net.ipv4.ip_forward = 1", "", []],
  ["somebody's masquerading", "", "table ip nat {\n  oifname eth0 masquerade\n}", []],
  [
    "nothing but ours",
    "",
    "table ip adsl_bonding_other {\n  oifname eth0 masquerade\n}",
    ["-q -w net.ipv4.ip_forward=0"],
  ],
])("forwarding that %s wants is left as it is by a removal", (_, file, rules, expected) => {
  deploy();
  writeFileSync(at("lib", "test", "sysctl"), "net.ipv4.ip_forward=0\n");
  write("bin/systemd-analyze", `#!/bin/sh\necho '${file}'\n`);
  write("bin/nft", `#!/bin/sh\necho '${rules}'\n`);
  write("bin/sysctl", `#!/bin/sh\necho "$*" >>${at("set")}\n`);
  run(["remove", "now"]);
  const set = existsSync(at("set")) ? readFileSync(at("set"), "utf8").split("\n").filter(Boolean) : [];
  expect(set).toEqual(expected);
});

test("what goes again after it was mended is another drift than the first time, and a third time, too", () => {
  deploy();
  const drift = () => run(["drift"]).trim();
  const mend = (id: string) => {
    const manifest = stage(id, content()).replace(/^mends .*\n/gm, "");
    run(["arm"], `${manifest.trimEnd()}\nmends ${drift()}\n`);
    for (const step of [["switch", id], ["switch-now"], ["confirm", id]]) run(step);
  };
  const edit = () => writeFileSync(at("etc", "bond"), "edited\n");
  const first = `${at("etc", "bond")} was edited`;
  edit();
  expect(drift()).toBe(first);
  mend("second");
  expect(drift()).toBe(first);
  edit();
  expect(drift()).toBe(`${first}\tonce more`);
  mend("third");
  expect(drift()).toBe(`${first}\tonce more`);
  edit();
  expect(drift()).toBe(first);
});

test("a file that can't be replaced is told before anything stops", () => {
  deploy();
  write("bin/ln", "#!/bin/sh\nexit 1\n");
  switchTo("second", content({ bond: "another\n" }));
  expect(told()).toEqual([]);
  expect(run(["status"])).toMatch(/it can't be placed: .*bond can't be replaced: is it immutable/);
  expect(readFileSync(at("etc", "bond"), "utf8")).toBe("bond\n");
});

test("a package that somebody has removed is named, and a new installation brings it", () => {
  deploy();
  run(["setup", "one"]);
  const known = `[ "$name" = openvpn ] && [ -e ${at("purged")} ] || echo "installed $name"`;
  const query = `for name; do case $name in openvpn | nftables) ${known} ;; esac; done`;
  write("bin/dpkg-query", `#!/bin/sh\n${query}\n`);
  run(["packages", "openvpn", "nftables"]);
  expect(run(["installation"])).toBe("one\n");
  writeFileSync(at("purged"), "");
  expect(run(["installation"])).toBe("");
  expect(run(["drift"])).toContain("the package openvpn is not installed");
  expect(run(["drift"])).not.toContain("nftables");
});

test("a text that is damaged here does not keep a host from going back with all the rest", () => {
  deploy();
  writeFileSync(at("lib", "test", "installation"), "one\n");
  switchTo("second", content({ bond: "another\n", "t@one.service": "other keys\n" }));
  writeFileSync(at("lib", "test", "staged", digest("bond\n")), "bo");
  run(["expire", "second"]);
  expect(readFileSync(at("etc", tunnels[0]!), "utf8")).toBe(`${tunnels[0]}\n`);
  expect(readFileSync(at("etc", "bond"), "utf8")).toBe("another\n");
  expect(run(["status"])).toContain(`drifted: ${at("etc", "bond")} was edited`);
  expect(run(["drift"])).toContain("undone at");
  // The next change has all texts staged again, and ends well.
  expect(run(["installation"])).not.toBe("one\n");
  switchTo("third", content());
  expect(run(["confirm", "third"])).toContain("active: third");
  expect(readFileSync(at("etc", "bond"), "utf8")).toBe("bond\n");
});

test("a host whose own confirmation is lost goes with the far end, where that has been confirmed", () => {
  deploy();
  expect(readFileSync(at("announced"), "utf8")).toBe("first\n");
  const confirmed = (id: string) => {
    writeFileSync(at("heard"), `${id}\n`);
    switchTo("second", content({ "t@one.service": "other keys\n" }));
  };
  // It was not found to work here: what the far end may say doesn't count.
  confirmed("second");
  run(["expire", "second"]);
  expect(run(["status"])).toMatch(/current generation: first\n(.*\n)*last undone: .*not confirmed in time/);
  // The far end tells of another one.
  confirmed("first");
  run(["settle", "second"]);
  run(["expire", "second"]);
  expect(run(["status"])).toMatch(/current generation: first\n(.*\n)*last undone: .*not confirmed in time/);
  confirmed("second");
  run(["settle", "second"]);
  expect(run(["expire", "second"])).toContain("confirmed, as the far end was: second");
  expect(run(["status"])).not.toContain("last undone");
  expect(run(["confirm", "second"])).toContain("active already");
  expect(readFileSync(at("etc", "t@one.service"), "utf8")).toBe("other keys\n");
});

test("what does not start again on the way back is tried on, and no more once it runs", () => {
  deploy();
  switchTo("second", content({ bond: "another\n" }));
  // The bond's unit fails, whatever is tried, until somebody puts that right.
  write(
    "bin/systemctl",
    `#!/bin/sh\necho "$*" >>${at("told")}\ncase "$*" in "-q is-active bond.service") [ -e ${at("mended")} ] ;; esac\n`,
  );
  told();
  expect(run(["expire", "second"])).toContain("not all of it runs again: bond.service");
  expect(run(["status"])).toContain("current generation: first");
  expect(told()).not.toContain("stop adsl-test-revert.timer");
  run(["expire", "second"]);
  const again = told();
  expect(again.filter((words) => /^(re)?start|^stop/.test(words))).toEqual([
    "stop adsl-test-switch.service",
    "start --no-block bond.service",
  ]);
  writeFileSync(at("mended"), "");
  run(["expire", "second"]);
  expect(told()).toContain("stop adsl-test-revert.timer");
  expect(existsSync(at("lib", "test", "idle"))).toBe(false);
});

test("what differs on a host that has undone a change is told beside that", () => {
  deploy();
  switchTo("second", content({ bond: "another\n" }));
  run(["expire", "second"]);
  writeFileSync(at("etc", "bond"), "by hand\n");
  expect(run(["drift"])).toMatch(new RegExp(`^undone at .*\\t${at("etc", "bond")} was edited`));
});

test("a trial whose timer somebody has stopped is undone for the next change", () => {
  deploy();
  switchTo("second", content(anew));
  write("bin/systemctl", "#!/bin/sh\n[ $1 != -q ] || [ $2 != is-active ] || exit 3\n");
  // The timer, as systemd would run it.
  write(
    "bin/systemd-run",
    `#!/bin/sh\necho "$*" >>${at("detached")}\ncase "$*" in *expire*) (flock 9; exec 9>&-; ${program} expire second) 9>>${at("run", "adsl-test.lock")} & ;; esac\n`,
  );
  expect(run(["arm"], stage("third", content({ bond: "another\n" })))).toContain("armed third");
  expect(run(["status"])).toMatch(/last undone: .*generation second: it was not confirmed in time/);
  expect(readFileSync(at("detached"), "utf8")).toMatch(/--on-active 1 .* expire second$/m);
});

test("the time to confirm ends when it was to, however often systemd reads its units anew meanwhile", () => {
  deploy();
  // It began five seconds after the kernel.
  write("bin/systemctl", `#!/bin/sh\n[ "$1" != show ] || echo 5000000\n`);
  writeFileSync(at("detached"), "");
  switchTo("second", content(anew), 60);
  const [, fromStart] = /--on-active 60 --on-startup (\d+) /.exec(readFileSync(at("detached"), "utf8"))!;
  const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  expect(Math.abs(Number(fromStart) - (uptime - 5 + 61))).toBeLessThan(20);
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

test("a unit that stops is told whether another text of it follows at once, and nothing of that is left", () => {
  deploy();
  const flag = at("run", "adsl-test-replaced");
  write(
    "bin/systemctl",
    `#!/bin/sh\n[ "$1" != stop ] || echo "$2 $([ ! -e ${flag} ] || echo follows)" >>${at("told")}\n`,
  );
  const other = content({ bond: "another bond\n" });
  other.units = other.units.filter(({ name }) => name !== "t@three.service");
  switchTo("second", other);
  const stopped = () => told().filter((line) => !line.startsWith("adsl-test-"));
  expect(stopped()).toEqual(["t@three.service ", "bond.service follows"]);
  run(["confirm", "second"]);
  writeFileSync(flag, "");
  run(["remove", "now"]);
  expect(stopped()).toContain("bond.service ");
  expect(existsSync(flag)).toBe(false);
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

test("what was added to a unit by hand is named, and goes with a restart of that one alone", () => {
  deploy();
  const folders = ["units", "run/systemd/system.control"].map((place) => at(place, "t@three.service.d"));
  // What is meant for other units too stays.
  for (const folder of [...folders, at("units", "service.d")]) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "override.conf"), "[Service]\nNice=5\n");
  }
  expect(run(["drift"])).toContain(
    folders
      .map((folder) => `${folder}/override.conf was added`)
      .sort()
      .join("\t"),
  );
  switchTo("second", content());
  expect(told()).toEqual(["restart t@three.service", started]);
  expect([...folders, at("units", "service.d")].map(existsSync)).toEqual([false, false, true]);
});

test("what was added to the unit of all tunnels makes each of them run on something else", () => {
  deploy();
  mkdirSync(at("units", "t@.service.d"));
  writeFileSync(at("units", "t@.service.d", "override.conf"), "[Service]\nNice=5\n");
  switchTo("second", content());
  expect(told()).toEqual([
    "restart t@one.service",
    "restart t@two.service t@two-2.service",
    "restart t@three.service",
    started,
  ]);
  expect(existsSync(at("units", "t@.service.d"))).toBe(false);
});
