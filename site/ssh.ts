import { isIPv6 } from "node:net";
import { z } from "zod";
import { contains, isAddress, specialRange } from "./address.ts";
import { judged, told, type Verdict, whole } from "./fields.ts";
import { hostKey } from "./hostKey.ts";
import { asRecord, type Raw, rawServers } from "./raw.ts";

const host = judged((value): Verdict => {
  const reason = "is neither an address nor a name of a host";
  const mend =
    "Write what ssh is given, such as 192.168.1.252 or pi.example.net; port and user have fields of their own.";
  if (typeof value !== "string") return { reason, mend };
  const [, user, name = "", port] = /^(?:([^@]*)@)?(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(value) ?? [];
  const more = [...(user ? ["user"] : []), ...(port ? ["port"] : [])];
  if (isHost(name) && more.length > 0) {
    const fields = more.map((each) => `\`${each}\``).join(" and ");
    return {
      reason: `holds the ${more.join(" and the ")} too`,
      mend: `Write ${name.replace(/^\[|\]$/g, "")}, and the rest in ${fields} beside it.`,
      // Before the @ there may be a password behind the user.
      hidden: user?.includes(":"),
    };
  }
  if (value.startsWith("[") && isHost(value)) {
    return { reason: "stands in brackets", mend: `Write ${value.slice(1, -1)}.` };
  }
  const special = isAddress(value) ? specialRange(value) : undefined;
  if (special && !contains("127.0.0.0/8", value)) return { reason: special, mend };
  if (isHost(value)) return undefined;
  return { reason, mend, hidden: value.includes("@") };
});

/** A name, an IPv4 address, or an IPv6 one, in brackets too. */
function isHost(text: string): boolean {
  // What is all numbers and dots is an address, and not a name, if it is any.
  if (/^[0-9.]+$/.test(text)) return isAddress(text);
  return /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text) || isIPv6(text.replace(/^\[(.*)\]$/, "$1"));
}

const login = {
  /** Address or name that SSH connects to. Default: the host's own address. */
  host: host.optional(),
  /** TCP port of its sshd. Default 22. */
  port: whole(1, 65535, "a port").default(22),
  /** Who logs in: root, or somebody whose sudo asks for no password. Default root. */
  user: judged((value): Verdict => {
    if (typeof value === "string" && /^[a-z_][a-z0-9_.-]*$/i.test(value)) return undefined;
    return {
      reason: "is no name of a user",
      mend: "Write the name that ssh logs in with, such as root or pi.",
      // Behind it there may be a password.
      hidden: typeof value === "string" && value.includes(":"),
    };
  }).default("root"),
  /** File with the private key, `~` allowed. Default: the keys of the running ssh-agent. */
  privateKeyFile: told(
    // `~` is the only word of a shell's that is read.
    (value) => value !== "" && !/\n|-----BEGIN|\.pub$|^~[^/]|^\$|\/$/.test(value),
    "is no name of a private key's file",
    "Write the path of your SSH key's file, such as ~/.ssh/id_ed25519, the one without .pub, never the key itself; or leave it out to use ssh-agent.",
    true,
  ).optional(),
  /** The host's public key, `ssh-ed25519 AAAA…`: nothing else is ever accepted as this host. */
  hostKey,
};

/** The ports by which the servers are reached, as far as the config is well formed. */
export function loginPorts(site: Raw): { port: number; whose: string }[] {
  return rawServers(site).flatMap(({ path, raw }) => {
    const port = asRecord(raw.ssh).port ?? 22;
    return typeof port === "number"
      ? [{ port, whose: path === "server" ? "the server's" : `${path}'s` }]
      : [];
  });
}

/** How the operator's machine reaches a host. */
export const ssh = z.strictObject({
  ...login,
  /** A host to go through on the way, as with `ssh -J`. */
  jump: z.strictObject({ ...login, host }).optional(),
});

export type Ssh = z.output<typeof ssh>;
