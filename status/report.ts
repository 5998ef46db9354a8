import { warnOfOffers } from "../components/lan/offers.ts";
import type { Observation } from "../host/inspect.ts";
import type { End, Plan } from "../site/plan.ts";

/** A slave's change as the kernel told it. */
export interface Change {
  host: string;
  /** Seconds since 1970, by the host's clock. */
  time: number;
  /** The tunnel's name: the line's, or `LINE-2` for its second. */
  tunnel: string;
  up: boolean;
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
}

/** How many of the last changes are told. */
const changesTold = 8;

/** status/look.sh's environment for one host. */
export function statusEnvironment(plan: Plan, host: "pi" | "server"): Record<string, string> {
  const { bond, peerAddress, taps } = plan[host];
  return {
    SITE: plan.site,
    BOND: bond,
    PEER: peerAddress,
    TAPS: taps.join(" "),
    INTERFACE: host === "pi" ? plan.pi.interface : "",
    LAN: plan.pi.interface,
    OWN: plan.pi.address,
  };
}

/** Makes one report of what both hosts told. */
export function makeReport(plan: Plan, pi: Observation, server: Observation): Report {
  const seen = { pi, server };
  const up = { pi: slavesUpOf(pi), server: slavesUpOf(server) };
  const samples = samplesOf(plan, seen);
  const traffic = (tunnels: string[]) =>
    samples && addTraffic(tunnels.flatMap((tunnel) => samples.get(tunnel) ?? []));
  return {
    site: plan.site,
    ends: [pi, server].map((each) => endReport(plan[each.host], each, up[each.host])),
    outside: outsideOf(plan, pi, server),
    lines: plan.lines.map(({ name, tunnelPlans }) => ({
      name,
      tunnels: tunnelPlans.length,
      up: {
        pi: up.pi && tunnelPlans.filter(({ piTap }) => up.pi!.has(piTap)).length,
        server: up.server && tunnelPlans.filter(({ serverTap }) => up.server!.has(serverTap)).length,
      },
      traffic: traffic(tunnelPlans.map((tunnel) => tunnel.name)),
    })),
    bond: traffic(plan.tunnels.map(({ name }) => name)),
    changes: [pi, server]
      .flatMap((each) => changesOf(plan, each))
      .sort((a, b) => a.time - b.time)
      .slice(-changesTold),
    warnings: [...[pi, server].flatMap((each) => warningsOf(plan, each)), ...parted(pi, server)],
  };
}

function all({ facts }: Observation, key: string): string[] {
  return facts.get(key) ?? [];
}

/** The text after a label in what the host's own program said; undefined when it has no such line. */
function said(seen: Observation, label: string): string | undefined {
  const line = all(seen, "program").find((each) => each.startsWith(`${label}: `));
  return line?.slice(label.length + 2);
}

/** The slaves that are up; undefined when the host does not answer. */
function slavesUpOf(seen: Observation): Set<string> | undefined {
  if (seen.unreachable !== undefined) return undefined;
  const states = all(seen, "slave").map((text) => text.split(" "));
  return new Set(states.flatMap(([tap, state]) => (state === "up" ? [tap!] : [])));
}

function endReport({ host, taps }: End, seen: Observation, up: Set<string> | undefined): EndReport {
  const [sent, answered] = (all(seen, "ping")[0] ?? "").split(" ").map(Number);
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

/** The Pi says whether the LAN goes through the bond, the server under which address it then appears. */
function outsideOf(plan: Plan, pi: Observation, server: Observation): string {
  const [device] = (all(pi, "leaves")[0] ?? "").split(" ");
  const [, address] = (all(server, "leaves")[0] ?? "").split(" ");
  if (device && device !== plan.pi.bond) return `the LAN leaves by ${device}, past the bond`;
  const under = address ? `under ${address}` : `under ${plan.server.address}, says the config`;
  return device
    ? `the LAN leaves through ${device}, and is seen ${under}`
    : `through the bond the LAN is seen ${under}`;
}

/** Each tunnel's traffic by the Pi's counters; by the server's, which are the other way round, where the Pi is silent. */
function samplesOf(plan: Plan, seen: Record<"pi" | "server", Observation>): Map<string, Traffic> | undefined {
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

function changesOf(plan: Plan, seen: Observation): Change[] {
  return all(seen, "change").flatMap((text) => {
    const [time, tap, state] = text.split(" ");
    const tunnel = plan.tunnels.find(({ piTap, serverTap }) => tap === piTap || tap === serverTap);
    if (!tunnel) return [];
    return [{ host: seen.host, time: Number(time), tunnel: tunnel.name, up: state === "up" }];
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
    ...warnOfOffers(seen.facts),
    ...all(seen, "router").map(
      (router) =>
        `the router ${router} offers IPv6 to the LAN of ${plan.pi.interface}: machines that take it go round the bond; see docs/how-to.md`,
    ),
  ];
  return found.map((text) => `${host}: ${text}`);
}

function labelled(text: string | undefined, tell: (text: string) => string): string[] {
  return text === undefined ? [] : [tell(text)];
}

function parted(pi: Observation, server: Observation): string[] {
  const [one, other] = [pi, server].map((each) => said(each, "current generation"));
  if (one === undefined || other === undefined || one === other) return [];
  return [`the hosts run different generations, ${one} and ${other}; npx pulumi up mends it`];
}
