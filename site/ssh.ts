import { z } from "zod";
import { hostKey, told, whole } from "./fields.ts";

const host = told(
  (value) => /^[A-Za-z0-9][A-Za-z0-9.:_-]*$/.test(value),
  "is neither an address nor a name of a host",
  "Write what ssh is given, such as 192.168.1.252 or pi.example.net; port and user have fields of their own.",
);

const login = {
  /** Address or name that SSH connects to. Default: the host's own address. */
  host: host.optional(),
  /** TCP port of its sshd. Default 22. */
  port: whole(1, 65535, "a port").default(22),
  /** Who logs in: root, or somebody whose sudo asks for no password. Default root. */
  user: told(
    (value) => /^[a-z_][a-z0-9_.-]*$/i.test(value),
    "is no name of a user",
    "Write the name that ssh logs in with, such as root or pi.",
  ).default("root"),
  /** File with the private key, `~` allowed. Default: the keys of the running ssh-agent. */
  privateKeyFile: told(
    (value) => value !== "",
    "is no name of a file",
    "Write its path, or leave it out.",
  ).optional(),
  /** The host's public key, `ssh-ed25519 AAAA…`: nothing else is ever accepted as this host. */
  hostKey,
};

/** How the operator's machine reaches a host. */
export const ssh = z.strictObject({
  ...login,
  /** A host to go through on the way, as with `ssh -J`. */
  jump: z.strictObject({ ...login, host }).optional(),
});

export type Ssh = z.output<typeof ssh>;
