import { judged } from "./fields.ts";

/** The types of host keys that are taken, with the bytes of each one's blob. */
const bytes: Record<string, number> = {
  "ssh-ed25519": 51,
  "ecdsa-sha2-nistp256": 104,
  "ecdsa-sha2-nistp384": 136,
  "ecdsa-sha2-nistp521": 172,
};

/** An SSH host key as in its .pub file; parsed, without the comment. */
export const hostKey = judged((value) => {
  const mend =
    "On the host, `cat /etc/ssh/ssh_host_ecdsa_key.pub` shows it (or ed25519, where it has no other): write its first two words.";
  const [type = "", base64 = ""] = wordsOf(value);
  if (Object.hasOwn(bytes, base64))
    return { reason: "begins with more than the key", mend: `Leave ${type} out.` };
  if (!Object.hasOwn(bytes, type) || !/^[A-Za-z0-9+/]+=*$/.test(base64)) {
    return { reason: "is not an ed25519 or ECDSA host key", mend };
  }
  const blob = Buffer.from(base64, "base64");
  const inner = innerType(blob);
  if (inner !== undefined && inner !== type && Object.hasOwn(bytes, inner)) {
    return { reason: `calls itself ${type}, and holds a key of the type ${inner}`, mend };
  }
  if (inner === type && blob.length === bytes[type]) return undefined;
  const told =
    blob.length < bytes[type]! ? `a part of it is missing: it has ${blob.length} of` : "it has other than";
  return { reason: `is no whole key: ${told} the ${bytes[type]} bytes of ${type}`, mend };
}).transform((value) => wordsOf(value).slice(0, 2).join(" "));

/** However they are set apart: what is pasted may hold tabs, or end with a line. */
function wordsOf(value: unknown): string[] {
  return typeof value === "string" ? value.trim().split(/\s+/) : [];
}

/** The type that the key itself begins with: a length of four bytes, and its letters (RFC 4253). */
function innerType(blob: Buffer): string | undefined {
  if (blob.length < 4) return undefined;
  return blob.subarray(4, 4 + blob.readUInt32BE(0)).toString("latin1");
}
