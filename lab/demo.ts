import { exec, facts, LabError, measure, type Options, ping, step, up } from "./index.ts";
import { openStack } from "./stack.ts";

/** Bytes of each transfer that is measured: about 6 s of one line, 3 s of the bond. */
const downloadBytes = 4_000_000;

/** One line of what was found: what it is, what it came to, and whether that is right. */
interface Finding {
  what: string;
  found: string;
  right: boolean;
}

/** How many slaves of a host's bond are up. */
export async function slavesUp(host: string, bond: string): Promise<number> {
  const { stdout } = await exec(host, `grep -A1 '^Slave Interface' /proc/net/bonding/${bond}`);
  return stdout.match(/MII Status: up/g)?.length ?? 0;
}

/** The address that a LAN machine is seen with from the far end of the internet. */
export async function externalAddress(): Promise<string> {
  const { site } = await facts();
  const { stdout } = await exec("client", `busybox wget -q -O - http://${site.far.address}/cgi-bin/address`);
  // A server that listens on IPv6 too writes an IPv4 address as [::ffff:192.0.2.1].
  return stdout.match(/\d+\.\d+\.\d+\.\d+/)?.[0] ?? stdout.trim();
}

/**
 * What `npm run lab` does without a word: brings the lab up, deploys the stack `dev` to it with the real CLI,
 * looks whether the site works, and measures what its lines give, alone and together.
 */
export async function demo(options: Options = {}): Promise<void> {
  const { site, hosts, clock } = await up(options);
  const stack = await openStack(await facts());
  step("pulumi up of the stack dev (about 70 resources, each a login on a slow machine)");
  const code = await stack.show(["up", "--yes", "--skip-preview", "--suppress-outputs"]);
  if (code !== 0) throw new LabError("pulumi up failed: see above");

  step("looking at what came of it");
  const lines = site.lines.length;
  const server = site.servers[0]!.name;
  const findings: Finding[] = [];
  for (const [host, bond] of [
    ["pi", "bond0"],
    [server, "bond-dev"],
  ] as const) {
    const count = await slavesUp(host, bond);
    findings.push({ what: `slaves up, ${host}`, found: `${count} of ${lines}`, right: count === lines });
  }
  const across = await ping("pi", "172.16.16.1", 20);
  findings.push({
    what: "ping across the bond",
    found: `${across.avgMs.toFixed(1)} ms on average, ${across.lost} of ${across.sent} lost`,
    right: across.lost === 0,
  });
  const seen = await externalAddress();
  findings.push({
    what: "address the LAN is seen with",
    found: seen,
    right: seen === hosts[server]!.address,
  });

  const alone: number[] = [];
  for (const via of [...site.lines.map(({ name }) => name), "bond"]) {
    const single = via !== "bond";
    step(`downloading ${downloadBytes / 1e6} MB over ${single ? `the line ${via} alone` : "the bond"}`);
    const { mbits } = await measure({ via, direction: "down", bytes: downloadBytes });
    if (single) alone.push(mbits);
    const sum = alone.reduce((total, each) => total + each, 0);
    findings.push({
      what: `one TCP download, ${via}`,
      found: `${mbits.toFixed(2)} Mbit/s${single ? "" : `, ${(mbits / sum).toFixed(2)} of the lines' sum`}`,
      // Round-robin gives each line the same: so many times the slowest, and on like lines more than the best alone.
      right: single || mbits > 0.6 * lines * Math.min(...alone),
    });
  }

  const width = Math.max(...findings.map(({ what }) => what.length));
  console.log(`\nThe lab's site (${clock} clock):`);
  for (const { what, found, right } of findings) {
    console.log(`  ${right ? "ok " : "BAD"}  ${what.padEnd(width)}  ${found}`);
  }
  console.log("\nThe lab stays up: npm run lab -- status, ssh pi, cut ovh, restore ovh, measure, down.");
  if (findings.some(({ right }) => !right)) throw new LabError("not all is right: see BAD above");
}
