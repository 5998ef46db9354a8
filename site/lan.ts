import { z } from "zod";
import { addressNumber, type Cidr, contains, isAddress, isBetween, nthAddress } from "./address.ts";
import { address, list, resolverAddress, told } from "./fields.ts";
import { boxesOnLan } from "./lineInterface.ts";
import type { Mistake } from "./mistake.ts";
import { notOnLan, ownNetworks } from "./networks.ts";
import { asRecord, type Raw, rawServers } from "./raw.ts";

/** What the Pi serves on its LAN, where the site wants it. */
export const lan = z.strictObject({
  /** Addresses that it hands out, itself as their gateway and resolver. Default: none. */
  dhcp: z
    .strictObject({
      /** First and last of them, on the Pi's LAN. */
      from: address,
      to: address,
      /** How long an address is lent, with its unit: m, h or d. Default 12h. */
      lease: told(
        (value) => /^[1-9]\d{0,3}[mhd]$/.test(value) && value !== "1m",
        "is no time for which an address can be lent",
        "Write a number and m, h or d, 2m at least, such as 12h.",
      ).default("12h"),
    })
    .optional(),
  /** Names, asked of resolvers out on the internet. Default: where dhcp is given, as here. */
  dns: z
    .strictObject({
      /** The resolvers to ask, through the bond. Default 9.9.9.9 and 1.1.1.1. */
      upstream: list(resolverAddress, { most: 8, none: "names no resolver" }).default(["9.9.9.9", "1.1.1.1"]),
    })
    .optional(),
});

/** The LAN's services with all that is derived for them. */
export interface PlannedLan {
  dhcp?: { from: string; to: string; lease: string };
  upstream: string[];
}

export function planLan({ dhcp, dns }: z.output<typeof lan>): PlannedLan {
  return { dhcp, upstream: dns?.upstream ?? ["9.9.9.9", "1.1.1.1"] };
}

/** What the LAN's services can't be, seen beside the Pi's network and the lines' boxes. */
export function lanMistakes(site: Raw, network: Cidr | undefined, lines: Raw[], pi: Raw): Mistake[] {
  const raw = site.lan;
  if (raw === undefined) return [];
  const { dhcp, dns } = asRecord(raw);
  if (dhcp === undefined && dns === undefined) {
    const mend = "Give lan.dhcp, lan.dns, or both; or take lan out.";
    return [{ path: "lan", value: raw, reason: "asks for nothing", mend }];
  }
  if (!network) return [];
  const boxes = lines.map(({ gateway }) => gateway);
  const servers = rawServers(site).map(({ raw: { address } }) => address);
  return [
    ...rangeMistakes(asRecord(dhcp), network, boxesOnLan(lines, pi)),
    ...upstreamMistakes(asRecord(dns), network, boxes, servers, ownAddresses(site)),
  ];
}

function rangeMistakes({ from, to }: Raw, network: Cidr, boxes: (string | undefined)[]): Mistake[] {
  const ends = Object.entries({ from, to }).flatMap(([name, value]) =>
    isAddress(value) ? [{ path: `lan.dhcp.${name}`, value }] : [],
  );
  const outside = ends.flatMap(({ path, value }) => {
    const reason = notOnLan(network, value);
    const mend = "Give addresses that hosts of the Pi's LAN can have.";
    return reason === undefined ? [] : [{ path, value, reason, mend }];
  });
  if (outside.length > 0 || !isAddress(from) || !isAddress(to)) return outside;
  if (addressNumber(from) > addressNumber(to)) {
    const mend = "Give the first address as from, the last as to.";
    return [{ path: "lan.dhcp.to", value: to, reason: `comes before ${from}`, mend }];
  }
  const fixed = [
    { what: "the Pi itself", at: network.address },
    ...boxes.map((at, index) => ({ what: `the box of lines[${index}]`, at })),
  ];
  return fixed.flatMap(({ what, at }) => {
    if (!isAddress(at) || !isBetween(at, from, to)) return [];
    const reason = `the range from ${from} holds ${at}, ${what}`;
    return [{ path: "lan.dhcp.to", value: to, reason, mend: "Choose a range of addresses that nobody has." }];
  });
}

/** The Pi's addresses, on its LAN and in its bonds. */
function ownAddresses(site: Raw): string[] {
  return ownNetworks(site).map(({ path, network }) =>
    path === "pi.address" ? network.address : nthAddress(network.network, 2),
  );
}

function upstreamMistakes(
  { upstream }: Raw,
  network: Cidr,
  boxes: unknown[],
  servers: unknown[],
  own: string[],
): Mistake[] {
  const asked = Array.isArray(upstream) ? upstream : [];
  const wrong = (value: unknown) => {
    const box = boxes.indexOf(value);
    if (!isAddress(value)) return undefined;
    if (own.includes(value)) return "is the Pi itself";
    if (box >= 0) return `is the box of lines[${box}]: a box's resolver dies with its line`;
    if (servers.includes(value))
      return "is a server of the site: what goes to it leaves by one box, and dies with its line";
    if (contains(network.network, value)) return "stands on the LAN, and would ask by the Pi in its turn";
    return undefined;
  };
  return asked.flatMap((value, index) => {
    const reason = wrong(value);
    if (reason === undefined) return [];
    const mend = "Name resolvers out on the internet, such as 9.9.9.9.";
    return [{ path: `lan.dns.upstream[${index}]`, value, reason, mend }];
  });
}
