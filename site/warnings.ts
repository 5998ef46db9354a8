import { isAddress, isBetween, isPrivate, parseCidr } from "./address.ts";
import { eclipsed } from "./bypass.ts";
import { parseRate } from "./rate.ts";
import { asRecord, asRecords, type Raw, rawServers, serverAddresses } from "./raw.ts";

/**
 * What works, but hardly as it was meant.
 * @param raw the config of a site without mistakes, as it is written: of what is left out there is nothing to say
 */
export function warningsOf(raw: unknown): string[] {
  const site = asRecord(raw);
  const lines = asRecords(site.lines);
  const bond = asRecord(site.bond);
  return [
    ...oneLineForAll(bond),
    ...swappedRates(lines),
    ...slowedByOne(lines, bond),
    ...publicLan(asRecord(site.pi)),
    ...innerAddresses(site),
    ...idleFields(site, lines, bond),
    ...lentAddresses(site),
    ...wayByServer(site),
  ];
}

function oneLineForAll({ mode, hashPolicy }: Raw): string[] {
  if (mode !== "balance-xor" || hashPolicy !== "layer2") return [];
  return [
    "bond.hashPolicy is layer2: it goes by the two ends' MAC addresses, of which there is one pair only, so every packet takes the same line and the others stay idle. Write layer2+3 or layer3+4 to use them all.",
  ];
}

/** `down` and `up` are easily put the wrong way round, and a bond that is shaped so is slow without a word. */
function swappedRates(lines: Raw[]): string[] {
  return lines.flatMap(({ down, up }, index) => {
    if (parseRate(up)! <= parseRate(down)!) return [];
    const found = `lines[${index}].up is ${up}, more than its down, ${down}`;
    return `${found}: few lines send faster than they receive. Exchange the two if they stand the wrong way round.`;
  });
}

/** In balance-rr every tunnel carries as many packets: a slow line holds the others back, more than it brings. */
function slowedByOne(lines: Raw[], { mode = "balance-rr" }: Raw): string[] {
  // Rates the wrong way round are told by themselves.
  if (mode !== "balance-rr" || swappedRates(lines).length > 0) return [];
  return ["down", "up"].flatMap((direction) => {
    const rates = lines.map((line) => parseRate(line[direction])!);
    const tunnels = lines.map(({ tunnels = 1 }) => Number(tunnels));
    const shares = rates.map((rate, index) => rate / tunnels[index]!);
    const least = Math.min(...shares);
    const all = least * tunnels.reduce((sum, each) => sum + each, 0);
    const [slow, fast] = [shares.indexOf(least), rates.indexOf(Math.max(...rates))];
    if (all >= rates[fast]!) return [];
    return `lines[${slow}].${direction} is ${lines[slow]![direction]}: every tunnel carries as many packets as the slowest one can, so the bond carries ${Math.round(all)} kbit/s ${direction}, less than lines[${fast}] alone with its ${lines[fast]![direction]}. Give faster lines more \`tunnels\`, or take that line out.`;
  });
}

/** With a prefix too short others' addresses are taken for the LAN's, and their traffic into the bond. */
function publicLan({ address }: Raw): string[] {
  const lan = parseCidr(address)!;
  if (isPrivate(lan)) return [];
  return [
    `pi.address is ${address}: the LAN ${lan.network} holds addresses that are others' on the internet, unless they are given to you. See that the prefix is right; \`ip -4 address\` on the Pi shows it.`,
  ];
}

/** A server is seen by an address on the internet; its provider may know it by another one inside. */
function innerAddresses(site: Raw): string[] {
  return rawServers(site).flatMap(({ path, raw: { address } }) => {
    if (!isAddress(address) || !isPrivate({ address, prefix: 32 })) return [];
    return `${path}.address is ${address}, which nobody has on the internet: boxes reach it only where it stands in their own networks. Give the server's public address; where the server itself has another one inside, that is its \`bind\`.`;
  });
}

/** A way to the Pi that ends in the middle of what is done there. */
function wayByServer(site: Raw): string[] {
  const { host } = asRecord(asRecord(asRecord(site.pi).ssh).jump);
  if (host === undefined || !serverAddresses(site).some(({ address }) => address === host)) return [];
  return [
    `pi.ssh.jump.host is ${host}, a server of this site, from which the Pi is reached by the bond alone: each change cuts that way for a while, and \`pulumi destroy\` for good, so that it never ends. Log in from the Pi's LAN, or by a box that forwards a port to the Pi's SSH; for \`destroy\` at least.`,
  ];
}

/** Addresses that the Pi lends to whoever asks, where one certain machine is meant. */
function lentAddresses({ forwards, bypass, lan }: Raw): string[] {
  const { from, to } = asRecord(asRecord(lan).dhcp);
  if (!isAddress(from) || !isAddress(to)) return [];
  const meant = [
    ...asRecords(forwards).map(({ to }, index) => ({ path: `forwards[${index}].to`, host: to })),
    ...asRecords(bypass).flatMap(({ hosts }, index) =>
      (Array.isArray(hosts) ? hosts : []).map((host, n) => ({ path: `bypass[${index}].hosts[${n}]`, host })),
    ),
  ];
  return meant.flatMap(({ path, host }) => {
    if (!isAddress(host) || !isBetween(host, from, to)) return [];
    return `${path} is ${host}, which lan.dhcp may lend to another machine. Give that host a fixed address outside ${from} to ${to}.`;
  });
}

/** Fields that are given, and change nothing beside others. */
function idleFields(site: Raw, lines: Raw[], { mode = "balance-rr" }: Raw): string[] {
  return [
    ...idleQos(asRecord(site.qos)),
    ...idleWatch(asRecord(site.watch), lines),
    ...idleLatency(lines, mode),
    ...idleReplayWindow(asRecord(site.vpn), lines),
    ...idleBypass(site),
  ];
}

function idleQos(qos: Raw): string[] {
  if (qos.enabled !== false) return [];
  return noEffect(given("qos", qos, ["share"]), "while qos.enabled is false", "Take one of the two out.");
}

function idleWatch(watch: Raw, lines: Raw[]): string[] {
  const details = given("watch", watch, ["loss", "clean"]);
  const all = [...enabledBy("watch", watch), ...details];
  if (lines.length < 2)
    return noEffect(all, "on a site of one line, which has no other to go by", "Take it out.");
  if (watch.enabled !== false) return [];
  return noEffect(details, "while watch.enabled is false", "Take one of the two out.");
}

function idleLatency(lines: Raw[], mode: unknown): string[] {
  const paths = lines.flatMap((line, index) => given(`lines[${index}]`, line, ["latency"]));
  if (mode !== "balance-rr")
    return noEffect(
      paths,
      `in the mode ${mode}, where no packet waits for another`,
      "Take it out, or choose another bond.mode.",
    );
  return lines.length < 2
    ? noEffect(paths, "on a site of one line, which waits for none", "Take it out.")
    : [];
}

function idleReplayWindow(vpn: Raw, lines: Raw[]): string[] {
  if (!lines.every(({ protocol }) => protocol === "tcp")) return [];
  const paths = given("vpn.replayWindow", asRecord(vpn.replayWindow), ["packets", "seconds"]);
  return noEffect(paths, "where all lines go by TCP, which brings packets in order", "Take it out.");
}

function idleBypass({ bypass, pi }: Raw): string[] {
  return eclipsed(bypass, parseCidr(asRecord(pi).address)!).flatMap(({ index, by }) =>
    noEffect(
      [`bypass[${index}]`],
      `behind bypass[${by}], which chooses all of that already`,
      "Put the narrower one first, or take it out.",
    ),
  );
}

/** The paths of those of the fields that a section gives. */
function given(section: string, fields: Raw, names: string[]): string[] {
  return names.filter((name) => fields[name] !== undefined).map((name) => `${section}.${name}`);
}

/** `enabled`, where it asks for something. */
function enabledBy(section: string, { enabled }: Raw): string[] {
  return enabled === true ? [`${section}.enabled`] : [];
}

function noEffect(paths: string[], why: string, mend: string): string[] {
  if (paths.length === 0) return [];
  return [`${paths.join(", ")}: without effect ${why}. ${mend}`];
}
