import fc from "fast-check";
import { expect, test } from "vitest";
import { overlap } from "../../site/address.ts";
import { ConfigError, type Mistake } from "../../site/mistake.ts";
import { everyServer, type Plan, planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { warningsOf } from "../../site/warnings.ts";
import { exampleSite } from "../example.ts";
import { anyConfig, secretLetters } from "./anyConfig.ts";

/** How many configs are thrown: ANY_CONFIG_RUNS=100000 looks longer. */
const runs = Number(process.env.ANY_CONFIG_RUNS ?? 1000);

/** The plan of a config, or the error that lists its mistakes. Whatever else is thrown fails the test. */
function readConfig(config: unknown): Plan | ConfigError {
  try {
    return planSite(parseSite(config));
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

test("whatever the config, it gives a plan in which nothing is used twice, or one error that tells each mistake", () => {
  let plans = 0;
  let errors = 0;
  const property = fc.property(anyConfig, (config) => {
    const result = readConfig(config);
    if (result instanceof ConfigError) {
      errors++;
      expectTold(result, config);
    } else {
      plans++;
      expectSound(result);
      for (const warning of warningsOf(config)) expect(warning).toMatch(/^[a-z].*\.$/);
    }
  });
  fc.assert(property, { numRuns: runs });
  // Neither half stands for nothing.
  expect(plans).toBeGreaterThan(runs / 10);
  expect(errors).toBeGreaterThan(runs / 10);
}, 3_600_000);

function expectTold({ message, mistakes }: ConfigError, config: unknown): void {
  const places = pathsOf(config, "");
  expect(message).not.toContain(secretLetters);
  expect(mistakes.length).toBeGreaterThan(0);
  for (const mistake of mistakes) {
    const { path, value, reason, mend } = mistake;
    expect(message).toContain(`  ${path || "site"} ${value === undefined ? "is missing" : "= "}`);
    // Names with dots or quotes in them may make one path of two.
    const there = places.filter((place) => place[0] === path).map((place) => place[1]);
    expect(there.length > 0 ? there : [undefined], path).toContainEqual(value);
    expect(reason.length, path).toBeGreaterThan(8);
    expect(mend).toMatch(/^[A-Z].*[.]$/);
    expect(`${reason} ${mend}`).not.toMatch(/undefined|NaN|\[object|invalid|expected|too (big|small)/i);
  }
  expect(new Set(mistakes.map(({ path, reason }) => `${path} ${reason}`)).size).toBe(mistakes.length);
}

/** Each place of a config, as errors name it, with what stands there. */
function pathsOf(value: unknown, path: string): [string, unknown][] {
  if (typeof value !== "object" || value === null) return [[path, value]];
  const inner = Object.entries(value).flatMap(([key, each]) => {
    if (Array.isArray(value)) return pathsOf(each, `${path}[${key}]`);
    const name = key || '""';
    return pathsOf(each, path ? `${path}.${name}` : name);
  });
  return [[path, value], ...inner];
}

function expectSound(plan: Plan): void {
  const all = everyServer(plan);
  const { lines, direct } = plan;
  distinct(all.map(({ server }) => server.host));
  distinct(all.map(({ server }) => server.address));
  distinct(all.flatMap(({ tunnels }) => tunnels.map(({ name }) => name)));
  const { ways } = direct;
  const marks = [...lines, ...ways].map(({ mark }) => mark).concat(lines.map(({ stayMark }) => stayMark));
  distinct([...marks, ...all.map(({ bondMark }) => bondMark)]);
  // 20999 and 21010 are the LAN's, and that of no fallback; 253 to 255 are the system's own.
  const tables = [...lines, ...ways].map(({ table }) => table).concat(all.map(({ bondTable }) => bondTable));
  distinct([...tables, 20999, 21010]);
  for (const table of [...tables, plan.serverTable]) expect(table).toBeGreaterThan(255);
  const onPi = all.flatMap(({ pi }) => [pi.bond, ...pi.taps]);
  distinct([...new Set([plan.pi.interface, ...lines.map((line) => line.interface)]), ...onPi]);
  const networks = [plan.pi.lan, ...all.map(({ bond }) => bond.network)];
  networks.forEach((network, index) => {
    for (const other of networks.slice(index + 1)) expect(overlap(network, other), network).toBe(false);
  });
  for (const each of all) expectSoundServer(each);
}

/** What holds on each server, and of the bond to it. */
function expectSoundServer({ tunnels, server, pi, bond, shaping, forwards, ...plan }: Plan): void {
  distinct(tunnels.map(({ port }) => port));
  for (const { port } of tunnels) expect(port).toBeLessThanOrEqual(65_535);
  distinct([server.bond, ...server.taps]);
  for (const name of [server.bond, ...server.taps, pi.interface, pi.bond, ...pi.taps]) {
    expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/);
  }
  expect(pi.bondAddress).not.toBe(pi.peerAddress);
  expect(bond.mtu).toBeGreaterThanOrEqual(400);
  for (const { rate } of [...(shaping?.pi ?? []), ...(shaping?.server ?? [])])
    expect(rate).toBeGreaterThan(0);
  const taken = plan.lines.flatMap(({ protocol, tunnelPlans }) =>
    tunnelPlans.map(({ port }) => `${protocol} ${port}`),
  );
  const forwarded = forwards.flatMap(({ protocols, ports: { first, last }, toPorts }) => {
    expect(toPorts.last - toPorts.first).toBe(last - first);
    expect(toPorts.last).toBeLessThanOrEqual(65_535);
    return protocols.flatMap((protocol) =>
      Array.from({ length: last - first + 1 }, (_, n) => `${protocol} ${first + n}`),
    );
  });
  distinct([...taken, `tcp ${server.ssh.port}`, ...forwarded]);
}

function distinct(values: (string | number)[]): void {
  expect(values.length - new Set(values).size, values.join(" ")).toBe(0);
}

/** Mistakes that have nothing to do with one another. */
const alone: [path: string, value: unknown][] = [
  ["name", "my site"],
  ["server.address", "server.example.net"],
  ["server.ssh.hostKey", "ssh-rsa AAAA"],
  ["server.ssh.user", "me@server"],
  ["server.price", "5 EUR"],
  ["pi.ssh.host", "192.168.1.252:22"],
  ["pi.interface", "eth 0"],
  ["lines[0].down", 7232],
  ["lines[0].encapsulation", "pppoe"],
  ["lines[1].gateway", "192.168.2.1"],
  ["lines[1].tunnels", 0],
  ["lines[1].speed", 5],
  ["bond.mode", 0],
  ["bond.network", "8.8.8.0/30"],
  ["vpn.keepalive", 5],
  ["vpn.ciphers", []],
  ["vpn.sources", ["0.0.0.0/0"]],
  ["qos.share", 95],
  ["watch", null],
  ["forwards", { ports: 80 }],
  ["bypass", [{ line: "ovh" }]],
  ["fallback", "true"],
  ["activation.confirmWithin", 1],
  ["lan", {}],
  ["backups", "spare"],
  ["costs.currency", "euro"],
];

const entries = ["vpn.sources", "bypass"];

test("of several mistakes none hides another, and none is told that isn't there", () => {
  const property = fc.property(fc.subarray(alone, { minLength: 1 }), (mistakes) => {
    const config = exampleSite((site) => {
      for (const [path, value] of mistakes) put(site, path.split(/[.[\]]+/).filter(Boolean), value);
    });
    const result = readConfig(config);
    const told = (result as ConfigError).mistakes.map(({ path }: Mistake) => path);
    // A wrong entry is told by its own path.
    const wanted = mistakes.map(([path]) => (entries.includes(path) ? `${path}[0]` : path));
    expect(told.sort()).toEqual(wanted.sort());
  });
  fc.assert(property, { numRuns: 200 });
});

// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function put(site: any, [first, ...rest]: string[], value: unknown): void {
  if (rest.length === 0) site[first!] = value;
  else {
    site[first!] ??= {};
    put(site[first!], rest, value);
  }
}
