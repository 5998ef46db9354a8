import ipaddr from "ipaddr.js";

/** An IPv4 address with the network it stands in, as written `192.168.1.252/24`. */
export interface Cidr {
  /** The address itself, e.g. `192.168.1.252`. */
  address: string;
  /** Length of the network's prefix, 0 to 32. */
  prefix: number;
  /** The network's own address with its prefix, e.g. `192.168.1.0/24`. */
  network: string;
}

/** True for a dotted IPv4 address of four decimal parts; `10.1` and `010.0.0.1` are not taken. */
export function isAddress(text: unknown): text is string {
  return typeof text === "string" && ipaddr.IPv4.isValidFourPartDecimal(text);
}

/** What the address is of, where no single other machine can have it; undefined where one can. */
export function specialRange(address: string): string | undefined {
  const range = ipaddr.IPv4.parse(address).range();
  if (range === "unspecified") return "stands for no machine at all";
  if (range === "loopback") return "stands for the very machine that uses it (loopback)";
  if (range === "multicast") return "stands for many machines at once (multicast)";
  if (range === "broadcast") return "stands for all machines at once (broadcast)";
  return contains("240.0.0.0/4", address) ? "is of a range that nobody may use (240.0.0.0/4)" : undefined;
}

/** True for an address of 169.254.0.0/16, which machines give themselves on one cable, and no router passes on. */
export function isLinkLocal(address: string): boolean {
  return contains("169.254.0.0/16", address);
}

/** True for an address that a machine elsewhere can have: not this very machine's, nor one of many at once. */
export function isReachable(text: unknown): text is string {
  return isAddress(text) && specialRange(text) === undefined && !isLinkLocal(text);
}

/** Networks that nobody has on the internet: of RFC 1918, and of RFC 6598. */
const privateNetworks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];

/** True for a network that lies wholly in one that nobody has on the internet. */
export function isPrivate(inner: Pick<Cidr, "address" | "prefix">): boolean {
  return privateNetworks.some((each) => holds(each, inner));
}

/** True when a network (given as `address/prefix`) holds another one wholly. */
export function holds(network: string, { address, prefix }: Pick<Cidr, "address" | "prefix">): boolean {
  return parseCidr(network)!.prefix <= prefix && contains(network, address);
}

/** Reads `address/prefix`; undefined when it is not one. */
export function parseCidr(text: unknown): Cidr | undefined {
  if (typeof text !== "string") return undefined;
  const [address, prefix, rest] = text.split("/");
  if (!isAddress(address) || prefix === undefined || rest !== undefined) return undefined;
  if (!/^\d{1,2}$/.test(prefix) || Number(prefix) > 32) return undefined;
  const network = ipaddr.IPv4.networkAddressFromCIDR(text).toString();
  return { address, prefix: Number(prefix), network: `${network}/${Number(prefix)}` };
}

/** True when the address stands in the network (given as `address/prefix`). */
export function contains(network: string, address: string): boolean {
  return ipaddr.IPv4.parse(address).match(ipaddr.IPv4.parseCIDR(network));
}

/** True when two networks share an address: one of them then holds the other. */
export function overlap(a: string, b: string): boolean {
  return contains(a, addressOf(b)) || contains(b, addressOf(a));
}

/** True for an address that no host of the network may have: its own, or its broadcast address. */
export function isReserved(network: string, address: string): boolean {
  if (parseCidr(network)!.prefix >= 31) return false;
  return (
    ipaddr.IPv4.networkAddressFromCIDR(network).toString() === address ||
    ipaddr.IPv4.broadcastAddressFromCIDR(network).toString() === address
  );
}

/** An address as a number, by which addresses are in order. */
export function addressNumber(address: string): number {
  return ipaddr.IPv4.parse(address)
    .toByteArray()
    .reduce((sum, byte) => sum * 256 + byte, 0);
}

/** True for an address from the first one to the last, both of them included. */
export function isBetween(address: string, first: string, last: string): boolean {
  const number = addressNumber(address);
  return number >= addressNumber(first) && number <= addressNumber(last);
}

/** The n-th address of a network, the network's own being the 0th. */
export function nthAddress(network: string, n: number): string {
  const value = addressNumber(ipaddr.IPv4.networkAddressFromCIDR(network).toString()) + n;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

function addressOf(cidr: string): string {
  return cidr.slice(0, cidr.indexOf("/"));
}
