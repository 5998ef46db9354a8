import { expect, test } from "vitest";
import { hostKey } from "../../site/hostKey.ts";

/** The blob of a public key, made of its parts, each behind its length. */
function blob(...parts: Buffer[]): string {
  const length = (part: Buffer) => Buffer.from([0, 0, part.length >> 8, part.length & 255]);
  return Buffer.concat(parts.flatMap((part) => [length(part), part])).toString("base64");
}

const ed25519 = blob(Buffer.from("ssh-ed25519"), Buffer.alloc(32));
const ecdsa = (bits: number, point: number) =>
  blob(Buffer.from(`ecdsa-sha2-nistp${bits}`), Buffer.from(`nistp${bits}`), Buffer.alloc(point, 4));

/** What is said of a key; undefined of a right one. */
function told(text: unknown): string | undefined {
  const [issue] = hostKey.safeParse(text).error?.issues ?? [];
  return (issue as { params?: { reason: string } } | undefined)?.params?.reason;
}

test.each([
  `ssh-ed25519 ${ed25519}`,
  `ecdsa-sha2-nistp256 ${ecdsa(256, 65)}`,
  `ecdsa-sha2-nistp384 ${ecdsa(384, 97)}`,
  `ecdsa-sha2-nistp521 ${ecdsa(521, 133)}`,
])("%s is taken, with and without its comment", (key) => {
  expect(hostKey.parse(key)).toBe(key);
  expect(hostKey.parse(`${key} root@server`)).toBe(key);
  expect(hostKey.parse(` ${key.replace(" ", "\t ")}\n`)).toBe(key);
  expect(told(`203.0.113.10 ${key}`)).toBe("begins with more than the key");
});

test.each([
  ["half a key", `ssh-ed25519 ${ed25519.slice(0, 40)}`, "a part of it is missing: it has 30 of the 51 bytes"],
  [
    "a key and more",
    `ssh-ed25519 ${blob(Buffer.from("ssh-ed25519"), Buffer.alloc(33))}`,
    "other than the 51",
  ],
  ["another type's key", `ssh-ed25519 ${ecdsa(256, 65)}`, "holds a key of the type ecdsa-sha2-nistp256"],
  ["another curve's", `ecdsa-sha2-nistp521 ${ecdsa(256, 65)}`, "calls itself ecdsa-sha2-nistp521"],
  ["no letters of a key", `ssh-ed25519 ${"A".repeat(68)}`, "is no whole key"],
  ["the start of one", "ecdsa-sha2-nistp256 AAAA", "it has 3 of the 104 bytes"],
  ["an RSA key", "ssh-rsa AAAA", "is not an ed25519 or ECDSA host key"],
  ["no type", "AAAAC3NzaC1lZDI1NTE5AAAAI", "is not an ed25519 or ECDSA host key"],
  ["a word of the language", "constructor AAAA", "is not an ed25519 or ECDSA host key"],
])("%s is told", (_, key, reason) => {
  expect(told(key)).toContain(reason);
});
