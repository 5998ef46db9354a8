import { type Cidr, contains, isAddress, isReserved } from "./address.ts";
import { backupContradictions } from "./backups.ts";
import { modeContradictions } from "./bondMode.ts";
import { directContradictions } from "./bypass.ts";
import { costsTwice } from "./cost.ts";
import { forwardContradictions } from "./forwards.ts";
import { lanMistakes } from "./lan.ts";
import { dhcpContradictions, isOnLan } from "./lineInterface.ts";
import type { Mistake } from "./mistake.ts";
import { lanOf, networkContradictions } from "./networks.ts";
import { halfLogin } from "./ovh.ts";
import { asRecord, asRecords, type Raw, rawServers } from "./raw.ts";
import { sameHosts } from "./sameHosts.ts";
import { shapingContradictions } from "./shaping.ts";
import { tunnelContradictions } from "./tunnels.ts";
import { wayOutContradictions } from "./wayOut.ts";

/**
 * The mistakes that no single field shows: values that are well formed, but can't stand together. It reads
 * the raw config, and passes over whatever is not well formed (the schema tells that), so that a config's
 * mistakes of both kinds come out at once.
 */
export function findContradictions(raw: unknown): Mistake[] {
  const site = asRecord(raw);
  const pi = asRecord(site.pi);
  const servers = rawServers(site);
  const bond = asRecord(site.bond);
  const lines = asRecords(site.lines);
  const lan = lanOf(pi);
  return [
    ...piOnLan(lan, pi.address),
    ...gateways(
      lines,
      pi,
      lan,
      servers.flatMap(({ raw, bind }) => [raw.address, bind]),
    ),
    ...names(lines),
    ...networkContradictions(site, lines),
    ...tunnelContradictions(lines, asRecord(site.vpn), bond, site),
    ...modeContradictions(bond, lines),
    ...dhcpContradictions(lines, pi.interface),
    ...forwardContradictions(site.forwards, lan, site),
    ...directContradictions(site, lines, lan),
    ...bondInterface(lines, pi, bond.interface),
    ...tapNames(lines, pi),
    ...keepalive(asRecord(asRecord(site.vpn).keepalive)),
    ...backupContradictions(site, bond),
    ...sameHosts(site),
    ...servers.flatMap(({ path, raw }) => halfLogin(raw, path)),
    ...lanMistakes(site, lan, lines, pi),
    ...costsTwice(asRecord(site.costs)),
    ...shapingContradictions(site, lines, bond),
    ...wayOutContradictions(site),
  ];
}

function piOnLan(lan: Cidr | undefined, value: unknown): Mistake[] {
  if (!lan || (lan.prefix <= 30 && !isReserved(lan.network, lan.address))) return [];
  const reason = lan.prefix > 30 ? "leaves no room for a box" : `is no host's address in ${lan.network}`;
  return [
    { path: "pi.address", value, reason, mend: "Give the Pi's own address with the prefix of its LAN." },
  ];
}

function gateways(lines: Raw[], pi: Raw, lan: Cidr | undefined, servers: unknown[]): Mistake[] {
  const mistakes: Mistake[] = [];
  const taken = new Map<string, number>();
  const { interface: onLan = "eth0" } = pi;
  lines.forEach((line, index) => {
    const { gateway, interface: own = onLan } = line;
    if (!isAddress(gateway)) return;
    const path = `lines[${index}].gateway`;
    const lanSide = isOnLan(line, pi);
    if (servers.includes(gateway)) {
      const mend = "Give the address of the provider's box at home.";
      mistakes.push({ path, value: gateway, reason: "is a server of the site", mend });
      return;
    }
    if (lan && lanSide && !contains(lan.network, gateway)) {
      mistakes.push({
        path,
        value: gateway,
        reason: `is outside the Pi's LAN ${lan.network}`,
        mend: "Give the box's address on that LAN, or correct pi.address; a box on another network needs the line's own `interface`.",
      });
    } else if (lan && (gateway === lan.address || (lanSide && isReserved(lan.network, gateway)))) {
      mistakes.push({
        path,
        value: gateway,
        reason: gateway === lan.address ? "is the Pi itself" : `is no host's address in ${lan.network}`,
        mend: "Give the address of the provider's box.",
      });
    }
    if (typeof own !== "string") return;
    const door = `${gateway} on ${own}`;
    const first = taken.get(door);
    if (first !== undefined) {
      mistakes.push({
        path,
        value: gateway,
        reason: `lines[${first}] goes through the same box (${door})`,
        mend: "Give each line the address of its own box: two tunnels through one box share one line.",
      });
    } else taken.set(door, index);
  });
  return mistakes;
}

function names(lines: Raw[]): Mistake[] {
  return lines.flatMap(({ name }, index) => {
    const first = lines.findIndex((other) => other.name === name);
    if (typeof name !== "string" || first === index) return [];
    const mend = "Give each line a name of its own.";
    return [{ path: `lines[${index}].name`, value: name, reason: `lines[${first}] has it already`, mend }];
  });
}

function bondInterface(lines: Raw[], pi: Raw, value: unknown): Mistake[] {
  const name = value ?? "bond0";
  const others = [pi.interface ?? "eth0", ...lines.map((line) => line.interface)];
  const isTap = typeof name === "string" && /^tap\d+$/.test(name);
  if (!others.includes(name) && !isTap) return [];
  const mend = `Choose a name that no other interface of the Pi has, such as ${name === "bond0" ? "bond1" : "bond0"}.`;
  const derived = value === undefined ? "without it the bond is bond0, and " : "";
  return [{ path: "bond.interface", value, reason: `${derived}another interface is called so`, mend }];
}

/** The tunnels' taps are called tap0, tap1 and so on; what is called so already would be deleted. */
function tapNames(lines: Raw[], pi: Raw): Mistake[] {
  const given = [
    { path: "pi.interface", value: pi.interface },
    ...lines.map((line, index) => ({ path: `lines[${index}].interface`, value: line.interface })),
  ];
  const mend = "Give that interface another name on the Pi.";
  return given
    .filter(({ value }) => typeof value === "string" && /^tap\d/.test(value))
    .map((each) => ({ ...each, reason: "is a name that tunnels' own interfaces get", mend }));
}

function keepalive({ interval = 1, timeout: value }: Raw): Mistake[] {
  const timeout = value ?? 4;
  if (typeof interval !== "number" || typeof timeout !== "number" || timeout > interval) return [];
  if (interval < 1 || interval > 60) return [];
  const reason = `${value === undefined ? "without it 4 s are meant, which " : ""}is not longer than the interval of ${interval} s, so that one late ping would close a tunnel`;
  return [{ path: "vpn.keepalive.timeout", value, reason, mend: `Write ${2 * interval + 1} or more.` }];
}
