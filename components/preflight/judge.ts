import { everyServer, type Plan } from "../../site/plan.ts";
import { shaperModules } from "../shaper/script.ts";

/** The facts of a host that decide whether it can serve, by the keys of look.sh. */
type Facts = Map<string, string[]>;

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

/**
 * Why lines that were tried may have got no answer: chains of the server's that drop what none of their rules
 * takes. Which of these take the tunnels can't be seen from outside.
 */
export function suspect(host: string, firstPort: number, server: Facts, pi: Facts): string[] {
  if (!pi.get("line")?.some((line) => line.includes("gets no answer"))) return [];
  return (server.get("closed") ?? []).map(
    (chain) =>
      `${host}: its firewall's chain ${chain} drops what none of its rules takes, and may be why: write \`letThrough: { input: [${chain}] }\` under ${host} in the config, or let the tunnels' ports from ${firstPort} on in by your firewall's own means`,
  );
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
 * look.sh's environment for one end.
 * @param probed the plans of the servers that the Pi's UDP probe is to go to
 */
export function lookEnvironment(
  plan: Plan,
  end: "pi" | "server",
  probe: boolean,
  probed: Plan[] = [],
): Record<string, string> {
  const first = plan.lines.find(({ protocol }) => protocol === "udp") ?? plan.lines[0]!;
  const bonds = end === "pi" ? everyServer(plan) : [plan];
  return {
    SITE: plan.site,
    ROLE: end,
    BONDS: bonds.map((each) => each[end].bond).join(" "),
    PORT: String(first.tunnelPlans[0]!.port),
    SERVERS: probed.map(({ server }) => server.address).join(" "),
    BIND: plan.vpn.bind ?? "",
    LINES: plan.lines
      .map((line) => [line.name, line.gateway, line.interface, line.protocol].join())
      .join(" "),
    LET: [...plan[end].letThrough.forward, ...plan[end].letThrough.input]
      .map((chain) => chain.replaceAll(" ", ","))
      .join(" "),
    MODULES: ["bonding", "tun", "nf_tables", ...shaperModules(plan)].join(" "),
    PROBE: probe ? "yes" : "no",
  };
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
