import { overlap, parseCidr } from "../../site/address.ts";
import type { Plan } from "../../site/plan.ts";
import type { Facts } from "./look.ts";

/** What is wrong with a server's own addresses: the tunnels, or the forwards, would ask for one that it has not. */
export function addressProblems(plan: Plan, facts: Facts): string[] {
  const { server, vpn, forwards } = plan;
  const own = addressesOf(facts);
  if (!own) return [];
  if (vpn.bind !== undefined) {
    if (own.has(vpn.bind)) return [];
    return [
      `${server.host}: it lacks the address ${vpn.bind} that ${bindField(plan)} names${goesOutBy(facts)}`,
    ];
  }
  if (forwards.length === 0 || own.has(server.address)) return [];
  const reason = `${server.host}: none of its interfaces has ${server.address}, and so no call would match \`forwards\``;
  return [`${reason}; it stands behind NAT: write its own address as ${bindField(plan)}${goesOutBy(facts)}`];
}

/** The same where nothing fails by it yet. */
export function addressDoubts(plan: Plan, facts: Facts): string[] {
  const { server, vpn, forwards } = plan;
  if (vpn.bind !== undefined || forwards.length > 0) return [];
  if (addressesOf(facts)?.has(server.address) !== false) return [];
  const what = `${server.host}: none of its interfaces has ${server.address}`;
  return [
    `${what}: right where it stands behind NAT; \`forwards\` would need its own address as ${bindField(plan)}${goesOutBy(facts)}`,
  ];
}

/**
 * What is wrong with the LAN as `pi.address` gives it: with a prefix, or an interface, that is another one than the Pi's own,
 * LAN machines would be taken for strangers, or strangers for them. An address that the Pi has not now may be one that is to come.
 */
export function lanProblems({ pi }: Pick<Plan, "pi">, facts: Facts): string[] {
  const stands = (facts.get("address") ?? [])
    .map((text) => text.split(" ") as [string, string])
    .filter(([address]) => address.startsWith(`${pi.address}/`));
  if (stands.length === 0) return [];
  // One that moves between hosts (VRRP) stands alone, beside one of the LAN's.
  const right = ([address, device]: [string, string]) =>
    device === pi.interface && (bitsOf(address) === 32 || parseCidr(address)?.network === pi.lan);
  if (stands.some(right)) return [];
  const own = stands.map(([address, device]) => `${address} on ${device}`).join(", ");
  return [
    `pi: its address is ${own}, and the config has the LAN ${pi.lan} on ${pi.interface}: correct \`pi.address\` or \`pi.interface\``,
  ];
}

/** The networks that lead into a server's bond. */
export function bondNetworks({ pi, bond }: Plan): string[] {
  return [pi.lan, bond.network, ...pi.otherNetworks];
}

/** Networks of the server's own, or of another site on it, that would end in the bond, or the site's in theirs; and a table of both. */
export function routeProblems(plan: Plan, facts: Facts): string[] {
  const { host } = plan.server;
  const inside = routesOf(facts).filter(isEnd);
  const told = (key: string) => (facts.get(key) ?? []).map((text) => text.split(" ") as [string, string]);
  const sites = told("site_network");
  const table = String(plan.serverTable);
  const sharing = new Set(told("site_table").flatMap(([site, theirs]) => (theirs === table ? [site] : [])));
  return [
    ...inside.map(({ network, route, device }) =>
      [
        `${host}: its own network ${route} on ${device} overlaps ${called(network, plan)},`,
        "and what it sends there would go to the site. Give one of them another range",
      ].join(" "),
    ),
    ...bondNetworks(plan).flatMap((network) =>
      sites
        .filter(([, theirs]) => overlap(network, theirs))
        .map(
          ([site, theirs]) =>
            `${host}: the site ${site} on it has ${theirs}, which overlaps ${called(network, plan)}: give one of the sites another range`,
        ),
    ),
    ...[...sharing].map(
      (site) =>
        `${host}: the site ${site} on it has the routing table ${table} too, which is numbered by \`vpn.firstPort\`: give one of the sites another one`,
    ),
  ];
}

/**
 * Other ways of the server's into the site's networks: one that holds more leads to the rest of it still, and one by
 * another tunnel, say, may lead to the same place.
 */
export function routeDoubts(plan: Plan, facts: Facts): string[] {
  return routesOf(facts)
    .filter((each) => !isEnd(each))
    .map(
      ({ network, route, device }) =>
        `${plan.server.host}: by its own route to ${route} on ${device} it will no longer reach what is in ${called(network, plan)}`,
    );
}

/** Whether it is a network that the server itself stands in, and no larger than the site's. */
function isEnd({ network, route, own }: ReturnType<typeof routesOf>[number]): boolean {
  return own && bitsOf(route) >= bitsOf(network);
}

function routesOf(facts: Facts) {
  return (facts.get("route") ?? []).map((text) => {
    const [network = "", route = "", device = "", kind] = text.split(" ");
    return { network, route, device, own: kind === "own" };
  });
}

/** A host's route has no prefix. */
function bitsOf(network: string): number {
  return parseCidr(network)?.prefix ?? 32;
}

function called(network: string, { at, pi, bond, server }: Plan): string {
  if (network === pi.lan) return `the Pi's LAN ${network} (\`pi.address\`)`;
  if (network !== bond.network) return `the network ${network} of another server's bond`;
  return `its bond's network ${network} (${at === "" ? "`bond.network`" : `\`network\` of the backup ${server.host}`})`;
}

/** A server with several addresses may answer from another one, which the boxes drop. */
export function answersElsewhere(plan: Plan, facts: Facts): string[] {
  const { server, vpn } = plan;
  const source = facts.get("source")?.[0];
  if (vpn.bind !== undefined || !source || source === server.address) return [];
  if (!addressesOf(facts)?.has(server.address)) return [];
  const field = bindField(plan);
  return [
    `${server.host}: it goes out by ${source}, and may answer from that: write ${server.address} as ${field}`,
  ];
}

/** Undefined where it was not looked at. */
function addressesOf(facts: Facts): Set<string> | undefined {
  const own = facts.get("address");
  return own && new Set(own.map((text) => text.replace(/[/ ].*/, "")));
}

function bindField({ at, server }: Plan): string {
  return at === "" ? "`vpn.bind`" : `\`bind\` of the backup ${server.host}`;
}

function goesOutBy(facts: Facts): string {
  const source = facts.get("source")?.[0];
  return source ? ` (it goes out by ${source})` : "";
}
