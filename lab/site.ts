import { readFile } from "node:fs/promises";
import { LabError } from "./system.ts";

/** One ADSL access: the box on the LAN and the line behind it. */
export type Line = {
  name: string;
  /** The box's address on the LAN, or on the line's own cable. */
  box: string;
  /**
   * A cable of its own between the box and the Pi, instead of the LAN: the Pi's interface there, with its address or
   * `dhcp`, which the box then serves.
   */
  cable?: { interface: string; address: string };
  /** The address that the line has on the internet. */
  public: string;
  /** ATM rates in kbit/s, towards the site and away from it. */
  down: number;
  up: number;
  /** The idle line's round-trip time in ms. */
  rtt: number;
  /** Packets that the box, or the provider's end, queues before it drops. */
  queue: number;
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
  /** Rented servers; the first is the main one. Their router is the .1 of their network. */
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

/** The site as the guest's scripts read it, and the files of each host that depend on it. */
export function siteFiles(site: Site): Files {
  const networks = [...site.servers, site.far, site.mirror].map(({ address }) => `${router(address)}/24`);
  const words = [
    `lan lan ${site.operator.address}/24 ${site.operator.gateway}`,
    `internet core ${[...new Set(networks)].join(" ")}`,
    ...site.lines.flatMap(({ cable }, index) => (cable ? [`cable ${ownBridge(index)}`] : [])),
    `host pi`,
    ...site.servers.map(({ name }) => `host ${name}`),
    ...site.lines.map((line, index) => {
      const bridge = line.cable ? ownBridge(index) : "lan";
      return `line ${line.name} ${bridge} ${line.box}/24 ${line.public} ${line.down} ${line.up} ${line.rtt} ${line.queue}${line.cable?.address === "dhcp" ? " dhcp" : ""}`;
    }),
    `client client ${site.client.address}/24 ${site.client.gateway}`,
    `far far ${site.far.address}/24 ${router(site.far.address)}`,
    `mirror mirror ${site.mirror.address}/24 ${router(site.mirror.address)}`,
  ];
  const files: Files = {
    site: `${words.join("\n")}\n`,
    "cables/pi": [
      "eth0 lan",
      ...site.lines.flatMap(({ cable }, index) => (cable ? [`${cable.interface} ${ownBridge(index)}`] : [])),
      "",
    ].join("\n"),
    "hosts/pi/etc/network/interfaces": [
      "auto lo",
      "iface lo inet loopback",
      "",
      "auto eth0",
      "iface eth0 inet static",
      `\taddress ${site.pi.address}/24`,
      `\tgateway ${site.pi.gateway}`,
      "",
    ].join("\n"),
  };
  const sysctl = { ...(site.pi.forwarding ? { "net.ipv4.ip_forward": 1 } : {}), ...site.pi.sysctl };
  files["hosts/pi/etc/sysctl.d/10-router.conf"] = Object.entries(sysctl)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join("");
  for (const { cable } of site.lines) {
    if (!cable) continue;
    const words =
      cable.address === "dhcp"
        ? ["[Network]", "DHCP=ipv4", "[DHCPv4]", "RouteMetric=100"]
        : ["[Network]", `Address=${cable.address}/24`];
    files[`hosts/pi/etc/systemd/network/10-${cable.interface}.network`] = [
      "[Match]",
      `Name=${cable.interface}`,
      ...words,
      "",
    ].join("\n");
  }
  for (const { name, address } of site.servers) {
    files[`cables/${name}`] = "eth0 core internet\n";
    files[`hosts/${name}/etc/systemd/network/10-eth0.network`] = [
      "[Match]",
      "Name=eth0",
      "",
      "[Network]",
      `Address=${address}/24`,
      `Gateway=${router(address)}`,
      "",
    ].join("\n");
  }
  for (const name of ["pi", ...site.servers.map((server) => server.name)]) {
    const source = `deb [trusted=yes] http://${site.mirror.address} ./\n`;
    files[`hosts/${name}/etc/apt/sources.list.d/lab.list`] = source;
  }
  return files;
}
