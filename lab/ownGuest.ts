import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { archive } from "./cpio.ts";
import {
  acceleration,
  card,
  computer,
  emulatorProcess,
  endEmulator,
  type GuestPlan,
  kernelWords,
  labEntries,
  runFolder,
  startEmulator,
  textEntry,
} from "./guest.ts";
import { attempt, guestFiles, LabError, pause, type Result, type RunOptions, run } from "./system.ts";

// A host that is a guest of its own, for what a container can't show: modules of its own, a true power cut,
// NetworkManager and udev at work on its card. Its cable ends in a card of the lab's guest, which plugs it into the
// bridge where the container would be. It is reached by its own sshd alone, as a person would reach it.

const memoryMegabytes = 1024;

/** Starts it; without a disk, because it is new or was wiped, on a copy of the image. */
export async function startOwnGuest(plan: GuestPlan, name: string): Promise<void> {
  const disk = join(runFolder, `${name}.disk`);
  if ((await attempt("test", ["-e", disk])).code !== 0) {
    await run("cp", ["--sparse=always", "--reflink=auto", plan.images.ownGuest!, `${disk}.part`]);
    await run("mv", [`${disk}.part`, disk]);
  }
  const initrd = join(runFolder, `${name}.initrd`);
  const whole = await readFile(plan.images.initrd);
  await writeFile(initrd, Buffer.concat([whole, archive(await entries(plan, name))]), { mode: 0o600 });
  const mac = `02:1b:00:00:00:0${plan.ownGuests.indexOf(name) + 1}`;
  await startEmulator(name, [
    ...[...computer, "-accel", await acceleration(), "-smp", "1", "-m", String(memoryMegabytes)],
    ...["-kernel", plan.images.kernel, "-initrd", initrd, "-append", kernelWords],
    ...["-drive", `file=${disk},format=raw,if=virtio`],
    ...["-drive", `file=${plan.images.guest},format=raw,if=virtio,readonly=on`],
    ...card(`${name}.host`, `${name}.lab`, mac),
  ]);
}

/** Its first root: the guest's, with another first program, and only what is this host's own. */
async function entries(plan: GuestPlan, name: string) {
  const wanted = [`lab/keys/${name}`, `lab/keys/${name}.pub`, "lab/keys/lab.pub", "lab/dress.sh"];
  const all = await labEntries(plan);
  return [
    { path: "init", mode: 0o755, data: await readFile(join(guestFiles, "own-init.sh")) },
    textEntry("lab/name", `${name}\n`),
    ...all.filter(({ path }) => wanted.includes(path) || path.startsWith(`lab/hosts/${name}/`)),
  ];
}

/** Cuts its power: what it had not yet given to its disk is lost. */
export async function killOwnGuest(name: string): Promise<void> {
  await endEmulator(name, "SIGKILL");
  await hangUp(name);
}

/** Throws its disk away; it must be off. */
export async function wipeOwnGuest(name: string): Promise<void> {
  await rm(join(runFolder, `${name}.disk`), { force: true });
}

/** Reboots it in order; comes back as soon as it has begun to boot anew and answers. */
export async function rebootOwnGuest(name: string, timeoutSeconds: number): Promise<void> {
  const bootId = () => onOwnGuest(name, "cat /proc/sys/kernel/random/boot_id", { timeoutSeconds: 30 });
  const before = (await bootId()).stdout;
  await onOwnGuest(name, "systemctl reboot", { timeoutSeconds: 30 });
  await hangUp(name);
  const end = Date.now() + timeoutSeconds * 1000;
  for (;;) {
    const { code, stdout } = await bootId();
    if (code === 0 && stdout !== before) return;
    if (Date.now() > end) throw new LabError(`the host ${name} does not reboot`);
    await pause(1);
  }
}

/** Whether it runs, in the word that systemd has for the other hosts. */
export async function ownGuestState(name: string): Promise<string> {
  return (await emulatorProcess(name)) ? "active" : "inactive";
}

/** Runs words on it as root, by a login that all share as long as it lives. */
export async function onOwnGuest(name: string, words: string, options: RunOptions = {}): Promise<Result> {
  const shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=yes"];
  const args = [...login(name), ...shared, "-T", name, `sudo -n ${words}`];
  return attempt("ssh", args, { ...options, cwd: runFolder });
}

function login(name: string): string[] {
  return ["-F", "ssh_config", "-S", `${name}.mux`];
}

/** Ends the shared login, which a host without power can't. */
async function hangUp(name: string): Promise<void> {
  await attempt("ssh", [...login(name), "-O", "exit", name], { cwd: runFolder, timeoutSeconds: 10 });
}
