import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Everything the lab makes stands here, out of git's sight. */
export const home = join(dirname(dirname(fileURLToPath(import.meta.url))), ".lab");

/** The folder of the files that go into the guest. */
export const guestFiles = join(dirname(fileURLToPath(import.meta.url)), "guest");

/** What a command left behind. */
export type Result = { code: number; stdout: string; stderr: string };

/** How to run a command. */
export type RunOptions = {
  cwd?: string;
  env?: Record<string, string>;
  /** Sent to the command's standard input, which is empty otherwise. */
  stdin?: string;
  /** The command's group is killed, as by a power cut, when this is aborted; or gets the signal that is the reason. */
  signal?: AbortSignal;
  /** The command is killed after this time, and its code is 124 then, as timeout(1) has it. */
  timeoutSeconds?: number;
};

const began = Date.now();

/** Prints one line of progress, with the time since the program began. */
export function step(text: string): void {
  const seconds = ((Date.now() - began) / 1000).toFixed(1).padStart(5);
  process.stderr.write(`[${seconds} s] ${text}\n`);
}

/** An error whose message is all the reader needs: no stack is shown for it. */
export class LabError extends Error {}

/** Runs a command to its end, whatever its exit code. */
export function attempt(command: string, args: string[], options: RunOptions = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      // A group of its own, so that it can be killed with all that it has started.
      detached: options.signal !== undefined,
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let late = false;
    const timer =
      options.timeoutSeconds === undefined
        ? undefined
        : setTimeout(() => {
            late = true;
            child.kill("SIGKILL");
            // A grandchild may hold the pipes open: their end is not waited for.
            child.stdout?.destroy();
            child.stderr?.destroy();
          }, options.timeoutSeconds * 1000);
    options.signal?.addEventListener("abort", () => {
      const { reason } = options.signal!;
      process.kill(-child.pid!, typeof reason === "string" ? (reason as NodeJS.Signals) : "SIGKILL");
    });
    child.stdout?.on("data", (data) => stdout.push(data));
    child.stderr?.on("data", (data) => stderr.push(data));
    child.stdin?.on("error", () => {}); // the command may not want all of it
    child.stdin?.end(options.stdin);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new LabError(`cannot run ${command}: ${error.message}`));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({
        code: late ? 124 : (code ?? 255),
        stdout: Buffer.concat(stdout).toString(),
        stderr:
          Buffer.concat(stderr).toString() + (late ? `no end within ${options.timeoutSeconds} s\n` : ""),
      });
    });
  });
}

/** Runs a command that must succeed; gives its standard output. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(command, args, options);
  if (code === 0) return stdout;
  const words = `${stderr}${stdout}`.trim().split("\n").slice(-20).join("\n");
  throw new LabError(`${command} ${args.join(" ")} ended with ${code}:\n${words}`);
}

/** Whether a program is on the path, or where root's programs are. */
export function installed(program: string): boolean {
  const path = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
  return path.split(":").some((folder) => existsSync(join(folder, program)));
}

/** A short digest of anything that JSON can hold. */
export function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 12);
}

/** Waits. */
export function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
