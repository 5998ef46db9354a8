import { isAddress, nthAddress, parseCidr } from "./address.ts";
import { type BondMode, type HashPolicy, planMode } from "./bondMode.ts";
import { type Direct, planDirect } from "./bypass.ts";
import { type MonthlyCost, monthlyCost } from "./cost.ts";
import { type Forward, planForwards } from "./forwards.ts";
import { type PlannedLan, planLan } from "./lan.ts";
import { encapsulations } from "./mtu.ts";
import type { Line, Site, Ssh } from "./schema.ts";
import { type Server, serversOf } from "./servers.ts";
import { planShaping, type Shaping } from "./shaping.ts";
import { countPorts, keyName, planMtu } from "./tunnels.ts";
import { planWatch, probesPerSecond, type Watch } from "./watch.ts";

/** One OpenVPN tunnel: a tap at each end, and the server's port that joins them. */
export interface Tunnel {
  /** Name of its files and unit, at both ends: the line's, or `LINE-2` for its second; `LINE-at-NAME` to a backup. */
  name: string;
  port: number;
  piTap: string;
  serverTap: string;
}

/** One ADSL line with all that is derived for it. */
export interface PlannedLine extends Line {
  interface: string;
  mtu: number;
  /** Firewall mark of its tunnels' own packets on the Pi: it alone chooses the routing table. */
  mark: number;
  /** Mark of TCP connections that began by its box while the bond was dead. */
  stayMark: number;
  /** Routing table on the Pi that holds the box as its only way out. */
  table: number;
  /** Name of its key pair at both ends. */
  key: string;
  tunnelPlans: Tunnel[];
}

/** One end of the bond. */
export interface End {
  /** What the end is called in names of resources and in messages: `pi`, `server`, or a backup's name. */
  host: string;
  ssh: Ssh;
  /** Where SSH connects to unless `ssh.host` says otherwise. */
  address: string;
  bond: string;
  bondAddress: string;
  peerAddress: string;
  /** Its taps in the order of enslavement, which is the order balance-rr sends in. */
  taps: string[];
  /** Chains of somebody else's firewall there that get a rule of ours, by their hook. */
  letThrough: { forward: string[]; input: string[] };
}

/**
 * All names and numbers of a site with one of its servers, derived from its config: pure, and the same at every run.
 * The site's own plan is the one with its main server, and holds the others.
 */
export interface Plan {
  site: string;
  /** What names on either host end in that belong to this server's bond: nothing for the main one, `-at-NAME` for a backup. */
  at: string;
  /** The same site with each of its backup servers, in the order of preference; none in a backup's own plan. */
  backups: Plan[];
  pi: End & {
    lan: string;
    interface: string;
    /** Networks of its bonds to the site's other servers: a connection that began there may go on by this one. */
    otherNetworks: string[];
  };
  server: End;
  lines: PlannedLine[];
  /** Tunnels of all lines, in the order of enslavement. */
  tunnels: Tunnel[];
  bond: {
    prefix: number;
    network: string;
    mode: BondMode;
    hashPolicy: HashPolicy;
    arpInterval: number;
    arpMissed: number;
    mtu: number;
    /** Largest TCP segment where packets of the MTU would be cut on a line; undefined where none are. */
    segment: number | undefined;
  };
  keepalive: { interval: number; timeout: number };
  /** What else holds for all tunnels, as the config has it. */
  vpn: Omit<Site["vpn"], "firstPort" | "keepalive" | "keys">;
  /** Routing table of the Pi's default route through the bond. */
  bondTable: number;
  /** Mark of connections that go by the bond: what belongs to them leaves by it, while it lives. */
  bondMark: number;
  forwards: Forward[];
  /** What leaves past the bond, and what does where it has no live slave. */
  direct: Direct;
  /** Routing table on the server for the site's LAN: by the site's first port, which no other site has. */
  serverTable: number;
  /** The queues at both ends; undefined where none is wanted. */
  shaping: Shaping | undefined;
  /** The watch over the lines' loss; undefined where none is wanted, or there is but one line. */
  watch: Watch | undefined;
  confirmWithin: number;
  /** Towards which address the LAN's way out is proved; false: it is not. */
  wayOut: string | false;
  /** Where the server is looked up at OVH; undefined: nowhere. */
  ovh?: { serviceName: string; endpoint: string };
  /** What the Pi serves on the LAN; undefined: nothing. */
  lan?: PlannedLan;
  /** What the site costs a month; undefined when its config has no prices. */
  cost?: MonthlyCost;
}

/** The lines' marks and tables: far from what people and distributions number by hand, as those of the bonds (servers.ts). */
const firstMark = 0xad01;
const firstStayMark = 0xad31;
const firstTable = 21001;

export function planSite(site: Site): Plan {
  const servers = serversOf(site);
  const [main, ...backups] = servers.map((server) => planWith(server, servers, site));
  const linesTo = [main!, ...backups].map(({ lines }) => lines);
  return { ...main!, backups, watch: planWatch(site.watch, site.bond.mode, together(linesTo)) };
}

/** The plan of the site as if the server were its only one, but for what several need of one another. */
function planWith(server: Server, servers: Server[], site: Site): Plan {
  const lines = planLines(site, server);
  const { firstPort, keepalive, keys: _, ...vpn } = site.vpn;
  const { ovh } = server.given;
  const watched = planWatch(site.watch, site.bond.mode, lines) !== undefined;
  const tunnels = interleave(lines.map((line) => line.tunnelPlans));
  const bondNetwork = parseCidr(server.network)!;
  const lan = parseCidr(site.pi.address)!;
  const serverBond = nthAddress(bondNetwork.network, 1);
  const piBond = nthAddress(bondNetwork.network, 2);
  return {
    site: site.name,
    at: server.at,
    backups: [],
    pi: {
      host: "pi",
      ssh: site.pi.ssh,
      address: lan.address,
      lan: lan.network,
      interface: site.pi.interface,
      otherNetworks: servers
        .filter((other) => other !== server)
        .map(({ network }) => parseCidr(network)!.network),
      bond: server.bond,
      bondAddress: piBond,
      peerAddress: serverBond,
      taps: tunnels.map((tunnel) => tunnel.piTap),
      letThrough: site.pi.letThrough,
    },
    server: {
      host: server.host,
      ssh: server.given.ssh,
      address: server.given.address,
      bond: `bond-${site.name}`,
      bondAddress: serverBond,
      peerAddress: piBond,
      taps: tunnels.map((tunnel) => tunnel.serverTap),
      letThrough: server.given.letThrough,
    },
    lines,
    tunnels,
    bond: {
      prefix: bondNetwork.prefix,
      network: bondNetwork.network,
      ...planMode(site.bond),
      arpInterval: site.bond.arpInterval,
      arpMissed: site.bond.arpMissed,
      ...planMtu(site),
    },
    keepalive,
    vpn: { ...vpn, bind: server.bind },
    bondTable: server.table,
    bondMark: server.mark,
    forwards: planForwards(site.forwards, lan.address),
    direct: planDirect(site.bypass, site.fallback, lines, lan),
    // Well above the system's own tables: 254 is main.
    serverTable: 20000 + firstPort,
    shaping: planShaping(site.qos, site.bond.mode, lines, {
      arpInterval: site.bond.arpInterval,
      probesPerSecond: watched ? probesPerSecond : 0,
      bonds: servers.length,
    }),
    watch: undefined,
    confirmWithin: site.activation.confirmWithin,
    wayOut: site.activation.wayOut,
    ovh: ovh && { serviceName: ovh.serviceName, endpoint: ovh.endpoint },
    lan: site.lan && planLan(site.lan),
    cost: monthlyCost(site),
  };
}

/** The site's plans with each of its servers, the main one first. */
export function everyServer(plan: Plan): Plan[] {
  return [plan, ...plan.backups];
}

/**
 * The addresses by which the servers are reached outside the bonds: those that the tunnels go to, and those that are logged in to,
 * where they are others. Whoever deploys from the LAN has his connections there.
 */
export function serverAddresses(plan: Plan): string[] {
  const all = everyServer(plan).flatMap(({ server: { address, ssh } }) => [
    address,
    ...(isAddress(ssh.host) ? [ssh.host] : []),
  ]);
  return [...new Set(all)];
}

/** Each line with its tunnels to all servers: it is out, or used, for all of them. */
function together([lines = [], ...others]: PlannedLine[][]): PlannedLine[] {
  return lines.map((line, index) => ({
    ...line,
    tunnelPlans: [line, ...others.map((those) => those[index]!)].flatMap((each) => each.tunnelPlans),
  }));
}

function planLines(site: Site, server: Server): PlannedLine[] {
  let number = 0;
  const ports = countPorts(site.lines, site.vpn.firstPort);
  return site.lines.map((line, index) => ({
    ...line,
    interface: line.interface ?? site.pi.interface,
    mtu: line.mtu ?? encapsulations[line.encapsulation].mtu,
    mark: firstMark + index,
    stayMark: firstStayMark + index,
    table: firstTable + index,
    key: keyName(line, site.vpn.keys),
    tunnelPlans: Array.from({ length: line.tunnels }, (_, nth) => {
      const tap = `tap${number++}`;
      return {
        name: `${nth === 0 ? line.name : `${line.name}-${nth + 1}`}${server.at}`,
        port: ports[index]![nth]!,
        piTap: server.at ? `${tap}-${server.host}` : tap,
        serverTap: `${tap}-${site.name}`,
      };
    }),
  }));
}

/**
 * Spreads the tunnels of lines with several among the others, so that balance-rr, which takes the slaves in
 * the order of enslavement, doesn't send a burst over one line: each tunnel stands at the middle of its
 * share of the round.
 */
function interleave(perLine: Tunnel[][]): Tunnel[] {
  return perLine
    .flatMap((tunnels) => tunnels.map((tunnel, nth) => ({ tunnel, at: (nth + 0.5) / tunnels.length })))
    .sort((a, b) => a.at - b.at)
    .map(({ tunnel }) => tunnel);
}
