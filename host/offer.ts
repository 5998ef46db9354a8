import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Login, run, throughArguments } from "./inspect.ts";

/** What a host answered when it was asked for its key: the key, or why there is none. */
export type Offer = { hostKey: string } | { unreachable: string };

/** Host keys that the config takes, in the order in which the command plugin's SSH client asks for them. */
const preferred = ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519"];

/**
 * Asks a host for its key through the system's own ssh client, and logs in to nothing but the jump host on the way.
 * @param first the type to ask for before all others: that of the key which is pinned
 */
export async function offeredKey(
  login: { host: string; port: number },
  jump?: Login & { host: string },
  first?: string,
): Promise<Offer> {
  const folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
  const known = join(folder, "shown");
  const types = new Set([...(first ? [first] : []), ...preferred]);
  const options = {
    BatchMode: "yes",
    ConnectTimeout: "15",
    // It writes the key down before anybody logs in, and nobody does.
    StrictHostKeyChecking: "accept-new",
    PreferredAuthentications: "none",
    UserKnownHostsFile: known,
    GlobalKnownHostsFile: "none",
    HostKeyAlias: "shown",
    HashKnownHosts: "no",
    UpdateHostKeys: "no",
    HostKeyAlgorithms: [...types].join(),
    LogLevel: "ERROR",
  };
  const words = [
    ...["-F", "none"],
    ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
    ...(jump ? throughArguments(jump, folder) : []),
    ...["-p", String(login.port), "-l", "nobody", login.host, "true"],
  ];
  try {
    const { stderr, failed } = await run("ssh", words, "");
    const hostKey = /^shown (\S+ \S+)/m.exec(written(known))?.[1];
    return hostKey ? { hostKey } : { unreachable: stderr.trim().split("\n").at(-1) || failed };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function written(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // ssh did not come so far
  }
}
