import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Clock,
  connect,
  dropState,
  freePort,
  type GuestPlan,
  guestDigest,
  guestProcess,
  hasState,
  inGuest,
  keepState,
  mustInGuest,
  quoted,
  runFolder,
  startGuest,
  stopGuest,
  wake,
} from "./guest.ts";
import { type Debian, images } from "./image.ts";
import {
  killOwnGuest,
  onOwnGuest,
  ownGuestState,
  rebootOwnGuest,
  startOwnGuest,
  wipeOwnGuest,
} from "./ownGuest.ts";
import { type Line, readSite, type Site, siteFiles } from "./site.ts";
import { attempt, home, LabError, type Result, run, step } from "./system.ts";

export type { Clock } from "./guest.ts";
export type { Debian } from "./image.ts";
export type { Line, Site } from "./site.ts";
export { LabError, type Result, step } from "./system.ts";

/** What kind of lab to bring up; all of it has a default. */
export type Options = {
  /** "virtual" for figures, "real" for speed; virtual unless a host is a guest of its own. */
  clock?: Clock;
  /** The guest's Debian, and so the kernel: 13 has 6.12, 12 has 6.1. */
  guest?: Debian;
  /** The hosts' Debian. */
  hosts?: Debian;
  /** A lab file: JSON of the type Site, any field of which may be left out. */
  site?: string;
  /**
   * Hosts, by name, that are QEMU guests of their own instead of containers, with NetworkManager: for what a container
   * can't show. Only under the real clock: two emulators can't share a virtual one. Such a lab's state can't be kept.
   */
  ownGuests?: string[];
};

/** How the hosts of the running lab are reached: all that a deployment to it has to know. */
export type Facts = {
  /** The operator's machine on the LAN, as a jump host. */
  jump: { host: string; port: number; user: string; hostKey: string };
  /** The private key that opens the jump host and every host. */
  keyFile: string;
  /** The user on every host. */
  user: string;
  /** An ssh_config with an entry for the jump host and for every host: `ssh -F FILE pi`. */
  sshConfig: string;
  hosts: Record<string, { address: string; hostKey: string }>;
  site: Site;
  clock: Clock;
  /** The hosts that are guests of their own. */
  ownGuests: string[];
};

/** Which way through a line: in is towards the site. */
export type Direction = "in" | "out" | "both";

const factsFile = join(home, "facts.json");
const portFile = join(home, "port");
const keys = join(home, "keys");

/** Brings the lab up, or finds it up: a lab of other options is taken down first. */
export async function up(options: Options = {}): Promise<Facts> {
  const { guest = 13, hosts = 13, ownGuests = [] } = options;
  const { clock = ownGuests.length > 0 ? "real" : "virtual" } = options;
  if (ownGuests.length > 0 && clock === "virtual") {
    throw new LabError(
      `a host that is a guest of its own (${ownGuests.join(", ")}) has a clock of its own: take the real one for the lab`,
    );
  }
  const site = await readSite(options.site);
  for (const name of ownGuests) mustBeHost(site, name);
  await mkdir(join(home, "states"), { recursive: true });
  const built = await images(guest, hosts, ownGuests.length > 0);
  await makeKeys(["lab", "guest", ...hostNames(site)]);
  const plan = { images: built, clock, keys, files: siteFiles(site, ownGuests), ownGuests };
  const digest = await guestDigest(plan);
  if (await guestProcess()) {
    const same = (await readFile(join(runFolder, "digest"), "utf8").catch(() => "")) === digest;
    if (same) {
      step("the lab is up already");
      await connect(60);
      return facts();
    }
    step("ending a lab of another kind, or a half-started one");
  }
  await stopGuest();
  // The same port as last time: it is part of how a deployment reaches the hosts, and so of its state.
  const port = await freePort(Number(await readFile(portFile, "utf8").catch(() => 0)));
  await writeFile(portFile, String(port));
  return begin(plan, digest, site, port);
}

/** Starts the guest, from its kept state if it can be, and waits for the hosts. */
async function begin(
  plan: GuestPlan,
  digest: string,
  site: Site,
  port: number,
  state = digest,
): Promise<Facts> {
  await mkdir(runFolder, { recursive: true });
  const made = await writeFacts(site, plan, port);
  await writeFile(join(runFolder, "plan.json"), JSON.stringify({ plan, digest }), { mode: 0o600 });
  let kept = (await startGuest(plan, port, state)) === "kept";
  if (kept) {
    step("waking the guest from its kept state");
    kept = await wake().then(
      () => true,
      () => false,
    );
    if (!kept) {
      step("the kept state does not wake on this machine: booting");
      await dropState(state);
      await stopGuest();
      return begin(plan, digest, site, port);
    }
  } else {
    step(`booting the guest (${plan.clock} clock)`);
  }
  await Promise.all(plan.ownGuests.map((name) => startOwnGuest(plan, name)));
  await connect(kept ? 120 : 400);
  if (!kept) step("the guest answers; starting the hosts");
  await ready(hostNames(site), 600);
  if (!kept && plan.ownGuests.length === 0) {
    step("keeping the guest's state, for a quick start next time");
    await keepState(digest);
  }
  // It booted by a slower clock or slept. Where a site runs in it the clock stays: tunnels that find it set forward open anew.
  const date = state === digest ? `date -u -s @${Math.round(Date.now() / 1000)} >/dev/null` : ":";
  // A woken one must not draw the random numbers of the last time.
  await mustInGuest(`${date}; cat >/dev/urandom`, { stdin: crypto.randomUUID(), timeoutSeconds: 60 });
  await writeFile(join(runFolder, "digest"), digest);
  step(`the lab is up: ${hostNames(site).join(", ")}`);
  return made;
}

function hostNames(site: Site): string[] {
  return ["pi", ...site.servers.map(({ name }) => name)];
}

function mustBeHost(site: Site, name: string): void {
  const names = hostNames(site);
  if (!names.includes(name)) throw new LabError(`${name} is no host; there are ${names.join(", ")}`);
}

/** Ends the lab. Images, keys and the kept state stay for the next one. */
export async function down(): Promise<void> {
  await stopGuest();
  await rm(factsFile, { force: true });
}

/** How to reach the hosts of the running lab. */
export async function facts(): Promise<Facts> {
  if (!(await guestProcess())) throw new LabError("the lab is not up: npm run lab -- up");
  return JSON.parse(await readFile(factsFile, "utf8"));
}

async function makeKeys(names: string[]): Promise<void> {
  await mkdir(keys, { recursive: true, mode: 0o700 });
  for (const name of names) {
    const file = join(keys, name);
    if ((await attempt("test", ["-s", `${file}.pub`])).code === 0) continue;
    await rm(file, { force: true });
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", `lab ${name}`, "-f", file]);
  }
}

/** A public key without its comment. */
async function publicKey(name: string): Promise<string> {
  const text = await readFile(join(keys, `${name}.pub`), "utf8");
  return text.split(" ").slice(0, 2).join(" ").trim();
}

async function writeFacts(site: Site, { clock, ownGuests }: GuestPlan, port: number): Promise<Facts> {
  const addresses: Record<string, string> = { pi: site.pi.address };
  for (const { name, address } of site.servers) addresses[name] = address;
  const hosts: Facts["hosts"] = {};
  for (const [name, address] of Object.entries(addresses))
    hosts[name] = { address, hostKey: await publicKey(name) };
  const made: Facts = {
    jump: { host: "127.0.0.1", port, user: "operator", hostKey: await publicKey("guest") },
    keyFile: join(keys, "lab"),
    user: "admin",
    sshConfig: join(runFolder, "ssh_config"),
    hosts,
    site,
    clock,
    ownGuests,
  };
  const known = [
    `[127.0.0.1]:${port} ${made.jump.hostKey}`,
    ...Object.values(hosts).map(({ address, hostKey }) => `${address} ${hostKey}`),
  ];
  await writeFile(join(runFolder, "known_hosts"), `${known.join("\n")}\n`);
  const entry = (name: string, words: string[]) =>
    [`Host ${name}`, ...words.map((word) => `  ${word}`)].join("\n");
  const entries = [
    entry("guest", ["HostName 127.0.0.1", `Port ${port}`, "User root"]),
    entry("jump", ["HostName 127.0.0.1", `Port ${port}`, "User operator"]),
    ...Object.entries(hosts).map(([name, { address }]) =>
      entry(name, [`HostName ${address}`, "User admin", "ProxyJump jump"]),
    ),
    entry("*", [
      `IdentityFile "${made.keyFile}"`,
      "IdentitiesOnly yes",
      `UserKnownHostsFile "${join(runFolder, "known_hosts")}"`,
      "StrictHostKeyChecking yes",
      "ServerAliveInterval 20",
      "ConnectTimeout 60",
      "LogLevel ERROR",
      "BatchMode yes",
    ]),
  ];
  await writeFile(made.sshConfig, `${entries.join("\n")}\n`);
  await writeFile(factsFile, `${JSON.stringify(made, null, 2)}\n`);
  return made;
}

/** Waits until each host's sshd answers and its boot is over. */
async function ready(names: string[], timeoutSeconds: number): Promise<void> {
  const { hosts } = JSON.parse(await readFile(factsFile, "utf8")) as Facts;
  await Promise.all(
    names.map(async (name) => {
      const view = name === "pi" ? "guest" : "far";
      const command = `timeout ${timeoutSeconds} /lab/ready.sh ${hosts[name]?.address} ${view}`;
      const { code } = await inGuest(command, { timeoutSeconds: timeoutSeconds * 2 });
      if (code !== 0) throw new LabError(`the host ${name} does not come up`);
      // A boot is over when nothing waits to be started.
      await exec(name, "systemctl is-system-running --wait", { timeoutSeconds });
      step(`the host ${name} is up`);
    }),
  );
}

/** How to run a command in the lab. */
export type ExecOptions = {
  stdin?: string /** By the guest's clock; 60 unless told. */;
  timeoutSeconds?: number;
};

/**
 * Runs a shell command as root in a place: "guest" (the operator's machine), a host, or one of the other machines: a
 * line's name (its box), "client", "far", "mirror", "internet". A command out of time ends with 124.
 */
export async function exec(place: string, command: string, options: ExecOptions = {}): Promise<Result> {
  const { site, ownGuests } = await facts();
  const places = ["guest", "client", "far", "mirror", "internet", ...hostNames(site)];
  places.push(...site.lines.map(({ name }) => name));
  if (!places.includes(place)) throw new LabError(`${place} is none of ${places.join(", ")}`);
  const { stdin = "", timeoutSeconds = 60 } = options;
  const words = `timeout -k 5 ${timeoutSeconds} sh -c ${quoted(command)}`;
  // Under the virtual clock the guest's seconds are several of ours while it is busy.
  const bounded = { stdin, timeoutSeconds: timeoutSeconds * 8 + 60 };
  if (ownGuests.includes(place)) return onOwnGuest(place, words, bounded);
  return inGuest(`/lab/in.sh ${place} ${words}`, bounded);
}

async function line(name: string): Promise<Line> {
  const { site } = await facts();
  const found = site.lines.find((entry) => entry.name === name);
  if (!found)
    throw new LabError(`${name} is no line; there are ${site.lines.map((entry) => entry.name).join(", ")}`);
  return found;
}

async function alter(name: string, words: string[]): Promise<void> {
  await line(name);
  await mustInGuest(`/lab/line.sh ${name} ${words.join(" ")}`, { timeoutSeconds: 60 });
}

/** A line loses packets, by chance: per cent of them, on the way in, out, or (each) on both. */
export async function lose(name: string, percent: number, direction: Direction = "both"): Promise<void> {
  const words = { in: ["lose_in"], out: ["lose_out"], both: ["lose_in", "lose_out"] }[direction];
  await alter(
    name,
    words.map((word) => `${word}=${percent}`),
  );
}

/** A line carries nothing any more, one way or both; its box stays on the LAN. */
export async function cut(name: string, direction: Direction = "both"): Promise<void> {
  await lose(name, 100, direction);
}

/** A line gets other rates (kbit/s), another round-trip time (ms), another queue (packets) or another encapsulation. */
export async function slow(
  name: string,
  change: Partial<Pick<Line, "down" | "up" | "rtt" | "queue" | "encapsulation">>,
): Promise<void> {
  await alter(
    name,
    Object.entries(change).map(
      ([word, value]) => `${word}=${typeof value === "number" ? Math.round(value) : value}`,
    ),
  );
}

/** A line is as the site has it again. */
export async function restore(name: string): Promise<void> {
  await alter(name, ["restore"]);
}

/** The power cord of a host: of its container, or of its own emulator. */
async function power(word: "kill" | "start" | "reboot" | "wipe", name: string): Promise<void> {
  const { site, ownGuests } = await facts();
  mustBeHost(site, name);
  if (!ownGuests.includes(name)) {
    await mustInGuest(`timeout 120 /lab/power.sh ${word} ${name}`, { timeoutSeconds: 600 });
    return;
  }
  if (word === "reboot") return rebootOwnGuest(name, bootSeconds);
  if (word !== "start") await killOwnGuest(name);
  if (word === "wipe") await wipeOwnGuest(name);
  if (word !== "kill") await startOwnGuest((await running()).plan, name);
}

/** By the guest's clock: what a host's boot may take. */
const bootSeconds = 240;

/** Cuts a host's power: every process of it is gone at once, what it had written stays. */
export async function kill(name: string): Promise<void> {
  await power("kill", name);
}

/** Starts a host that is off, and waits for its ssh. */
export async function start(name: string): Promise<void> {
  await power("start", name);
  await ready([name], bootSeconds);
}

/** Reboots a host in order, and waits for its ssh. */
export async function reboot(name: string): Promise<void> {
  await power("reboot", name);
  await ready([name], bootSeconds);
}

/**
 * Puts hosts back to the plain Debian they began as. Without names the whole lab goes back to the moment after its
 * first boot, in seconds, lines included; open connections into it are lost, addresses and ports stay.
 */
export async function reset(names?: string[]): Promise<void> {
  const { site, jump } = await facts();
  if (names) {
    for (const name of names) await power("wipe", name);
    return ready(names, bootSeconds);
  }
  const { plan, digest } = await running();
  await stopGuest();
  await begin(plan, digest, site, jump.port);
}

/** Keeps the whole lab as it is now, under a name, for `wakeAs`. */
export async function keepAs(name: string): Promise<void> {
  const { plan, digest } = await running();
  if (plan.ownGuests.length > 0) {
    throw new LabError(`a lab in which ${plan.ownGuests.join(", ")} is a guest of its own can't be kept`);
  }
  await keepState(`${digest}-${name}`);
}

/** Puts the whole lab back to what was kept under a name; false, and nothing done, where nothing was. */
export async function wakeAs(name: string): Promise<boolean> {
  const { site, jump } = await facts();
  const { plan, digest } = await running();
  const state = `${digest}-${name}`;
  if (!(await hasState(state))) return false;
  await stopGuest();
  await begin(plan, digest, site, jump.port, state);
  // One that does not wake is gone now, and the lab a plain one.
  return hasState(state);
}

/** What the running guest was made from. */
async function running(): Promise<{ plan: GuestPlan; digest: string }> {
  return JSON.parse(await readFile(join(runFolder, "plan.json"), "utf8"));
}

/** One transfer to measure. */
export type Transfer = {
  /** A line's name: through its box alone; "bond": the way the client's traffic goes by itself, through the Pi. */
  via: string;
  direction: "down" | "up";
  bytes: number;
  /** TCP connections that share the bytes; 1 unless told. */
  flows?: number;
  /** Whether to ping alongside. */
  ping?: boolean;
};

/** What a transfer came to, by the guest's clock. Rates are of TCP payload, from before the connection to the last byte. */
export type Measured = {
  mbits: number;
  seconds: number;
  bytes: number;
  retransmits: number;
  ping?: Ping;
};

/** Round-trip times in ms, and the packets that were lost. */
export type Ping = {
  sent: number;
  lost: number;
  minMs: number;
  avgMs: number;
  maxMs: number;
  deviationMs: number;
};

/** Transfers bytes over TCP between the LAN's client and the far machine. */
export async function measure(transfer: Transfer): Promise<Measured> {
  const { via, direction, bytes, flows = 1, ping = false } = transfer;
  const { site } = await facts();
  const box = via === "bond" ? via : (await line(via)).box;
  const command = [
    "/lab/measure.sh",
    box,
    site.far.address,
    direction,
    bytes,
    flows,
    ping ? "ping" : "quiet",
  ];
  // Bounded by a rate that no line falls below.
  const seconds = Math.ceil((bytes * 8) / 100_000) + 60;
  const { stdout, stderr } = await inGuest(`timeout ${seconds} ${command.join(" ")}`, {
    timeoutSeconds: seconds * 8,
  });
  const found = stdout.match(/transfer: (\d+) bytes, (\d+) ns, (\d+) retransmitted/);
  if (!found) throw new LabError(`the transfer through ${via} did not end within ${seconds} s: ${stderr}`);
  const [arrived, nanoseconds, retransmits] = found.slice(1).map(Number) as [number, number, number];
  if (arrived < bytes - flows)
    throw new LabError(`through ${via} came ${arrived} of ${bytes} bytes: ${stderr}`);
  const measured: Measured = {
    mbits: (arrived * 8e3) / nanoseconds,
    seconds: nanoseconds / 1e9,
    bytes: arrived,
    retransmits,
  };
  if (ping) measured.ping = readPing(stdout);
  return measured;
}

/** Pings an address from a place: 50 times in 10 s unless told; `options` are ping(8)'s. */
export async function ping(
  place: string,
  address: string,
  count = 50,
  intervalSeconds = 0.2,
  options = "",
): Promise<Ping> {
  const command = `ping -n -c ${count} -i ${intervalSeconds} ${options} ${quoted(address)}`;
  const { stdout } = await exec(place, command, {
    timeoutSeconds: Math.ceil(count * intervalSeconds) + 15,
  });
  return readPing(stdout);
}

/** The closing lines of ping(8). */
function readPing(text: string): Ping {
  const [, sent, received] = text.match(/(\d+) packets transmitted, (\d+) received/) ?? [];
  const [, min, avg, max, deviation] = text.match(/= ([\d.]+)\/([\d.]+)\/([\d.]+)\/([\d.]+) ms/) ?? [];
  return {
    sent: Number(sent ?? 0),
    lost: Number(sent ?? 0) - Number(received ?? 0),
    minMs: Number(min ?? Number.NaN),
    avgMs: Number(avg ?? Number.NaN),
    maxMs: Number(max ?? Number.NaN),
    deviationMs: Number(deviation ?? Number.NaN),
  };
}

/** What runs, in words: the guest, each host, each line as it is now. */
export async function status(): Promise<string[]> {
  const { site, clock, jump, ownGuests } = await facts();
  const names = hostNames(site);
  const units = names.map((name) => `host@${name}`);
  const states = (
    await inGuest(`systemctl is-active ${units.join(" ")}`, { timeoutSeconds: 60 })
  ).stdout.split("\n");
  const hosts = names.map(async (name, index) =>
    ownGuests.includes(name)
      ? `host   ${name}: ${await ownGuestState(name)}, a guest of its own`
      : `host   ${name}: ${states[index]}`,
  );
  const lines = await mustInGuest("cd /run/lines && grep -H . [a-z]* | grep -v as-made", {
    timeoutSeconds: 60,
  });
  return [
    `guest  up, ${clock} clock, ssh on 127.0.0.1 port ${jump.port}`,
    ...(await Promise.all(hosts)),
    ...lines
      .trim()
      .split("\n")
      .map((text) => `line   ${text.replace(":", ": ")}`),
  ];
}
