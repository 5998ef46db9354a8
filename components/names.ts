import type { Plan } from "../site/plan.ts";

/**
 * Where a site's things stand on a host, all of them named by the site, so that several sites can share a
 * server: here alone are the names made. What belongs to a backup server's bond is told by the backup's name besides.
 */
export function namesOf({ site, at }: Pick<Plan, "site" | "at">) {
  const folder = `/etc/adsl-bonding/${site}`;
  const memory = `/var/lib/adsl-bonding/${site}`;
  const unit = (name: string) => ({
    name: `adsl-${site}-${name}`,
    path: `/etc/systemd/system/adsl-${site}-${name}`,
  });
  return {
    folder,
    bondScript: `${folder}/bond${at}`,
    routesScript: `${folder}/routes`,
    gatewaysScript: `${folder}/gateways`,
    firewallRules: `${folder}/firewall.nft`,
    firewallScript: `${folder}/firewall`,
    keeperScript: `${folder}/keeper`,
    /** Where a script keeps the picture of what it has set, while it stands. */
    picture: (what: string) => `/run/adsl-${site}-${what}.picture`,
    check: `${folder}/check`,
    /** Where the main bond's shaper tells the others what leaves past the bonds; in /run. */
    directRuntime: `adsl-${site}-direct`,
    shaperScript: `${folder}/shaper${at}`,
    watchProgram: `${folder}/watch`,
    hangupProgram: `${folder}/hangup`,
    detourScript: `${folder}/detour`,
    /** Where the bonds stand, by a file each, that traffic was led round. */
    detourFolder: `/run/adsl-${site}-detour`,
    /** Stands there while a unit is stopped only to be started by another text (program.sh). */
    replaced: `/run/adsl-${site}-replaced`,
    tunnel: (tunnel: string) => `${folder}/tunnel-${tunnel}.conf`,
    peer: (line: string) => `${folder}/peer-${line}${at}.conf`,
    certificate: (key: string) => `${folder}/keys/${key}.crt`,
    privateKey: (key: string) => `${folder}/keys/${key}.key`,
    dnsmasq: `${folder}/dnsmasq.conf`,
    dnsmasqScript: `${folder}/dnsmasq`,
    /** The program's own memory of the site (program.sh), which goes with it. */
    memory,
    leases: `${memory}/leases`,
    /** Stands there while a change is on trial: what it lists is not confirmed yet. */
    trial: `${memory}/trying`,
    sourcesScript: `${folder}/sources`,
    sources: `${memory}/sources`,
    sysctl: `/etc/sysctl.d/60-adsl-${site}.conf`,
    networkd: `/etc/systemd/networkd.conf.d/60-adsl-${site}.conf`,
    networkManager: `/etc/NetworkManager/conf.d/60-adsl-${site}.conf`,
    nftTable: `adsl_bonding_${site}`,
    /** The comment by which rules of ours are known in the tables of others. */
    mark: `adsl-bonding-${site}`,
    bondUnit: unit(`bond${at}.service`),
    routesUnit: unit("routes.service"),
    gatewaysUnit: unit("gateways.service"),
    firewallUnit: unit("firewall.service"),
    sourcesTimer: unit("sources.timer"),
    sourcesUnit: unit("sources.service"),
    keeperUnit: unit("keeper.service"),
    dnsmasqUnit: unit("dnsmasq.service"),
    shaperUnit: unit(`shaper${at}.service`),
    watchUnit: unit("watch.service"),
    hangupUnit: unit("hangup.service"),
    detourUnit: unit("detour.service"),
    /** The template of all tunnels' units; an instance's name is `adsl-SITE-tunnel@NAME.service`. */
    tunnelTemplate: unit("tunnel@.service"),
    /** Where a tunnel's OpenVPN may write while it runs: under /run, gone with it. */
    tunnelRuntime: (tunnel: string) => `adsl-${site}-tunnel-${tunnel}`,
    tunnelUnit: (tunnel: string) => `adsl-${site}-tunnel@${tunnel}.service`,
  };
}

export type Names = ReturnType<typeof namesOf>;
