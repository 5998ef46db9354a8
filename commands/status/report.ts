import { warnOfOffers } from "../../components/lan/offers.ts";
import type { Observation } from "../../host/inspect.ts";
import { isPrivate } from "../../site/address.ts";
import { type End, everyServer, type Plan, type Tunnel } from "../../site/plan.ts";

/** A change of a slave as the kernel told it, or what else a service of ours on the Pi did about lines and ways. */
export interface Change {
  host: string;
  /** Seconds since 1970, by the host's clock. */
  time: number;
  /** What happened, in words; a tunnel is named by its line, `LINE-2` the second one of it. */
  what: string;
}

/** How one end does. */
export interface EndReport {
  host: string;
  /** Why nothing is known of it, in words for a person. */
  unreachable?: string;
  slavesUp: number;
  slaves: number;
  /** Pings across the bond to the far end; without `ms` none was answered. */
  ping?: { sent: number; answered: number; ms?: number };
  /** The id of the generation that it runs. */
  generation?: string;
}

/** What goes over one line, or over all, in bits per second and bytes, as the site sees it. */
export interface Traffic {
  down: number;
  up: number;
  totalDown: number;
  totalUp: number;
}

/** One line: how many of its tunnels are up at each end (undefined where an end does not answer), and its traffic. */
export interface LineReport {
  name: string;
  tunnels: number;
  up: Record<"pi" | "server", number | undefined>;
  traffic?: Traffic;
}

/** All that is told of a site at one moment. */
export interface Report {
  site: string;
  ends: EndReport[];
  /** How the site is seen from outside, a sentence. */
  outside: string;
  lines: LineReport[];
  bond?: Traffic;
  changes: Change[];
  warnings: string[];
  /** The same of each backup server's own bond, but for what is told of the whole: changes and warnings are above. */
  backups: Pick<Report, "ends" | "lines">[];
}

/** What was seen of one server's bond: at the Pi's end, and at the server's. */
export interface Seen {
  pi: Observation;
  server: Observation;
}

/** How many of the last changes are told. */
const changesTold = 12;

/** look.sh's environment for one end: the site's own state is told with the main bond alone. */
export function statusEnvironment(plan: Plan, end: "pi" | "server"): Record<string, string> {
  const { bond, peerAddress, taps } = plan[end];
  const again = end === "pi" && plan.at !== "";
  return {
    SITE: plan.site,
    BOND: bond,
    PEER: peerAddress,
    TAPS: taps.join(" "),
    INTERFACE: end === "pi" && !again ? plan.pi.interface : "",
    ...(again ? { PROGRAM: "no" } : {}),
    LAN: plan.pi.interface,
    OWN: plan.pi.address,
  };
}

/**
 * Makes one report of what all hosts told.
 * @param seen by the main bond, then by each backup's
 */
export function makeReport(plan: Plan, ...[main, ...others]: [Seen, ...Seen[]]): Report {
  const { pi, server } = main;
  const samples = samplesOf(plan, main);
  const servers = [server, ...others.map((each) => each.server)];
  return {
    site: plan.site,
    ...bondReport(plan, main),
    outside: outsideOf(plan, pi, servers),
    bond: trafficOf(samples, plan.tunnels),
    changes: everyServer(plan)
      .flatMap((each, index) => {
        const of = [main, ...others][index];
        return of ? [...changesOf(each, of.pi, "pi"), ...changesOf(each, of.server, "server")] : [];
      })
      .concat(eventsOf(pi))
      .sort((a, b) => a.time - b.time)
      .slice(-changesTold),
    warnings: [...[pi, ...servers].flatMap((each) => warningsOf(plan, each)), ...parted(pi, servers)],
    backups: others.map((each, index) =>
      bondReport(plan.backups[index]!, { ...each, pi: withProgram(each.pi, all(pi, "program")) }),
    ),
  };
}

/** What the site's program on a host said once holds for each of the host's bonds. */
function withProgram(seen: Observation, program: string[]): Observation {
  return { ...seen, facts: new Map([...seen.facts, ["program", program]]) };
}

/** One server's bond: its ends, and its lines. */
function bondReport(plan: Plan, seen: Seen): Pick<Report, "ends" | "lines"> {
  const up = { pi: slavesUpOf(seen.pi), server: slavesUpOf(seen.server) };
  const samples = samplesOf(plan, seen);
  return {
    ends: (["pi", "server"] as const).map((end) => endReport(plan[end], seen[end], up[end])),
    lines: plan.lines.map(({ name, tunnelPlans }) => ({
      name,
      tunnels: tunnelPlans.length,
      up: {
        pi: up.pi && tunnelPlans.filter(({ piTap }) => up.pi!.has(piTap)).length,
        server: up.server && tunnelPlans.filter(({ serverTap }) => up.server!.has(serverTap)).length,
      },
      traffic: trafficOf(samples, tunnelPlans),
    })),
  };
}

function trafficOf(samples: Map<string, Traffic> | undefined, tunnels: Tunnel[]): Traffic | undefined {
  return samples && addTraffic(tunnels.flatMap(({ name }) => samples.get(name) ?? []));
}

function all({ facts }: Observation, key: string): string[] {
  return facts.get(key) ?? [];
}

/** The text after a label in what the host's own program said; undefined when it has no such line. */
function said(seen: Observation, label: string): string | undefined {
  const line = all(seen, "program").find((each) => each.startsWith(`${label}: `));
  return line?.slice(label.length + 2);
}

/** The numbers that a host told under a key. */
function counts(seen: Observation, key: string): number[] {
  return (all(seen, key)[0] ?? "").split(" ").map(Number);
}

/** The slaves that are up; undefined when the host does not answer. */
function slavesUpOf(seen: Observation): Set<string> | undefined {
  if (seen.unreachable !== undefined) return undefined;
  const states = all(seen, "slave").map((text) => text.split(" "));
  return new Set(states.flatMap(([tap, state]) => (state === "up" ? [tap!] : [])));
}

function endReport({ host, taps }: End, seen: Observation, up: Set<string> | undefined): EndReport {
  const [sent, answered] = counts(seen, "ping");
  const ms = all(seen, "ping_ms")[0];
  return {
    host,
    unreachable: seen.unreachable,
    slavesUp: taps.filter((tap) => up?.has(tap)).length,
    slaves: taps.length,
    ping: sent ? { sent, answered: answered ?? 0, ms: ms === undefined ? undefined : Number(ms) } : undefined,
    generation: said(seen, "current generation"),
  };
}

/** The Pi says by which bond the LAN goes, that bond's server under which address it then appears. */
function outsideOf(plan: Plan, pi: Observation, servers: Observation[]): string {
  const [device] = (all(pi, "leaves")[0] ?? "").split(" ");
  const plans = everyServer(plan);
  const index = device ? plans.findIndex((each) => each.pi.bond === device) : 0;
  if (index < 0) return `the LAN leaves by ${device}, past the bond`;
  const { server, vpn } = plans[index]!;
  const seen = servers[index];
  const [, address] = (seen ? (all(seen, "leaves")[0] ?? "") : "").split(" ");
  // Where it binds to an address it sends from that: the outside one, or what its provider translates to that, as a private one.
  const translated = vpn.bind || (address && isPrivate({ address, prefix: 32 }));
  const own = address && translated ? server.address : address;
  const under = own ? `under ${own}` : `under ${server.address}, says the config`;
  if (!device) return `through the bond the LAN is seen ${under}`;
  const instead = index > 0 ? `, in place of ${plan.pi.bond}` : "";
  return `the LAN leaves through ${device}${instead}, and is seen ${under}`;
}

/** Each tunnel's traffic by the Pi's counters; by the server's, which are the other way round, where the Pi is silent. */
function samplesOf(plan: Plan, seen: Seen): Map<string, Traffic> | undefined {
  for (const host of ["pi", "server"] as const) {
    const lines = all(seen[host], "sample").map((text) => text.split(" "));
    if (lines.length === 0) continue;
    return new Map(
      plan.tunnels.flatMap(({ name, piTap, serverTap }) => {
        const tap = host === "pi" ? piTap : serverTap;
        const [first, last] = lines.filter(([of]) => of === tap).map((words) => words.slice(1).map(Number));
        if (!first || !last) return [];
        const [received, sent] = [1, 2].map((n) => ({
          total: last[n]!,
          rate: ((last[n]! - first[n]!) * 8) / Math.max(last[0]! - first[0]!, 0.01),
        }));
        const [down, up] = host === "pi" ? [received!, sent!] : [sent!, received!];
        return [[name, { down: down.rate, up: up.rate, totalDown: down.total, totalUp: up.total }] as const];
      }),
    );
  }
  return undefined;
}

function addTraffic(parts: Traffic[]): Traffic {
  const sum = (key: keyof Traffic) => parts.reduce((total, part) => total + part[key], 0);
  return { down: sum("down"), up: sum("up"), totalDown: sum("totalDown"), totalUp: sum("totalUp") };
}

function changesOf(plan: Plan, seen: Observation, end: "pi" | "server"): Change[] {
  return all(seen, "change").flatMap((text) => {
    const [time, tap, state] = text.split(" ");
    const tunnel = plan.tunnels.find(({ piTap, serverTap }) => tap === (end === "pi" ? piTap : serverTap));
    if (!tunnel) return [];
    const what = `${tunnel.name} ${state === "up" ? "came back" : "went out"}`;
    return [{ host: seen.host, time: Number(time), what }];
  });
}

function eventsOf(seen: Observation): Change[] {
  return all(seen, "event").map((text) => {
    const [time, ...words] = text.split(" ");
    return { host: seen.host, time: Number(time), what: words.join(" ") };
  });
}

/** What a person should do something about, on one host. */
function warningsOf(plan: Plan, seen: Observation): string[] {
  const { host, unreachable } = seen;
  if (unreachable !== undefined) return [`${host}: ${unreachable}`];
  const program = all(seen, "program");
  if (program.length === 0) return [`${host}: nothing of this site stands there; npx pulumi up deploys it`];
  const found = [
    ...program
      .filter((line) => line.startsWith("drifted: "))
      .map((line) => `${line.slice("drifted: ".length)}; npx pulumi up mends it`),
    ...labelled(said(seen, "check failed"), (text) => text),
    ...labelled(
      said(seen, "trying generation"),
      (id) => `generation ${id} is not confirmed, and undoes itself`,
    ),
    ...labelled(said(seen, "last undone"), (text) => `a generation was undone: ${text}`),
    ...unmarked(plan, seen),
    ...tooLarge(seen),
    ...all(seen, "blind").map(
      () =>
        'no server answers pings by any line, so none is taken out for the packets that it loses: let ICMP in there (docs/how-to.md, "A line that loses packets")',
    ),
    ...warnOfOffers(seen.facts),
    ...all(seen, "router").map(
      (router) =>
        `the router ${router} offers IPv6 to the LAN of ${plan.pi.interface}: machines that take it go round the bond; see docs/how-to.md`,
    ),
    ...all(seen, "unasked").map(
      (reason) =>
        `routers that offer IPv6 to the LAN of ${plan.pi.interface} can't be looked for (${reason}): machines may go round the bond by one; see docs/how-to.md`,
    ),
  ];
  return found.map((text) => `${host}: ${text}`);
}

/** Full packets that don't pass where small ones all do. A single one may be lost by chance, of two directions. */
function tooLarge(seen: Observation): string[] {
  const [small = 0, back = 0] = counts(seen, "ping");
  const [sent = 0, answered = 0, mtu] = counts(seen, "full");
  const lost = sent - answered;
  if (lost < 3 || small === 0 || back < small) return [];
  const what = `${lost} of ${sent} full packets (${mtu} bytes) across the bond got no answer, where all small ones did`;
  return [
    `${what}: some line carries less than the config's \`mtu\` or \`encapsulation\` of it says; write its \`mtu\``,
  ];
}

/** Tunnels' packets that would have left by another line's box. */
function unmarked({ site }: Plan, seen: Observation): string[] {
  const count = Number(all(seen, "unmarked")[0] ?? 0);
  if (count === 0) return [];
  const what = `${count} packets to the tunnels' ports had no line's mark, and were dropped since the firewall was loaded`;
  return [
    `${what}: does another program there send them, or could OpenVPN not set its mark (journalctl -u 'adsl-${site}-tunnel@*')?`,
  ];
}

function labelled(text: string | undefined, tell: (text: string) => string): string[] {
  return text === undefined ? [] : [tell(text)];
}

function parted(pi: Observation, servers: Observation[]): string[] {
  const one = said(pi, "current generation");
  const others = servers.map((each) => said(each, "current generation"));
  const other = others.find((each) => each !== undefined && each !== one);
  if (one === undefined || other === undefined) return [];
  return [`the hosts run different generations, ${one} and ${other}; npx pulumi up mends it`];
}
