import { z } from "zod";
import { hostKey, whole } from "./fields.ts";

const login = {
  /** Address or name that SSH connects to. Default: the host's own address. */
  host: z.string().min(1).optional(),
  /** TCP port of its sshd. Default 22. */
  port: whole(1, 65535, "a port").default(22),
  /** Who logs in: root, or somebody whose sudo asks for no password. Default root. */
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_.-]*$/i)
    .default("root"),
  /** File with the private key, `~` allowed. Default: the keys of the running ssh-agent. */
  privateKeyFile: z.string().min(1).optional(),
  /** The host's public key, `ssh-ed25519 AAAA…`: nothing else is ever accepted as this host. */
  hostKey,
};

/** How the operator's machine reaches a host. */
export const ssh = z.strictObject({
  ...login,
  /** A host to go through on the way, as with `ssh -J`. */
  jump: z.strictObject({ ...login, host: z.string().min(1) }).optional(),
});

export type Ssh = z.output<typeof ssh>;
