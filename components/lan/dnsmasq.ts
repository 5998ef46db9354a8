import ipaddr from "ipaddr.js";
import type { PlannedLan } from "../../site/lan.ts";
import type { Plan } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { daemonUnit } from "../unit.ts";

/** What dnsmasq serves on the LAN: names, and addresses where the site wants that. */
export function renderDnsmasq({ site, pi }: Plan, { dhcp, upstream }: PlannedLan, names: Names): string {
  return `# ${dhcp ? "Addresses and names" : "Names"} for the LAN of site ${site}, ${pi.lan}.
user=dnsmasq
interface=${pi.interface}
except-interface=lo
# Other resolvers of this Pi keep their own addresses.
bind-dynamic
no-hosts
# Asked as the Pi's own traffic, and so through the bond: not of a box, which dies with its line.
no-resolv
${upstream.map((address) => `server=${address}`).join("\n")}
domain-needed
bogus-priv
cache-size=1000
${dhcp ? renderDhcp(pi, dhcp, names) : ""}`;
}

function renderDhcp(
  pi: Plan["pi"],
  { from, to, lease }: NonNullable<PlannedLan["dhcp"]>,
  names: Names,
): string {
  const mask = ipaddr.IPv4.subnetMaskFromPrefixLength(ipaddr.IPv4.parseCIDR(pi.lan)[1]).toString();
  return `# Not authoritative: a box's own DHCP server that is still on is told by a warning, and not fought.
dhcp-range=${from},${to},${mask},${lease}
dhcp-option=option:router,${pi.address}
dhcp-option=option:dns-server,${pi.address}
dhcp-leasefile=${names.leases}
`;
}

/** The unit of a dnsmasq of our own: the distribution's, where it runs, is another one. */
export function renderDnsmasqUnit(site: string, names: Names): string {
  return daemonUnit({
    description: `addresses and names for the LAN of site ${site}`,
    wants: ["network-online.target"],
    runs: [`ExecStart=/usr/sbin/dnsmasq --keep-in-foreground --pid-file= --conf-file=${names.dnsmasq}`],
    capabilities:
      "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN",
    families: "AF_INET AF_INET6 AF_NETLINK AF_UNIX AF_PACKET",
    writes: names.memory,
  });
}
