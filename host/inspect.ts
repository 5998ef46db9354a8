import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ssh } from "../site/schema.ts";
import { expandHome } from "./host.ts";

/** What a look at a host brought: its facts, or why it could not be looked at. */
export interface Observation {
  host: string;
  /** Values told by the script; a key may come several times. Empty when the host was not reached. */
  facts: Map<string, string[]>;
  /** Why there are no facts, in words for a person. */
  unreachable?: string;
}

/** Which host to look at, with what. */
export interface Look {
  host: string;
  address: string;
  ssh: Ssh;
  /** A shell script that tells `key=value` lines, the last of them `end=yes`. */
  script: string;
  environment: Record<string, string>;
}

/** What is needed to log in to a host. */
export type Login = Omit<Ssh, "jump">;

/** The most that one look may take, milliseconds: an old Pi has much to do, and half a minute may go by for a change under way. */
const limit = 120_000;

/**
 * Looks at a host through the system's own ssh client, so that a preview can tell what stands there. Nothing
 * is accepted but the pinned host key; a mismatch is told with both fingerprints.
 */
export async function inspect(look: Look): Promise<Observation> {
  const { host, ssh, script, environment } = look;
  const folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
  try {
    const variables = Object.entries(environment).map(([name, value]) => `${name}='${value}'`);
    const shell = `${ssh.user === "root" ? "" : "env LC_ALL=C sudo -n "}env ${variables.join(" ")} sh -s`;
    // The greeting of a login shell may have no end of line, and would take the first fact with it.
    const words = [...sshArguments(look, folder), shell];
    const { stdout, stderr, failed } = await run("ssh", words, `echo\n${script}`);
    const facts = parseFacts(stdout);
    if (facts.has("end")) return { host, facts };
    return { host, facts: new Map(), unreachable: explain(look, stderr || failed) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function parseFacts(text: string): Map<string, string[]> {
  const facts = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^([a-z_]+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined) facts.set(key, [...(facts.get(key) ?? []), value!]);
  }
  return facts;
}

/** The fingerprint of a public host key as ssh shows it. */
export function fingerprint(hostKey: string): string {
  const blob = Buffer.from(hostKey.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function sshArguments({ ssh, address }: Look, folder: string): string[] {
  const login = loginArguments(ssh, ssh.host ?? address, join(folder, "host"));
  return ssh.jump ? [...throughArguments(ssh.jump, folder), ...login] : login;
}

/** ssh's arguments for going through a host whose key is pinned; the folder holds what must outlast the call. */
export function throughArguments(jump: Login & { host: string }, folder: string): string[] {
  const through = loginArguments(jump, jump.host, join(folder, "jump"));
  // A shell reads it, when ssh has put in what its `%` ask for.
  const words = through.map((word) => word.replaceAll("%", "%%").replaceAll("'", "'\\''"));
  const proxy = ["ssh", "-W", "[%h]:%p", ...words].map((word) => `'${word}'`).join(" ");
  return ["-o", `ProxyCommand=${proxy}`];
}

function loginArguments(login: Login, host: string, knownHosts: string): string[] {
  writeFileSync(knownHosts, `pinned ${login.hostKey}\n`);
  const options = {
    BatchMode: "yes",
    ConnectTimeout: "30",
    StrictHostKeyChecking: "yes",
    UserKnownHostsFile: asOneWord(knownHosts),
    GlobalKnownHostsFile: "none",
    HostKeyAlias: "pinned",
    HostKeyAlgorithms: login.hostKey.split(" ")[0]!,
    LogLevel: "ERROR",
    ServerAliveInterval: "10",
    // Without one the agent's keys serve, as they do with Pulumi's plugin, which knows of no default files.
    ...(login.privateKeyFile
      ? { IdentityFile: asOneWord(expandHome(login.privateKeyFile)), IdentitiesOnly: "yes" }
      : { IdentityFile: "none" }),
  };
  return [
    ...["-F", "none"],
    ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
    ...["-p", String(login.port), "-l", login.user, host],
  ];
}

/** A path as ssh's options take it: spaces would part it, and `%` begins what ssh puts in. */
function asOneWord(path: string): string {
  return `"${path.replaceAll("%", "%%")}"`;
}

function explain({ host, ssh, address }: Look, stderr: string): string {
  const who = `${ssh.user}@${ssh.host ?? address} port ${ssh.port}`;
  const offered = /key sent by the remote host is\s+(SHA256:\S+?)\.?\s/.exec(stderr)?.[1];
  if (offered) {
    const pins = [ssh, ...(ssh.jump ? [ssh.jump] : [])].map((login) => fingerprint(login.hostKey));
    return `it showed the host key ${offered}, but the config pins ${pins.join(" and, for its jump host, ")}. If the host was made anew, npm run pin writes its new key into the ssh.hostKey of ${host}; if not, somebody stands between`;
  }
  if (/a password is required|is not in the sudoers/.test(stderr)) {
    return `${ssh.user} can't use sudo there without a password; allow it, or log in as root`;
  }
  const other = /no matching host key type found\. Their offer: (.*)/.exec(stderr)?.[1];
  if (other) {
    return `it has no host key of the type that the config pins any more, but ${other.trim()}. If the host was made anew, or its sshd was told so, npm run pin writes one of these into the ssh.hostKey of ${host}`;
  }
  const last = stderr.trim().split("\n").at(-1);
  const hint =
    /Permission denied/.test(stderr) && !ssh.privateKeyFile
      ? ". Is your key in the agent (ssh-add -l)? If you have none, write ssh.privateKeyFile"
      : "";
  return `no login as ${who}${ssh.jump ? ` through ${ssh.jump.host}` : ""}: ${last}${hint}`;
}

export function run(file: string, args: string[], stdin: string) {
  return new Promise<{ stdout: string; stderr: string; failed: string }>((resolve) => {
    const child = execFile(file, args, { timeout: limit }, (error, stdout, stderr) => {
      const missing = error && "code" in error && error.code === "ENOENT";
      // A login shell that refuses, as nologin, says so on its output.
      const last = stdout.trim().split("\n").at(-1);
      const ended = error?.killed
        ? "it did not answer in time"
        : `it was ended there${last ? `: ${last}` : ""}`;
      const failed = missing ? "there is no ssh client here; install openssh-client" : ended;
      resolve({ stdout, stderr, failed });
    });
    child.stdin?.on("error", () => {}); // a host that hangs up at once: stderr says why
    child.stdin?.end(stdin);
  });
}
