import { readFile } from "node:fs/promises";
import type { Encapsulation } from "../site/mtu.ts";
import { LabError } from "./system.ts";

/** One ADSL access: the box on the LAN and the line behind it. */
export type Line = {
  name: string;
  /** The box's address on the LAN, or on the line's own cable. */
  box: string;
  /**
   * A cable of its own between the box and the Pi, instead of the LAN: the Pi's interface there, with its address or
   * `dhcp`, which the box then serves. `eth0.35` is a VLAN on the cable to the LAN, and has an address.
   */
  cable?: { interface: string; address: string };
  /** The address that the line has on the internet. */
  public: string;
  /** Rates in kbit/s, of ATM where it has cells, towards the site and away from it. */
  down: number;
  up: number;
  /** The idle line's round-trip time in ms. */
  rtt: number;
  /** Packets that the box, or the provider's end, queues before it drops. */
  queue: number;
  /** What it puts around each packet; pppoe-llc unless told. */
  encapsulation?: Encapsulation;
};

/** What the lab emulates: a site with its lines, and the servers it may use. All networks are IPv4 /24. */
export type Site = {
  /** The operator's machine on the LAN, which is the guest itself. */
  operator: { address: string; gateway: string };
  /** A machine on the LAN that uses the internet. */
  client: { address: string; gateway: string };
  /** The router at home; `forwarding` and `sysctl` are what it was set to before the program came. */
  pi: { address: string; gateway: string; forwarding: boolean; sysctl?: Record<string, number> };
  lines: Line[];
  /** Rented servers: the main one, then the backups. Their router is the .1 of their network. */
  servers: { name: string; address: string }[];
  /** A machine on the internet to transfer from and to. */
  far: { address: string };
  /** The package mirror. */
  mirror: { address: string };
};

/** The how-to's site: two lines, one server. */
export const defaultSite: Site = {
  operator: { address: "192.168.1.2", gateway: "192.168.1.252" },
  client: { address: "192.168.1.10", gateway: "192.168.1.252" },
  pi: { address: "192.168.1.252", gateway: "192.168.1.254", forwarding: true },
  lines: [
    { name: "ovh", box: "192.168.1.240", public: "192.0.2.11", down: 7232, up: 896, rtt: 50, queue: 100 },
    { name: "orange", box: "192.168.1.254", public: "192.0.2.12", down: 7072, up: 832, rtt: 25, queue: 100 },
  ],
  servers: [{ name: "server", address: "203.0.113.10" }],
  far: { address: "198.51.100.7" },
  mirror: { address: "198.51.100.80" },
};

/** Reads a lab file: JSON with any of the site's fields, the default's standing for the others. */
export async function readSite(file?: string): Promise<Site> {
  if (!file) return defaultSite;
  const site: Site = { ...defaultSite, ...JSON.parse(await readFile(file, "utf8")) };
  const names = [...site.lines, ...site.servers].map(({ name }) => name);
  const taken = new Set(["guest", "pi", "client", "far", "mirror", "internet", "bond", "lab"]);
  for (const name of names) {
    // A name is a namespace and part of an interface's name, which has 15 characters.
    if (!/^[a-z][a-z0-9-]{0,9}$/.test(name))
      throw new LabError(`${name}: a name has 1 to 10 of a-z, 0-9 and -`);
    if (taken.has(name)) throw new LabError(`${name}: this name is taken`);
    taken.add(name);
  }
  return site;
}

/** The router's address of the /24 network that an address is in. */
function router(address: string): string {
  return address.replace(/\d+$/, "1");
}

/** The bridge in the guest that is a line's own cable. */
function ownBridge(index: number): string {
  return `own${index}`;
}

/** A file in the guest, by its path there. */
type Files = Record<string, string>;

/** A host and its cable: its address, its router's, and the bridge it is plugged into, as the guest's scripts name it. */
type Cabled = { name: string; address: string; gateway: string; bridge: string };

/** All hosts of a site, the Pi first. */
function cabled({ pi, servers }: Site): Cabled[] {
  return [
    { name: "pi", address: pi.address, gateway: pi.gateway, bridge: "lan" },
    ...servers.map(({ name, address }) => ({
      name,
      address,
      gateway: router(address),
      bridge: "core internet",
    })),
  ];
}

/** Whether a line's cable is a VLAN on the Pi's own to the LAN. */
function isVlan(cable: NonNullable<Line["cable"]>): boolean {
  return cable.interface.includes(".");
}

/** VLANs on the Pi's cable to the LAN, each with its address. Debian makes an interface whose name holds a dot by itself. */
function vlans({ lines }: Site): string[] {
  return lines.flatMap(({ cable }) =>
    cable && isVlan(cable)
      ? [`auto ${cable.interface}`, `iface ${cable.interface} inet static`, `\taddress ${cable.address}/24`]
      : [],
  );
}

/** How a host is told its address: by NetworkManager in a guest of its own, else as Debian does it, or a provider. */
function networkFile({ name, address, gateway }: Cabled, site: Site, own: boolean): Files {
  if (own) {
    const connection = [
      ...["[connection]", "id=eth0", "type=ethernet", "interface-name=eth0", ""],
      ...["[ipv4]", "method=manual", `address1=${address}/24,${gateway}`, ""],
      ...["[ipv6]", "method=disabled", ""],
    ];
    return { "etc/NetworkManager/system-connections/eth0.nmconnection": connection.join("\n") };
  }
  if (name === "pi") {
    const stanza = ["auto eth0", "iface eth0 inet static", `\taddress ${address}/24`, `\tgateway ${gateway}`];
    const words = ["auto lo", "iface lo inet loopback", "", ...stanza, ...vlans(site), ""];
    return {
      "etc/network/interfaces": words.join("\n"),
    };
  }
  const network = [
    "[Match]",
    "Name=eth0",
    "",
    "[Network]",
    `Address=${address}/24`,
    `Gateway=${gateway}`,
    "",
  ];
  return { "etc/systemd/network/10-eth0.network": network.join("\n") };
}

/** The cables between the Pi and boxes that are not on the LAN: interface and bridge of each. */
function lineCables({ lines }: Site): string[] {
  return lines.flatMap(({ cable }, index) => (cable ? [`${cable.interface} ${ownBridge(index)}`] : []));
}

/** What the Pi was set to before the program came. */
function piFiles({ pi, lines }: Site): Files {
  const sysctl = { ...(pi.forwarding ? { "net.ipv4.ip_forward": 1 } : {}), ...pi.sysctl };
  const settings = Object.entries(sysctl).map(([name, value]) => `${name} = ${value}\n`);
  const files: Files = { "etc/sysctl.d/10-router.conf": settings.join("") };
  for (const { cable } of lines) {
    if (!cable || isVlan(cable)) continue;
    const words =
      cable.address === "dhcp"
        ? ["[Network]", "DHCP=ipv4", "[DHCPv4]", "RouteMetric=100"]
        : ["[Network]", `Address=${cable.address}/24`];
    const network = ["[Match]", `Name=${cable.interface}`, ...words, ""];
    files[`etc/systemd/network/10-${cable.interface}.network`] = network.join("\n");
  }
  return files;
}

/**
 * The site as the guest's scripts read it, and the files of each host that depend on it.
 * @param ownGuests names of the hosts that are QEMU guests of their own; the n-th one's cable ends in the guest's card eth{n}
 */
export function siteFiles(site: Site, ownGuests: string[] = []): Files {
  const hosts = cabled(site);
  const networks = [...site.servers, site.far, site.mirror].map(({ address }) => `${router(address)}/24`);
  const words = [
    `lan lan ${site.operator.address}/24 ${site.operator.gateway}`,
    `internet core ${[...new Set(networks)].join(" ")}`,
    ...site.lines.flatMap(({ cable }, index) => (cable ? [`cable ${ownBridge(index)}`] : [])),
    ...hosts.map(({ name, bridge }) =>
      ownGuests.includes(name) ? `own ${name} eth${ownGuests.indexOf(name) + 1} ${bridge}` : `host ${name}`,
    ),
    ...site.lines.map((line, index) => {
      const bridge = line.cable ? ownBridge(index) : "lan";
      const { down, up, rtt, queue, encapsulation = "pppoe-llc" } = line;
      const how = `${down} ${up} ${rtt} ${queue} ${encapsulation}${line.cable?.address === "dhcp" ? " dhcp" : ""}`;
      return `line ${line.name} ${bridge} ${line.box}/24 ${line.public} ${how}`;
    }),
    `client client ${site.client.address}/24 ${site.client.gateway}`,
    `far far ${site.far.address}/24 ${router(site.far.address)}`,
    `mirror mirror ${site.mirror.address}/24 ${router(site.mirror.address)}`,
  ];
  const files: Files = { site: `${words.join("\n")}\n` };
  for (const host of hosts) {
    const own = ownGuests.includes(host.name);
    const its: Files = {
      ...networkFile(host, site, own),
      "etc/apt/sources.list.d/lab.list": `deb [trusted=yes] http://${site.mirror.address} ./\n`,
      ...(host.name === "pi" ? piFiles(site) : {}),
    };
    for (const [path, text] of Object.entries(its)) files[`hosts/${host.name}/${path}`] = text;
    if (own) continue;
    const cables = host.name === "pi" ? lineCables(site) : [];
    files[`cables/${host.name}`] = [`eth0 ${host.bridge}`, ...cables, ""].join("\n");
  }
  return files;
}
