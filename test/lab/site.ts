import { expect } from "vitest";
import { down, exec, facts, type Options, reset, up } from "../../lab/index.ts";
import { keepDeployment, openStack, type Stack, wakeDeployment } from "../../lab/stack.ts";

/** The lab with plain hosts and an empty state: what a first deployment begins with. */
export async function pristineSite(): Promise<Stack> {
  await up();
  await reset();
  return openStack(await facts());
}

/** A lab of another kind, as after its first boot, with an empty state. */
export async function otherSite(options: Options): Promise<Stack> {
  await down();
  const stack = await openStack(await up(options));
  if (options.clock === "real") {
    // It goes on while a busy machine emulates slowly: half of the default's time was too short for a switch.
    await stack.configure((site) => {
      site.activation = { confirmWithin: 300 };
    });
  }
  return stack;
}

/** Under which name the deployed site is kept: by the sources, which test/run.ts tells; none when it doesn't. */
const kept = process.env.LAB_SOURCES && `site-${process.env.LAB_SOURCES.slice(0, 12)}`;

/**
 * The lab with the example's site running in it. It is deployed once for the same sources, and woken from
 * then on, lines and state as they were.
 */
export async function deployedSite(): Promise<Stack> {
  await up();
  if (kept && (await wakeDeployment(kept))) {
    await slavesSettle(2, 60);
    return openStack(await facts());
  }
  const stack = await pristineSite();
  await mustUp(stack);
  await slavesSettle(2);
  await keepSite();
  return stack;
}

/** Keeps the site, just deployed, for the scenarios that begin with it. */
export async function keepSite(): Promise<void> {
  if (kept) await keepDeployment(kept);
}

/** `pulumi up`, which must succeed; gives what it printed. */
export async function mustUp(stack: Stack): Promise<string> {
  const { code, stdout, stderr } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

/** A command as root in the lab that must succeed; gives what it printed. */
export async function must(
  place: string,
  command: string,
  timeoutSeconds = 60,
  stdin?: string,
): Promise<string> {
  const { code, stdout, stderr } = await exec(place, command, { timeoutSeconds, stdin });
  expect(code, `${place}: ${command}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** Waits, by the guest's clock, until a command succeeds on a host; fails after the time. */
export async function eventually(place: string, command: string, seconds: number): Promise<void> {
  const loop = `for i in $(seq ${seconds}); do (${command}) >/dev/null 2>&1 && exit 0; sleep 1; done; exit 1`;
  await must(place, loop, seconds + 30);
}

/** Waits until neither host misses anything of ours. */
export async function nothingMissing(seconds: number): Promise<void> {
  for (const host of ["pi", "server"]) {
    await eventually(host, 'drift=$(adsl-bonding-dev drift) && [ -z "$drift" ]', seconds);
  }
}

/** The rate of the cake on a device, kbit/s. */
export async function queueRate(host: string, device: string): Promise<number> {
  const found = await must(host, `tc qdisc show dev ${device} root`);
  const [, number, unit] = /^qdisc cake .* bandwidth (\d+)([KM]?)bit/.exec(found)!;
  return unit ? Number(number) * (unit === "M" ? 1000 : 1) : Number(number) / 1000;
}

/** The rates of both ends' cakes, whole kbit/s: those of the bond, or of another device at each end. */
export async function queueRates(on = { pi: "bond0", server: "bond-dev" }): Promise<Record<string, number>> {
  const of = async (host: string, device: string) => Math.floor(await queueRate(host, device));
  return { pi: await of("pi", on.pi), server: await of("server", on.server) };
}

/** The id of the generation that a host runs. */
export async function generation(host: string): Promise<string> {
  return (await must(host, "sed -n 's/^generation //p' /var/lib/adsl-bonding/dev/current")).trim();
}

/** Waits until so many slaves are up in a host's bond. */
export async function whole(
  [host, bond]: readonly [string, string],
  seconds: number,
  count = 2,
): Promise<void> {
  const slaves = `grep -A1 '^Slave Interface' /proc/net/bonding/${bond} | grep -c 'MII Status: up'`;
  await eventually(host, `[ "$(${slaves})" = ${count} ]`, seconds);
}

/** Waits until so many slaves are up at both ends. */
export async function slavesSettle(count: number, seconds = 30): Promise<void> {
  await whole(["pi", "bond0"], seconds, count);
  await whole(["server", "bond-dev"], seconds, count);
}

/**
 * Sees that the bond's largest packet, whose tunnels go by UDP, is whole on every line, and one byte more is refused before it leaves.
 * @param lines each with the largest IP packet that it takes, bytes
 */
export async function largestIsWhole(lines: Record<string, number>): Promise<void> {
  const mtu = Number(await must("pi", "cat /sys/class/net/bond0/mtu"));
  const seen = async (line: string, filter: string) => {
    const capture = `ip netns exec ${line} timeout 8 tcpdump -l -n -i wan '${filter}' 2>/dev/null`;
    return Number((await exec("guest", `${capture} | grep -c ' IP '`, { timeoutSeconds: 40 })).stdout);
  };
  const watches = Promise.all(
    Object.entries(lines).map(async ([line, most]) => {
      // 66: Ethernet's header in the tunnel, OpenVPN's, those of UDP and IPv4.
      const filters = [`ip[6:2] & 0x3fff != 0 or ip[2:2] > ${most}`, `udp and ip[2:2] = ${mtu + 66}`];
      const [wrong, whole] = await Promise.all(filters.map((filter) => seen(line, filter)));
      return { wrong: wrong!, whole: whole! };
    }),
  );
  await must("guest", "sleep 2");
  const pings = "ping -n -M do -i 0.1 198.51.100.7";
  expect(await must("client", `${pings} -s ${mtu - 28} -c 30`)).toMatch(/ 0% packet loss/);
  const more = await exec("client", `${pings} -s ${mtu - 27} -c 3`);
  expect(more.stdout + more.stderr).toMatch(/Frag needed|too long/i);
  for (const { wrong, whole } of await watches) {
    expect(wrong).toBe(0);
    expect(whole).toBeGreaterThan(10);
  }
}

/** Everything of ours that can be found on a host: nothing, on a plain one. */
export async function tracesOn(host: string): Promise<string> {
  return must(
    host,
    `ip -o link | grep -E 'bond|tap' || true
     ip rule | grep -vE '^(0|32766|32767):' || true
     ip route show table all | grep -E 'table 2[0-9]{4}' || true
     find / -xdev -path /proc -prune -o -path /sys -prune -o -path /run -prune -o -name '*adsl*' -print
     systemctl list-units --all --plain --no-legend '*adsl*'
     ! command -v nft >/dev/null || nft list tables | grep adsl || true`,
  );
}

/** The values of sysctls that the program changes. */
export async function sysctlsOn(host: string): Promise<string> {
  return must(
    host,
    `cd /proc/sys/net/ipv4
     grep . ip_forward conf/all/*_redirects conf/default/*_redirects conf/eth0/*_redirects conf/eth0/rp_filter`,
  );
}

/** A firewall of somebody's own that takes logins and answers, and drops all else that comes in, pings too. */
export const strictInput = `table inet strict {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    tcp dport 22 accept
  }
}
`;
