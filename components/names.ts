import type { Plan } from "../site/plan.ts";

/**
 * Where a site's things stand on a host, all of them named by the site, so that several sites can share a
 * server: here alone are the names made.
 */
export function namesOf({ site }: Pick<Plan, "site">) {
  const folder = `/etc/adsl-bonding/${site}`;
  const unit = (name: string) => ({
    name: `adsl-${site}-${name}`,
    path: `/etc/systemd/system/adsl-${site}-${name}`,
  });
  return {
    folder,
    bondScript: `${folder}/bond`,
    routesScript: `${folder}/routes`,
    firewallRules: `${folder}/firewall.nft`,
    check: `${folder}/check`,
    shaperScript: `${folder}/shaper`,
    watchProgram: `${folder}/watch`,
    tunnel: (tunnel: string) => `${folder}/tunnel-${tunnel}.conf`,
    peer: (line: string) => `${folder}/peer-${line}.conf`,
    certificate: (line: string) => `${folder}/keys/${line}.crt`,
    privateKey: (line: string) => `${folder}/keys/${line}.key`,
    sysctl: `/etc/sysctl.d/60-adsl-${site}.conf`,
    networkd: `/etc/systemd/networkd.conf.d/60-adsl-${site}.conf`,
    networkManager: `/etc/NetworkManager/conf.d/60-adsl-${site}.conf`,
    nftTable: `adsl_bonding_${site}`,
    bondUnit: unit("bond.service"),
    routesUnit: unit("routes.service"),
    firewallUnit: unit("firewall.service"),
    shaperUnit: unit("shaper.service"),
    watchUnit: unit("watch.service"),
    /** The template of all tunnels' units; an instance's name is `adsl-SITE-tunnel@NAME.service`. */
    tunnelTemplate: unit("tunnel@.service"),
    tunnelUnit: (tunnel: string) => `adsl-${site}-tunnel@${tunnel}.service`,
  };
}

export type Names = ReturnType<typeof namesOf>;
