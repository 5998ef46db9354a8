import { z } from "zod";
import { isAddress, isReachable, parseCidr } from "./address.ts";
import { parseRate } from "./rate.ts";

/**
 * A check on one value, with what to tell when it fails.
 * @param hidden whether the value is not to be shown, since a person may have put a secret there
 */
export function told(check: (value: string) => boolean, reason: string, mend: string, hidden = false) {
  const right = (value: unknown) => typeof value === "string" && check(value);
  return z.custom<string>(right, { params: { reason, mend, hidden } });
}

/** A whole number within bounds; the unit is named in the message. */
export function whole(min: number, max: number, unit: string) {
  const right = (value: unknown) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  const reason = `must be a whole number from ${min} to ${max} (${unit})`;
  return z.custom<number>(right, { params: { reason, mend: "Write such a number, without quotes." } });
}

/** One of a few words. */
export function choice<const Word extends string>(words: readonly Word[], mend: string) {
  const right = (value: unknown) => words.includes(value as Word);
  return z.custom<Word>(right, { params: { reason: `is none of ${words.join(", ")}`, mend } });
}

/** True or false. */
export const yesOrNo = z.custom<boolean>((value) => typeof value === "boolean", {
  params: { reason: "is neither true nor false", mend: "Write true or false, without quotes." },
});

const addressMend = "Write four numbers with dots, such as 192.0.2.1 (IPv6 and names are not taken here).";

/** An IPv4 address. */
export const address = told(isAddress, "is not an IPv4 address", addressMend);

/** The IPv4 address of one machine that others can reach. */
export const hostAddress = told(isReachable, "is not the IPv4 address of a machine elsewhere", addressMend);

/** An IPv4 address with its network's prefix length. */
export const cidr = told(
  (value) => parseCidr(value) !== undefined,
  "is not an IPv4 address with its network's prefix",
  "Write the address, a slash and the prefix, such as 192.168.1.252/24.",
);

/** An IPv4 address, or a network with its prefix length. */
export const addressOrNetwork = told(
  (value) => isAddress(value) || parseCidr(value) !== undefined,
  "is neither an IPv4 address nor a network",
  "Write it such as 192.0.2.1 or 192.0.2.0/24 (IPv6 and names are not taken here).",
);

/** An IPv4 address, a network with its prefix length, or a name. */
export const addressNetworkOrName = told(
  (value) => isAddress(value) || parseCidr(value) !== undefined || isName(value),
  "is neither an IPv4 address, nor a network, nor a name",
  "Write it such as 192.0.2.1, 192.0.2.0/24 or home.example.net (IPv6 is not taken here).",
);

/** Whether it is a name as DNS knows them, with a dot in it: not one that is all numbers. */
export function isName(value: string): boolean {
  return /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/i.test(value);
}

/** A rate with its unit; parsed, kbit/s. */
export const rate = told(
  (value) => parseRate(value) !== undefined && parseRate(value)! >= 1,
  "is no rate that a line can have",
  "Write the rate that the box shows, with its unit, such as 7232 kbit/s or 7.2 Mbit/s.",
).transform((value) => parseRate(value)!);

/** A name that becomes part of file and interface names.
 * @param max most letters
 */
export const label = (what: string, max: number) =>
  told(
    (value) => new RegExp(`^[a-z][a-z0-9]{0,${max - 1}}$`).test(value),
    `is no name for a ${what}`,
    `Use 1 to ${max} small letters and digits, a letter first: it becomes part of file and interface names.`,
  );

/** A network interface as the host names it. */
export const interfaceName = told(
  // Linux has "all" and "default" where it keeps interfaces' settings.
  (value) => /^(?!(all|default|lo)$)[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(value),
  "is no name of a network interface",
  "Write it as `ip link` on the host shows it, such as eth0.",
);

/** An interface of our own making. */
export const ownInterfaceName = told(
  (value) => /^(?!(all|default|lo)$)[A-Za-z][A-Za-z0-9_-]{0,14}$/.test(value),
  "is no name for a bond",
  "Use 1 to 15 letters, digits, - and _, a letter first, such as bond0.",
);

/** An SSH host key as in its .pub file; parsed, without the comment. */
export const hostKey = told(
  (value) => /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+=*( .*)?$/.test(value),
  "is not an ed25519 or ECDSA host key",
  "On the host, `cat /etc/ssh/ssh_host_ecdsa_key.pub` shows it (or ed25519, where it has no other): write its first two words.",
).transform((value) => value.split(" ").slice(0, 2).join(" "));
