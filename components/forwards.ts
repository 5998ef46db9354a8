import type { Forward, PortRange } from "../site/forwards.ts";
import { everyServer, type Plan } from "../site/plan.ts";
import type { FirewallRules } from "./firewall.ts";

/** What a forward's rule looks for, in nftables' words: `tcp dport 80`, for each of its protocols. */
function matches({ protocols }: Forward, range: PortRange): string[] {
  return protocols.map((protocol) => `${protocol} dport ${text(range)}`);
}

function text({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}

/**
 * The translation of a forward's packets: `address` takes the server's place, and each port goes to its own. A
 * range of other ports wants a map: nftables would choose any of a plain range.
 */
function translations(forward: Forward, address: string): string[] {
  const { protocols, ports, toPorts } = forward;
  const shift = toPorts.first - ports.first;
  return matches(forward, ports).map((match, index) => {
    if (shift === 0) return `${match} dnat ip to ${address}`;
    if (ports.first === ports.last) return `${match} dnat ip to ${address}:${toPorts.first}`;
    const pairs = Array.from({ length: ports.last - ports.first + 1 }, (_, nth) => ports.first + nth)
      .map((port) => `${port} : ${port + shift}`)
      .join(", ");
    return `${match} dnat ip to ${address} : ${protocols[index]} dport map { ${pairs} }`;
  });
}

/** The server's part: forwarded ports go through the bond, with the caller's own address. */
export function serverForwards({ forwards, pi, server, vpn }: Plan): {
  chains: FirewallRules["chains"];
  accepts: string[];
} {
  if (forwards.length === 0) return { chains: [], accepts: [] };
  // The Pi by its address in the bond: its answers then have that one, sockets bound to no address too.
  const target = ({ host }: Forward) => host ?? pi.bondAddress;
  const own = vpn.bind ?? server.address;
  return {
    chains: [
      {
        name: "prerouting",
        hook: "nat hook prerouting priority dstnat; policy accept",
        rules: forwards.flatMap((forward) =>
          translations(forward, target(forward)).map((rule) => `ip daddr ${own} ${rule}`),
        ),
      },
    ],
    accepts: forwards.flatMap((forward) =>
      callsOf(forward).map(
        (match) => `oifname "${server.bond}" ip daddr ${target(forward)} ${match} ct status dnat accept`,
      ),
    ),
  };
}

/** What comes to LAN hosts by a forward, as the Pi sees it: the server has translated its address. */
export function forwardedCalls({ forwards }: Plan): string[] {
  return forwards.flatMap((forward) =>
    forward.host === undefined ? [] : callsOf(forward).map((match) => `ip daddr ${forward.host} ${match}`),
  );
}

/** What comes by a forward as the machine sees it that answers. */
export function callsOf(forward: Forward): string[] {
  return matches(forward, forward.toPorts);
}

/**
 * The Pi's part: a LAN host that calls a server's address gets to the forward's machine from here. The server's own
 * address is reached outside the bond, so the call would travel two lines; the answer comes back by the
 * Pi because the Pi's address stands in for the caller's.
 */
export function piForwards(plan: Plan): FirewallRules["chains"] {
  const { forwards, pi } = plan;
  if (forwards.length === 0) return [];
  const addresses = everyServer(plan).map(({ server }) => server.address);
  return [
    {
      name: "prerouting",
      hook: "nat hook prerouting priority dstnat; policy accept",
      rules: addresses.flatMap((address) =>
        forwards.flatMap((forward) =>
          translations(forward, forward.host ?? pi.address).map(
            (rule) => `iifname "${pi.interface}" ip saddr ${pi.lan} ip daddr ${address} ${rule}`,
          ),
        ),
      ),
    },
    {
      name: "postrouting",
      hook: "nat hook postrouting priority srcnat; policy accept",
      rules: addresses.map(
        (address) =>
          `oifname "${pi.interface}" ip saddr ${pi.lan} ct status dnat ct original ip daddr ${address} masquerade`,
      ),
    },
  ];
}
