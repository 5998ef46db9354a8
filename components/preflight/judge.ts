import type { Observation } from "../../host/inspect.ts";
import type { Facts } from "./look.ts";
import { silences, takenPorts } from "./ports.ts";

/** The oldest kernel whose bonding watches taps by ARP again (bonding commit 06799a9085e1, in 6.0). */
const oldestKernel = "6.0";
/** The oldest OpenVPN with `peer-fingerprint`. */
const oldestOpenvpn = "2.6";
/** What a fresh installation of all packages takes, with room to spare. */
const neededMegabytes = 100;

/** What was seen of a host. */
type Seen = Pick<Observation, "host" | "facts" | "unreachable">;

/**
 * All that is wrong with one host, a sentence each; empty when it can serve.
 * @param bonds the names of ours there
 * @param past interfaces, from one to the other, of what it forwards past them
 */
export function judge(host: string, bonds: string[], facts: Facts, past: [string, string][] = []): string[] {
  const all = (key: string) => facts.get(key) ?? [];
  const one = (key: string) => all(key)[0] ?? "";
  // Each that is forwarded, by the interfaces from and to which it is, in the words for these of who is asked.
  const forwarded = (from: string, to: string) => [
    ...bonds.flatMap((bond) => [`${from} ${bond}`, `${to} ${bond}`]),
    ...past.map(([one, other]) => `${from} ${one} ${to} ${other}`),
  ];
  const ufw = forwarded("in on", "out on").map((match) => `ufw route allow ${match}`);
  const legacy = forwarded("-i", "-o").map((match) => `iptables-legacy -I FORWARD ${match} -j ACCEPT`);
  const through = [...bonds, ...(past.length > 0 ? ["what is forwarded past the bond"] : [])].join(", ");
  const problems = [
    ...all("lacks").map((what) => `it lacks ${what}`),
    ...all("foreign"),
    ...all("line").map((what) => `line ${what}`),
    ...silences(facts),
    ...takenPorts(host, facts),
    ...all("blocks").map(
      (chain) =>
        `its firewall's chain ${chain} drops what is forwarded, and no rule in a table of our own can override that. Either write \`letThrough: { forward: [${chain}] }\` under ${host} in the config, and rules that let ${through} through are put there, and taken away again by destroy; or let it through by your firewall's own means (ufw: ${ufw.join(", ")}; Docker: in the chain DOCKER-USER)`,
    ),
    ...all("legacy").map(
      (chain) =>
        `its firewall's chain ${chain}, of iptables-legacy, drops what is forwarded, and nothing of ours can let anything through there. Do so by that firewall's own means (${legacy.join(", ")})`,
    ),
  ];
  if (olderThan(one("kernel"), oldestKernel)) {
    problems.push(
      `its kernel ${one("kernel")} is older than ${oldestKernel}: bonding can't watch taps there`,
    );
  }
  if (one("openvpn") && olderThan(one("openvpn"), oldestOpenvpn)) {
    problems.push(`its OpenVPN ${one("openvpn")} is older than ${oldestOpenvpn}: upgrade ${one("os")}`);
  }
  if (Number(one("free_mb")) < neededMegabytes) {
    problems.push(`only ${one("free_mb")} MB are free on /var; ${neededMegabytes} MB are needed`);
  }
  return problems.map((problem) => `${host}: ${problem}`);
}

/**
 * What a person should know though it may well work. Go's SSH client, which the command plugin is built on, asks for a
 * host's ECDSA key first, and a pin of another type may then be taken for a mismatch. And a firewall that takes but so many logins
 * refuses those of an `up` midway; from some addresses it may take all, which can't be told from the rule alone. Nor can it
 * whether a firewall that closes takes pings through the bond; by these a change is proved.
 */
export function doubt(host: string, bonds: string[], pinned: string, facts: Facts): string[] {
  const shown = facts.get("host_keys")?.[0] ?? "";
  const pin =
    pinned.startsWith("ecdsa-") || !shown.includes("ecdsa-")
      ? []
      : [
          `${host}: its sshd has an ECDSA host key besides the pinned one; pin that (/etc/ssh/ssh_host_ecdsa_key.pub) if commands end in "host key mismatch"`,
        ];
  const limits = (facts.get("few_logins") ?? []).map(
    (rule) =>
      `${host}: its firewall takes few logins by SSH within a time (${rule}), and \`up\` makes dozens within minutes: if commands end in "connection refused" or "i/o timeout", let your address in before that rule (ufw: ufw insert 1 allow from ADDRESS to any port PORT proto tcp)`,
  );
  const deaf = (facts.get("deaf") ?? []).map(
    (chain) =>
      `${host}: its firewall's chain ${chain} drops what none of its rules takes, and these speak neither of ICMP nor of ${bonds.join(", ")}: where pings through the bond get no answer a change undoes itself. Write \`letThrough: { input: [${chain}] }\` under ${host} in the config, or let ICMP in by your firewall's own means`,
  );
  return [...pin, ...limits, ...deaf];
}

/**
 * What is told where the hosts, or they and the state, have parted, though no host has undone a change, or tries one: as when
 * snapshots were put back. Nothing that a host tells of itself differs then, so that an `up` would see nothing to do.
 * @param left the generation that the last `up` left, as the state has it
 */
export function parted(hosts: Seen[], left: string | undefined): string | undefined {
  if (hosts.some(({ facts }) => facts.has("unsettled"))) return undefined;
  const run = hosts.flatMap(({ host, facts }) => {
    const generation = facts.get("generation")?.[0];
    return generation ? [{ host, generation }] : [];
  });
  const [first, ...others] = new Set(run.map(({ generation }) => generation));
  if (others.length > 0) {
    const which = run.map(({ host, generation }) => `${host} ${generation}`).join(", ");
    return `the hosts run different generations (${which}), as after a snapshot of one was put back`;
  }
  if (!first || !left || first === left) return undefined;
  return `the hosts run the generation ${first}, and the state knows of ${left}: as after snapshots of all were put back, an older state was, or an \`up\` was killed at its end, or made with another copy of the state`;
}

/**
 * What a host lacks that only a new installation makes again, keys or what it noted: a preview then shows all its steps, and the
 * reason would drown, or stand in a text that is not known before its keys are.
 */
export function lacks(host: string, facts: Facts): string[] {
  const [program] = facts.get("gone") ?? [];
  if (program) return [`${host} has lost ${program}, so \`up\` gives it everything again`];
  if (!facts.get("generation")?.[0] || facts.has("installation")) return [];
  const gone = (facts.get("drift")?.[0] ?? "").split("\t").filter(Boolean);
  const what = gone.length > 0 ? gone.join(", ") : "its notes in /var/lib/adsl-bonding are gone";
  return [
    `${host} has lost what only a new installation brings, so \`up\` gives it everything again: ${what}`,
  ];
}

/**
 * Advice on the ciphers' order. The config decides, and not what the look finds: a preview of a host that can't be
 * reached would else show another text.
 */
export function adviseCiphers(first: string, facts: Facts): string[] {
  const aes = facts.get("aes")?.[0];
  const slow = aes === "no" && first.startsWith("AES-");
  const needless = aes === "yes" && !first.startsWith("AES-");
  if (!slow && !needless) return [];
  const better = slow ? "[CHACHA20-POLY1305, AES-256-GCM]" : "[AES-256-GCM, CHACHA20-POLY1305]";
  return [
    `pi: its processor has ${slow ? "no" : "the"} AES instructions: \`vpn.ciphers: ${better}\` costs it less`,
  ];
}

function olderThan(version: string, oldest: string): boolean {
  const [major = 0, minor = 0] = version.split(/[.-]/).map(Number);
  const [oldMajor = 0, oldMinor = 0] = oldest.split(".").map(Number);
  return major < oldMajor || (major === oldMajor && minor < oldMinor);
}
