import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { slavesUp } from "../lab/demo.ts";
import { exec, facts, LabError, measure, ping, reset, type Site, step, up } from "../lab/index.ts";
import { openStack } from "../lab/stack.ts";
import { home } from "../lab/system.ts";
import { type Bonds, failover } from "./failover.ts";
import { deployHowto } from "./howto.ts";
import { type Figures, type Results, renderReport, type Setup, setups } from "./report.ts";

const usage = `npm run bench                 the lines alone, this program, the how-to: figures to bench/report.md
npm run bench -- --runs N     so many repetitions of each (3)
npm run bench -- --only SETUP one of ${Object.keys(setups).join(", ")}; the other set-ups keep the figures they had`;

/** Enough of each that TCP settles: about 11 s of a line down and 23 s up. */
const bytes = { down: 8_000_000, up: 2_000_000 };

/** The figures of earlier runs, out of git's sight. */
const memory = join(home, "bench.json");

/** Puts each set-up on the plain hosts; gives its bonds, where it has any. */
const deploy: Record<Setup, (site: Site) => Promise<Bonds | undefined>> = {
  lines: async () => undefined,
  program: async () => {
    const stack = await openStack(await facts());
    step("pulumi up of the stack dev");
    const code = await stack.show(["up", "--yes", "--skip-preview", "--suppress-outputs"]);
    if (code !== 0) throw new LabError("pulumi up failed: see above");
    return { pi: "bond0", server: "bond-dev" };
  },
  howto: async (site) => {
    await deployHowto(site);
    return { pi: "bond0", server: "bond0" };
  },
};

async function settle(site: Site, bonds: Bonds): Promise<void> {
  const whole = async () => {
    const counts = [await slavesUp("pi", bonds.pi), await slavesUp(site.servers[0]!.name, bonds.server)];
    return counts.every((count) => count === site.lines.length);
  };
  for (let tries = 0; !(await whole()); tries++) {
    if (tries === 30) throw new LabError("the slaves don't all come up");
    await exec("guest", "sleep 1");
  }
  // A slave that is up for the first time has its neighbours still to learn.
  await exec("guest", "sleep 3");
}

async function versions(site: Site): Promise<Pick<Figures, "kernel" | "openvpn">> {
  const openvpn: Figures["openvpn"] = {};
  for (const host of ["pi", site.servers[0]!.name]) {
    const { stdout } = await exec(host, "command -v openvpn >/dev/null && openvpn --version | head -n 1");
    const version = stdout.match(/^OpenVPN (\S+)/)?.[1];
    if (version) openvpn[host] = version;
  }
  return { kernel: (await exec("guest", "uname -r")).stdout.trim(), openvpn };
}

/** Measures one set-up, telling `keep` of every new figure. */
async function bench(setup: Setup, runs: number, keep: (figures: Figures) => Promise<void>): Promise<void> {
  const { site } = await up();
  step(`${setups[setup]}: plain hosts`);
  await reset();
  const bonds = await deploy[setup](site);
  if (bonds) await settle(site, bonds);

  const figures: Figures = { ...(await versions(site)), ways: {}, failovers: [] };
  const ways = bonds ? ["bond"] : site.lines.map(({ name }) => name);
  for (const way of ways) {
    step(`${setups[setup]}: idle ping, ${way}`);
    // A line's box stands at the line itself; the client's own way is the bond.
    const idle = await ping(bonds ? "client" : way, site.far.address);
    figures.ways[way] = { idle, down: [], up: [] };
  }
  for (let run = 1; run <= runs; run++) {
    for (const way of ways) {
      for (const direction of ["down", "up"] as const) {
        const measured = await measure({ via: way, direction, bytes: bytes[direction], ping: true });
        figures.ways[way]![direction].push(measured);
        const { mbits, ping: alongside } = measured;
        step(`run ${run}: ${way} ${direction} ${mbits.toFixed(2)} Mbit/s, ping ${alongside?.avgMs} ms`);
        await keep(figures);
      }
    }
    if (!bonds) continue;
    const line = site.lines[0]!.name;
    const seen = await failover(site, line, bonds);
    figures.failovers.push(seen);
    step(`run ${run}: ${line} cut and restored: ${JSON.stringify(seen)}`);
    await keep(figures);
  }
}

function number(word: string): number {
  const value = Number(word);
  if (!Number.isInteger(value) || value < 1)
    throw new LabError(`--runs ${word}: a whole number from 1 on\n${usage}`);
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { runs: { type: "string", default: "3" }, only: { type: "string" }, help: { type: "boolean" } },
  });
  if (values.help) return console.log(usage);
  const runs = number(values.runs);
  const all = Object.keys(setups) as Setup[];
  const chosen = all.filter((setup) => values.only === undefined || values.only === setup);
  if (chosen.length === 0) throw new LabError(`--only ${values.only}\n${usage}`);

  const { site, clock } = await up();
  const stored: Results = JSON.parse(await readFile(memory, "utf8").catch(() => "{}"));
  for (const setup of chosen) {
    await bench(setup, runs, async (figures) => {
      stored[setup] = figures;
      // In the order of `setups`, and only what has at least one figure of each kind.
      const results = Object.fromEntries(all.filter((key) => stored[key]).map((key) => [key, stored[key]]));
      await mkdir(home, { recursive: true });
      await writeFile(memory, JSON.stringify(results, null, 1));
      const whole = Object.values(stored).every(({ ways }) =>
        Object.values(ways).every(({ down, up }) => down.length > 0 && up.length > 0),
      );
      if (!whole) return;
      const report = renderReport(results, { site, clock, bytes });
      await writeFile(new URL("report.md", import.meta.url), report);
    });
  }
  step("written: bench/report.md");
}

try {
  await main();
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
