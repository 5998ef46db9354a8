import type { Plan } from "../../site/plan.ts";
import { type Port, tunnelPorts } from "./look.ts";

/** The facts of a host that decide whether it can serve, by the keys of look.sh. */
export type Facts = Map<string, string[]>;

/** The oldest kernel whose bonding watches taps by ARP again (bonding commit 06799a9085e1, in 6.0). */
const oldestKernel = "6.0";
/** The oldest OpenVPN with `peer-fingerprint`. */
const oldestOpenvpn = "2.6";
/** What a fresh installation of all packages takes, with room to spare. */
const neededMegabytes = 100;

/**
 * All that is wrong with one host, a sentence each; empty when it can serve.
 * @param bonds the names of ours there
 */
export function judge(host: string, bonds: string[], facts: Facts): string[] {
  const all = (key: string) => facts.get(key) ?? [];
  const one = (key: string) => all(key)[0] ?? "";
  const ufw = bonds.flatMap((bond) => [`ufw route allow in on ${bond}`, `ufw route allow out on ${bond}`]);
  const problems = [
    ...all("lacks").map((what) => `it lacks ${what}`),
    ...all("foreign"),
    ...all("line").map((what) => `line ${what}`),
    ...silences(facts),
    ...takenPorts(host, facts),
    ...all("blocks").map(
      (chain) =>
        `its firewall's chain ${chain} drops what is forwarded, and no rule in a table of our own can override that. Either write \`letThrough: { forward: [${chain}] }\` under ${host} in the config, and rules that let ${bonds.join(", ")} through are put there, and taken away again by destroy; or let it through by your firewall's own means (ufw: ${ufw.join(", ")}; Docker: in the chain DOCKER-USER)`,
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

/** What each line got no answer to, a sentence for each of its servers. */
function silences(facts: Facts): string[] {
  const tries = (facts.get("silent") ?? []).map((text) => {
    const [line, protocol, server, port, box] = text.split(" ");
    return { to: `line ${line}: ${protocol!.toUpperCase()} to ${server} `, port: Number(port), box };
  });
  return [...new Set(tries.map(({ to }) => to))].map((to) => {
    const those = tries.filter((each) => each.to === to);
    const ports = those.map(({ port }) => port);
    return `${to}${inWords(ports)} through the box ${those[0]!.box} gets no answer`;
  });
}

/** Ports that are to be ours, and that another program has. */
function takenPorts(host: string, facts: Facts): string[] {
  const taken = (facts.get("taken") ?? []).map((text) => {
    const [protocol, port, ...who] = text.split(" ");
    return { protocol: protocol!, port: Number(port), who: who.join(" ") };
  });
  const mend =
    host === "pi"
      ? "`lan` needs it: end that program there, and keep it from starting again, or take `lan` out of the config"
      : "a tunnel needs it: end that program there, or give the tunnels other ports (`vpn.firstPort`, or a line's `port`)";
  return [...new Set(taken.map(({ who }) => who))].map((who) => {
    const ports = taken.filter((each) => each.who === who);
    return `its ${portsInWords(ports)} ${ports.length > 1 ? "are" : "is"} taken by ${who}, and ${mend}`;
  });
}

/**
 * Why lines that were tried may have got no answer from a server, and what to do. Which chains of its firewall drop what none
 * of their rules takes is known, but not which of these take the tunnels.
 */
export function suspect(plan: Plan, server: Facts, pi: Facts): string[] {
  const { host, address } = plan.server;
  if (!pi.get("silent")?.some((text) => text.split(" ")[2] === address)) return [];
  const ports = portsInWords(tunnelPorts(plan));
  const closed = (server.get("closed") ?? []).map(
    (chain) =>
      `${host}: its firewall's chain ${chain} drops what none of its rules takes, and may be why: write \`letThrough: { input: [${chain}] }\` under ${host} in the config, or let the tunnels' ${ports} in by your firewall's own means`,
  );
  const advice = [
    `${host}: where no line gets an answer of it, its provider's firewall may be closed: the tunnels need its ${ports}.`,
    "Where one line gets none, see that the line is up; if its box or its provider blocks UDP, write `protocol: tcp` for it,",
    "and if it blocks a port of TCP, another `port`, such as 443",
  ];
  return [...closed, advice.join(" ")];
}

/** Ports in words, by their protocols: `UDP ports 1194-1195, 1200 and TCP port 443`. */
export function portsInWords(ports: Port[]): string {
  const of = (protocol: string) => ports.filter((each) => each.protocol === protocol).map(({ port }) => port);
  return ["udp", "tcp"]
    .filter((protocol) => of(protocol).length > 0)
    .map((protocol) => `${protocol.toUpperCase()} ${inWords(of(protocol))}`)
    .join(" and ");
}

function inWords(ports: number[]): string {
  const runs: { first: number; last: number }[] = [];
  for (const port of [...ports].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run && port <= run.last + 1) run.last = port;
    else runs.push({ first: port, last: port });
  }
  const texts = runs.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
  return `${ports.length > 1 ? "ports" : "port"} ${texts.join(", ")}`;
}

/**
 * What a person should know though it may well work: Go's SSH client, which the command plugin is built on,
 * asks for a host's ECDSA key first, and a pin of another type may then be taken for a mismatch.
 */
export function doubt(host: string, pinned: string, facts: Facts): string[] {
  const shown = facts.get("host_keys")?.[0] ?? "";
  if (pinned.startsWith("ecdsa-") || !shown.includes("ecdsa-")) return [];
  return [
    `${host}: its sshd has an ECDSA host key besides the pinned one; pin that (/etc/ssh/ssh_host_ecdsa_key.pub) if commands end in "host key mismatch"`,
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
