import { beforeAll, describe, expect, test } from "vitest";
import { kill, start } from "../../lab/index.ts";
import { trainThroughEach } from "./direct.ts";
import { deployedSite, generation, must, slavesSettle } from "./site.ts";

// The power of either host is cut at every step of an activation, as the steps' own commands make it.
const program = "adsl-bonding-dev";
const folder = "/var/lib/adsl-bonding/dev";
const tunnel = "/etc/adsl-bonding/dev/tunnel-ovh.conf";

beforeAll(async () => {
  await deployedSite();
});

trainThroughEach();

/** The id of the generation that a host runs whole: nothing is tried, its files are as it says, its units run. */
async function running(host: string): Promise<string> {
  expect(await must(host, `ls ${folder}`)).not.toMatch(/trying|undone/);
  expect(await must(host, `${program} status`)).not.toMatch(/^(trying|drifted|check failed)/m);
  return generation(host);
}

/** Arms a host with its own generation, but for one tunnel's config, which gets a further line. */
async function arm(host: string, id: string): Promise<void> {
  await must(
    host,
    `set -e
     new=$({ cat ${tunnel}; echo "# ${id}"; } | ${program} stage ${tunnel} | sed 's/.* as //')
     old=$(sed -n 's|^file [0-7]* \\([0-9a-f]*\\) ${tunnel}$|\\1|p' ${folder}/current)
     sed "s/$old/$new/; s/^generation .*/generation ${id}/; s/^within .*/within 60/
          s/^unit [0-9a-f]* \\(adsl-dev-tunnel@ovh\\)/unit ${id} \\1/" ${folder}/current | ${program} arm`,
  );
}

const switched = `for i in $(seq 300); do [ ! -e ${folder}/switched ] || exit 0; sleep 0.1; done; exit 1`;

/** Steps after which the power goes, with the commands that lead there; whether the new generation is then the one that counts. */
const steps: [string, (id: string) => string, boolean][] = [
  ["it is armed", () => "true", false],
  ["it began to switch", (id) => `${program} switch ${id}`, false],
  ["it was half switched", (id) => `${program} switch ${id} && sleep 1.5`, false],
  ["it has switched", (id) => `${program} switch ${id} && { ${switched}; }`, false],
  ["it was found to work", (id) => `${program} switch ${id} && ${program} settle ${id}`, false],
  [
    "it began to go back",
    (id) => `${program} switch ${id} && { ${switched}; } && { ${program} revert & sleep 0.5; }`,
    false,
  ],
  [
    "it was confirmed",
    (id) => `${program} switch ${id} && ${program} settle ${id} && ${program} confirm ${id}`,
    true,
  ],
];

let number = 0;
describe.each(["pi", "server"])("the power of the %s is cut after", (host) => {
  test.each(steps)("%s", async (_, words, stays) => {
    const id = `abcdef0000${10 + number++}`;
    const before = await running(host);
    await arm(host, id);
    await must(host, words(id), 120);
    await kill(host);
    await start(host);
    await slavesSettle(2, 90);
    expect(await running(host)).toBe(stays ? id : before);
    expect((await must(host, `tail -n 1 ${tunnel}`)).trim() === `# ${id}`).toBe(stays);
  });
});
