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
${dhcp ? dhcpOptions(pi.address, names) : ""}`;
}

function dhcpOptions(address: string, names: Names): string {
  return `# Not authoritative: a box's own DHCP server that is still on is told by a warning, and not fought. The range is told by what
# starts this.
dhcp-option=option:router,${address}
dhcp-option=option:dns-server,${address}
dhcp-leasefile=${names.leases}
`;
}

/** The shortest lease that dnsmasq gives (dnsmasq(8), --dhcp-range). */
const shortest = "2m";

/**
 * Starts dnsmasq with the range that it hands out. While a change is on trial an address is lent for two minutes only, and with it this
 * Pi as the gateway: undone, it may route nothing any more, and no machine of the LAN shall believe in it for half a day.
 */
export function renderDnsmasqScript(
  pi: Plan["pi"],
  { from, to, lease }: NonNullable<PlannedLan["dhcp"]>,
  names: Names,
): string {
  const mask = ipaddr.IPv4.subnetMaskFromPrefixLength(ipaddr.IPv4.parseCIDR(pi.lan)[1]).toString();
  return `#!/bin/sh
# Starts dnsmasq: in a trial addresses are lent for ${shortest}. Called by systemd.
set -u
lease=${lease}
if [ -e ${names.trial} ]; then
  lease=${shortest}
  {
    while [ -e ${names.trial} ]; do sleep 2; done
    systemctl --no-block try-restart ${names.dnsmasqUnit.name}
  } &
fi
exec ${dnsmasq(names)} "--dhcp-range=${from},${to},${mask},$lease"
`;
}

function dnsmasq(names: Names): string {
  return `/usr/sbin/dnsmasq --keep-in-foreground --pid-file= --conf-file=${names.dnsmasq}`;
}

/** The unit of a dnsmasq of our own: the distribution's, where it runs, is another one. */
export function renderDnsmasqUnit(site: string, { dhcp }: PlannedLan, names: Names): string {
  return daemonUnit({
    description: `addresses and names for the LAN of site ${site}`,
    wants: ["network-online.target"],
    runs: [`ExecStart=${dhcp ? names.dnsmasqScript : dnsmasq(names)}`],
    capabilities:
      "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN",
    families: "AF_INET AF_INET6 AF_NETLINK AF_UNIX AF_PACKET",
    writes: names.memory,
  });
}
