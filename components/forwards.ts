import type { Forward, PortRange } from "../site/forwards.ts";
import type { Plan } from "../site/plan.ts";
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
      matches(forward, forward.toPorts).map(
        (match) => `oifname "${server.bond}" ip daddr ${target(forward)} ${match} ct status dnat accept`,
      ),
    ),
  };
}

/**
 * The Pi's part. What a connection from the bond is answered with goes back there, whatever route main has to
 * the caller. And a LAN host that calls the server's address gets to the forward's machine from here: the
 * server's own address is reached outside the bond, so the call would travel two lines; the answer comes back by the
 * Pi because the Pi's address stands in for the caller's.
 */
export function piForwards({ forwards, pi, server, bondMark }: Plan): FirewallRules["chains"] {
  if (forwards.length === 0) return [];
  const answers = `ct direction reply ct mark ${bondMark} meta mark set ${bondMark}`;
  return [
    {
      name: "marks",
      hook: "filter hook prerouting priority mangle; policy accept",
      rules: [
        `iifname "${pi.bond}" ct state new ct mark set ${bondMark}`,
        `iifname != "${pi.bond}" ${answers}`,
      ],
    },
    { name: "answers", hook: "route hook output priority mangle; policy accept", rules: [answers] },
    {
      name: "prerouting",
      hook: "nat hook prerouting priority dstnat; policy accept",
      rules: forwards.flatMap((forward) =>
        translations(forward, forward.host ?? pi.address).map(
          (rule) => `iifname "${pi.interface}" ip saddr ${pi.lan} ip daddr ${server.address} ${rule}`,
        ),
      ),
    },
    {
      name: "postrouting",
      hook: "nat hook postrouting priority srcnat; policy accept",
      rules: [
        `oifname "${pi.interface}" ip saddr ${pi.lan} ct status dnat ct original ip daddr ${server.address} masquerade`,
      ],
    },
  ];
}
