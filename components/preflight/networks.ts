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

/** Undefined where it was not looked at. */
function addressesOf(facts: Facts): Set<string> | undefined {
  const own = facts.get("address");
  return own && new Set(own);
}

function bindField({ at, server }: Plan): string {
  return at === "" ? "`vpn.bind`" : `\`bind\` of the backup ${server.host}`;
}

function goesOutBy(facts: Facts): string {
  const source = facts.get("source")?.[0];
  return source ? ` (it goes out by ${source})` : "";
}
