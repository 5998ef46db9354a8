import { isAddress } from "./address.ts";
import type { Mistake } from "./mistake.ts";
import { type Raw, rawLogins, rawServers } from "./raw.ts";

/**
 * Hosts that are one and the same by what the config says of them: a server that listens on another one's address, or a login
 * that leads to where another host's does. Behind one address several can be reached, each by a port of its own.
 */
export function sameHosts(site: Raw): Mistake[] {
  const servers = rawServers(site);
  const binds = servers.flatMap(({ path, bind, bindPath }) => {
    const other = servers.find((each) => each.path !== path && isAddress(bind) && each.raw.address === bind);
    if (!other) return [];
    const mend = "Give an address of that server's own, or leave it out.";
    return [{ path: bindPath, value: bind, reason: `is the address of ${other.path}`, mend }];
  });
  const logins = rawLogins(site).flatMap(({ path, ssh, address }) => {
    // The Pi's address has its LAN's prefix behind it.
    const own = typeof address === "string" ? address.split("/")[0] : address;
    const [at, port] = [ssh.host ?? own, ssh.port ?? 22];
    if (typeof at !== "string" || typeof port !== "number") return [];
    return [{ path, given: ssh.host, jump: ssh.jump, door: `${at.toLowerCase()} ${port}` }];
  });
  const clashes = logins.flatMap(({ path, given, jump, door }) => {
    const other = logins.find((each) => each.path !== path && each.door === door && !each.jump);
    if (given === undefined || jump || !other) return [];
    const mend =
      "Give the host's own address or name; or, where one address leads to both, the port of each.";
    return [{ path: `${path}.ssh.host`, value: given, reason: `leads to where ${other.path} is`, mend }];
  });
  return [...binds, ...clashes];
}
