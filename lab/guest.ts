import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { join, relative } from "node:path";
import { archive, type Entry } from "./cpio.ts";
import { type Images, kvmWorks } from "./image.ts";
import {
  attempt,
  digest,
  guestFiles,
  home,
  LabError,
  pause,
  type Result,
  type RunOptions,
  run,
} from "./system.ts";

/**
 * The guest's clock. Virtual: one instruction is one nanosecond, so the guest is a machine of constant speed whatever
 * the one below does, and every rate or time it measures can be asserted on. Real: quicker, for what only functions.
 */
export type Clock = "virtual" | "real";

/** How long an emulator lives when nobody ends it. */
const lifetime = "4h";
const memoryMegabytes = 3072;

/** The running guest's files; commands run here, since a socket's path must be short. */
export const runFolder = join(home, "run");
/** The guest's own name among the emulators of a run. */
const guestName = "guest";
const states = join(home, "states");

/** What a guest is started with. */
export type GuestPlan = {
  images: Images;
  clock: Clock;
  files: Record<string, string>;
  keys: string;
  /** The hosts that are guests of their own (ownGuest.ts): each one's cable comes in by a card of this guest. */
  ownGuests: string[];
};

/** A digest of all that makes the guest what it is, once it has booted. */
export async function guestDigest(plan: GuestPlan): Promise<string> {
  const entries = await labEntries(plan);
  const contents = entries.map(({ path, data }) => [path, data.toString("base64")]);
  return digest([plan.images.digest, contents, await machine(plan)]);
}

/** The guest's process, when it runs. */
export function guestProcess(): Promise<number | undefined> {
  return emulatorProcess(guestName);
}

/** An emulator of this run by its name, when it runs: the leader of its process group. */
export async function emulatorProcess(name: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(join(runFolder, `${name}.pid`), "utf8"));
    // Numbers are used again after a restart of the machine: it must be the emulator, and this folder's.
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8");
    return command.includes("qemu-system") && command.includes(home) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Starts an emulator, which leaves NAME.pid, NAME.log and its console's NAME.serial.log in the folder of the run. */
export async function startEmulator(name: string, args: string[]): Promise<void> {
  const log = openSync(join(runFolder, `${name}.log`), "w");
  const words = [...args, "-name", `adsl-bonding-${name}`, "-serial", `file:${name}.serial.log`];
  const child = spawn("timeout", ["-k", "10", lifetime, "qemu-system-x86_64", ...words], {
    cwd: runFolder,
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.unref();
  await writeFile(join(runFolder, `${name}.pid`), String(child.pid));
}

/** Ends an emulator, if it runs: "SIGKILL" is its power cord. */
export async function endEmulator(name: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  const pid = await emulatorProcess(name);
  if (!pid) return;
  process.kill(-pid, signal);
  for (let tries = 0; (await emulatorProcess(name)) && tries < 100; tries++) await pause(0.1);
}

/** Starts the guest: from its kept state where there is one, else from its kernel. Says which. */
export async function startGuest(plan: GuestPlan, port: number, name: string): Promise<"kept" | "booted"> {
  const initrd = join(runFolder, "initrd");
  const state = join(states, name);
  const kept = await hasState(name);
  // States are dropped by age: one that is used is young.
  if (kept) await utimes(state, new Date(), new Date());
  await writeFile(
    initrd,
    Buffer.concat([await readFile(plan.images.initrd), archive(await labEntries(plan))]),
    { mode: 0o600 },
  );
  const args = [
    ...(await machine(plan)),
    ...["-kernel", plan.images.kernel, "-initrd", initrd],
    ...["-drive", `file=${plan.images.guest},format=raw,if=virtio,readonly=on`],
    ...["-drive", `file=${plan.images.hosts},format=raw,if=virtio,readonly=on`],
    // Nothing but the forwarded port passes: the guest sees no network of the machine, nor of anyone else.
    ...["-netdev", `user,id=up,restrict=on,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:22`],
    ...["-device", "virtio-net-pci,netdev=up"],
    ...plan.ownGuests.flatMap((name) => card(`${name}.lab`, `${name}.host`)),
    ...["-no-reboot", "-qmp", "unix:qmp,server=on,wait=off"],
    ...(kept ? ["-incoming", `exec:cat '${relative(runFolder, state)}'`] : []),
  ];
  await startEmulator(guestName, args);
  return kept ? "kept" : "booted";
}

/** Ends the guest, the hosts that are guests of their own, and the connection to it. */
export async function stopGuest(): Promise<void> {
  await attempt("ssh", [...mux, "-O", "exit", "guest"], { cwd: runFolder, timeoutSeconds: 10 }).catch(
    () => {},
  );
  const files = await readdir(runFolder).catch(() => []);
  const names = files.filter((file) => file.endsWith(".pid")).map((file) => file.slice(0, -".pid".length));
  await Promise.all(names.map((name) => endEmulator(name, "SIGTERM")));
  await rm(runFolder, { recursive: true, force: true });
}

/** Keeps the guest's whole state, for the next start. The guest stands still meanwhile. */
export async function keepState(name: string): Promise<void> {
  // Some 300 MB each: one for each clock, and one to spare.
  const dated = await Promise.all(
    (await readdir(states)).map(async (old) => ({ old, time: (await stat(join(states, old))).mtimeMs })),
  );
  for (const { old } of dated.sort((one, other) => other.time - one.time).slice(2)) {
    await rm(join(states, old), { force: true });
  }
  const file = join(states, name);
  const part = relative(runFolder, `${file}.part`);
  const monitor = await openMonitor();
  try {
    await monitor.ask("stop");
    await monitor.ask("migrate-set-parameters", { "max-bandwidth": 4 * 2 ** 30 });
    await monitor.ask("migrate", { uri: `exec:cat > '${part}'` });
    for (let tries = 0; ; tries++) {
      const { status } = (await monitor.ask("query-migrate")) as { status: string };
      if (status === "completed") break;
      if (status === "failed" || status === "cancelled" || tries > 1200) {
        throw new LabError(`the guest's state cannot be kept: ${status}`);
      }
      await pause(0.1);
    }
    await rename(`${file}.part`, file);
  } finally {
    await monitor.ask("cont").catch(() => {});
    monitor.close();
  }
}

/** Whether there is a kept state of that name. */
export async function hasState(name: string): Promise<boolean> {
  return (await stat(join(states, name)).catch(() => undefined)) !== undefined;
}

/** Forgets a kept state. */
export async function dropState(name: string): Promise<void> {
  await rm(join(states, name), { force: true });
}

/** Lets a guest run that was started from its kept state, once all of that is read. */
export async function wake(): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    await pause(0.1);
    const monitor = await openMonitor().catch(() => undefined);
    const { status } = ((await monitor?.ask("query-status")) ?? {}) as { status?: string };
    if (status === "paused" || status === "postmigrate") await monitor?.ask("cont");
    monitor?.close();
    if (status === "running") return;
  }
  throw new LabError(`the guest does not wake (see ${join(runFolder, `${guestName}.log`)})`);
}

type Monitor = { ask(command: string, words?: object): Promise<unknown>; close(): void };

/** The emulator's monitor: one JSON object a line, each question answered before the next. */
async function openMonitor(): Promise<Monitor> {
  // A socket's path has some hundred bytes at most: this one is short wherever the project is.
  const folder = openSync(runFolder, "r");
  const socket = createConnection(`/proc/self/fd/${folder}/qmp`);
  const waiting: { resolve(value: unknown): void; reject(error: Error): void }[] = [];
  let rest = "";
  socket.on("error", (error) => waiting.shift()?.reject(error));
  socket.on("data", (data) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const answer = JSON.parse(line);
      if ("return" in answer) waiting.shift()?.resolve(answer.return);
      if ("error" in answer) waiting.shift()?.reject(new LabError(answer.error.desc));
    }
  });
  const monitor: Monitor = {
    ask: (command, words) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        socket.write(`${JSON.stringify({ execute: command, arguments: words })}\n`);
      }),
    close: () => {
      socket.destroy();
      closeSync(folder);
    },
  };
  try {
    await monitor.ask("qmp_capabilities");
  } catch (error) {
    monitor.close();
    throw error;
  }
  return monitor;
}

/** The emulated machine itself: what a kept state must find again as it was. */
async function machine({ clock }: GuestPlan): Promise<string[]> {
  const speed =
    clock === "virtual"
      ? ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on", "-smp", "1"]
      : ["-accel", await acceleration(), "-smp", "2"];
  return [
    ...[...computer, ...speed, "-m", String(memoryMegabytes)],
    ...["-append", `${kernelWords} systemd.unit=lab.target`],
  ];
}

/**
 * What all emulated machines have in common. Their processor has AES, but neither AVX nor XSAVE: those are what
 * software emulation is slowest at (a Pulumi up took twice the time with QEMU's "max"), and nothing here gains by them.
 */
export const computer = [
  "-machine",
  "q35",
  "-cpu",
  "Westmere",
  "-display",
  "none",
  "-vga",
  "none",
  "-nodefaults",
];
export const kernelWords =
  "console=ttyS0 quiet mitigations=off net.ifnames=0 apparmor=0 selinux=0 cryptomgr.notests random.trust_cpu=on panic=-1";

/** How an emulator of the real clock runs. */
export async function acceleration(): Promise<string> {
  return (await kvmWorks()) ? "kvm" : "tcg,thread=multi";
}

/**
 * A network card whose cable goes to another emulator's, by a pair of sockets in the folder of the run: either end may
 * come and go.
 */
export function card(here: string, there: string, mac?: string): string[] {
  const ends = `local.type=unix,local.path=${here},remote.type=unix,remote.path=${there}`;
  return [
    ...["-netdev", `dgram,id=${here},${ends}`],
    ...["-device", ["virtio-net-pci", `netdev=${here}`, ...(mac ? [`mac=${mac}`] : [])].join(",")],
  ];
}

/** Everything of the lab's own that the guest finds under /lab; a host that is a guest of its own takes its part of it. */
export async function labEntries({ files, keys }: Pick<GuestPlan, "files" | "keys">): Promise<Entry[]> {
  const entries = Object.entries(files).map(([path, text]) => textEntry(`lab/${path}`, text));
  for (const [folder, under] of [
    [guestFiles, "lab"],
    [keys, "lab/keys"],
  ] as const) {
    for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const path = join(file.parentPath, file.name);
      // The lab's own private key opens the hosts: it stays outside of them.
      if (path === join(keys, "lab")) continue;
      const mode = (await stat(path)).mode & 0o777;
      entries.push({ path: join(under, relative(folder, path)), mode, data: await readFile(path) });
    }
  }
  return entries.sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** A file of an archive, by its text. */
export function textEntry(path: string, text: string): Entry {
  return { path, mode: 0o644, data: Buffer.from(text) };
}

/** A port of the loopback that nobody listens on: the wanted one, if it can be had. */
export function freePort(wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", (error) => (wanted === 0 ? reject(error) : resolve(freePort())));
    server.listen(wanted, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

const mux = ["-F", "ssh_config", "-S", "mux"];

/** Opens the one connection that all commands to the guest share; tries until the guest answers. */
export async function connect(timeoutSeconds: number): Promise<void> {
  const end = Date.now() + timeoutSeconds * 1000;
  while ((await attempt("ssh", [...mux, "-O", "check", "guest"], { cwd: runFolder })).code !== 0) {
    if (!(await guestProcess())) {
      const log = await readFile(join(runFolder, `${guestName}.log`), "utf8").catch(() => "");
      throw new LabError(`the guest has ended\n${log.trim()}`);
    }
    if (Date.now() > end)
      throw new LabError(`the guest does not answer (see ${join(runFolder, `${guestName}.serial.log`)})`);
    await rm(join(runFolder, "mux"), { force: true });
    const code = await new Promise((resolve) => {
      spawn("ssh", [...mux, "-M", "-N", "-f", "-o", "ConnectTimeout=10", "guest"], {
        cwd: runFolder,
        stdio: "ignore",
      }).on("close", resolve);
    });
    if (code !== 0) await pause(0.3);
  }
}

/** Runs words in the guest as root, through a shell there. */
export async function inGuest(command: string, options: RunOptions = {}): Promise<Result> {
  return attempt("ssh", [...mux, "-T", "guest", command], { ...options, cwd: runFolder });
}

/** One word for a shell, whatever is in it. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** The command must succeed. */
export async function mustInGuest(command: string, options: RunOptions = {}): Promise<string> {
  return run("ssh", [...mux, "-T", "guest", command], { ...options, cwd: runFolder });
}
