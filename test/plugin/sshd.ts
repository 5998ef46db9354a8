// A real SSH server on loopback, of the test's own: its port, its keys, its configuration, all in one folder.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";

/** How to reach a running server, and how to end it. */
export interface Sshd {
  /** A connection as the command plugin takes it: pinned host key, private key, two retries. */
  connection: {
    host: string;
    port: number;
    user: string;
    privateKey: string;
    hostKey: string;
    dialErrorLimit: number;
  };
  /** What the server has logged so far. */
  log(): string;
  stop(): void;
}

/** Makes a key pair without a passphrase, or with one, and returns the private file's path. */
export function makeKey(path: string, passphrase = "", type = "ed25519"): string {
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-C", "test", "-f", path]);
  return path;
}

/**
 * Starts a server that lets this process's own user in with the folder's key, and waits until it answers.
 * @param types of its host keys; the connection pins the first
 */
export async function startSshd(folder: string, types = ["ed25519"]): Promise<Sshd> {
  const program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].find(existsSync);
  if (!program) throw new Error("sshd is missing: apt-get install openssh-server");
  // Root's sshd insists on this folder, which only its init script makes.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  const hostKeys = types.map((type) => makeKey(join(folder, `host_${type}`), "", type));
  const userKey = makeKey(join(folder, "user"));
  writeFileSync(join(folder, "authorized_keys"), readFileSync(`${userKey}.pub`), { mode: 0o600 });
  const port = await freePort();
  writeFileSync(
    join(folder, "sshd_config"),
    `ListenAddress 127.0.0.1:${port}
${hostKeys.map((file) => `HostKey ${file}`).join("\n")}
AuthorizedKeysFile ${join(folder, "authorized_keys")}
StrictModes no
PidFile none
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
AcceptEnv GREETING PULUMI_COMMAND_*
`,
  );
  const logFile = join(folder, "sshd.log");
  const server = spawn(program, ["-D", "-f", join(folder, "sshd_config"), "-E", logFile], {
    stdio: "ignore",
  });
  await answers(port, server, logFile);
  return {
    connection: {
      host: "127.0.0.1",
      port,
      user: userInfo().username,
      privateKey: readFileSync(userKey, "utf8"),
      hostKey: readFileSync(`${hostKeys[0]}.pub`, "utf8"),
      dialErrorLimit: 2,
    },
    log: () => readFileSync(logFile, "utf8"),
    stop: () => server.kill(),
  };
}

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address ? address.port : 0;
}

async function answers(port: number, server: ChildProcess, logFile: string) {
  for (let tries = 0; tries < 100; tries++) {
    const open = await new Promise((done) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => done(true));
      socket.once("error", () => done(false));
      socket.once("close", () => socket.destroy());
      setTimeout(() => socket.end(), 20);
    });
    if (open) return;
    if (server.exitCode !== null) throw new Error(`sshd ended: ${readFileSync(logFile, "utf8")}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error("sshd does not answer");
}
