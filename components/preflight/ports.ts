import type { Plan } from "../../site/plan.ts";
import type { Facts } from "./look.ts";
import { answersElsewhere } from "./networks.ts";

/** A port of a host's. */
interface Port {
  protocol: string;
  port: number;
}

/** All ports of a server that the site's tunnels go to. */
export function tunnelPorts({ lines }: Plan): Port[] {
  return lines.flatMap(({ protocol, tunnelPlans }) => tunnelPlans.map(({ port }) => ({ protocol, port })));
}

/** What each line got no answer to, a sentence for each of its servers. */
export function silences(facts: Facts): string[] {
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
export function takenPorts(host: string, facts: Facts): string[] {
  const taken = (facts.get("taken") ?? []).map((text) => {
    const [, , ...who] = text.split(" ");
    return { ...portOf(text), who: who.join(" ") };
  });
  const mend =
    host === "pi"
      ? "`lan` needs it: end that program there, and keep it from starting again, or take `lan` out of the config"
      : "a tunnel needs it: end that program there, give the tunnels other ports (`vpn.firstPort`, or a line's `port`), or, where it has one address alone, the tunnels another one (`vpn.bind`, or a backup's `bind`)";
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
  return [...closed, ...answersElsewhere(plan, server), advice.join(" ")];
}

/**
 * What a server's own firewall may keep from tunnels that are new on a site that stands, or from all of a server that is new to it:
 * no line is tried with their ports, for the site's own firewall on the Pi would drop that. Which of a chain's rules take them is not
 * known.
 */
export function newPortsMayBeShut({ server }: Plan, facts: Facts, pi: Facts): string[] {
  const stands = pi.get("generation")?.[0];
  const untried = [...(facts.get("untried") ?? []), ...(stands ? (facts.get("listening") ?? []) : [])];
  const ports = untried.map(portOf);
  if (ports.length === 0) return [];
  return (facts.get("closed") ?? [])
    .filter((chain) => !server.letThrough.input.includes(chain))
    .map((chain) => seeThat(server.host, chain, portsInWords(ports)));
}

/**
 * What the Pi's own firewall may keep from it. The tunnels need nothing let in there; what the LAN asks of it does, and what is
 * forwarded to it. Which of a chain's rules take that is not known.
 */
export function mayBeShut({ lan, forwards, pi }: Plan, seen: Facts): string[] {
  const wanted = [
    ...(lan ? [`${lan.dhcp ? "DHCP (UDP port 67) and " : ""}DNS (port 53) on ${pi.interface}`] : []),
    ...(forwards.some(({ host }) => host === undefined) ? [`the ports forwarded to it on ${pi.bond}`] : []),
  ];
  if (wanted.length === 0) return [];
  return (seen.get("closed") ?? [])
    .filter((chain) => !pi.letThrough.input.includes(chain))
    .map((chain) => seeThat("pi", chain, wanted.join(", and ")));
}

function seeThat(host: string, chain: string, wanted: string): string {
  return `${host}: its firewall's chain ${chain} drops what none of its rules takes: see that these let in ${wanted}`;
}

/** A port as look.sh tells it: its protocol, its number, and perhaps more. */
function portOf(text: string): Port {
  const [protocol, port] = text.split(" ");
  return { protocol: protocol!, port: Number(port) };
}

/** Ports in words, by their protocols: `UDP ports 1194-1195, 1200 and TCP port 443`. */
function portsInWords(ports: Port[]): string {
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
