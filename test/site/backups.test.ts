import { expect, test } from "vitest";
import { ConfigError } from "../../site/mistake.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const spare = { name: "spare", address: "203.0.114.20", ssh: { hostKey } };

/** The mistakes of the example with these backups, and whatever else is changed. */
// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function mistakesOf(backups: unknown, change: (site: any) => void = () => {}) {
  try {
    parseSite(
      exampleSite((site) => {
        site.backups = backups;
        change(site);
      }),
    );
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  throw new Error("the config was taken");
}

test("a site without backups has none, and a backup's network follows the main bond's", () => {
  expect(planSite(parseSite(exampleSite())).backups).toEqual([]);
  const plan = planSite(
    parseSite(
      exampleSite((site) => {
        site.bond = { network: "10.9.0.0/24" };
        const other = { ...spare, name: "other", address: "203.0.114.21" };
        site.backups = [
          spare,
          { ...other, network: "10.8.0.0/30" },
          { ...spare, name: "third", address: "203.0.114.22" },
        ];
      }),
    ),
  );
  expect(plan.backups.map(({ bond }) => bond.network)).toEqual(["10.9.1.0/30", "10.8.0.0/30", "10.9.1.8/30"]);
  expect(plan.backups.map(({ pi }) => pi.bond)).toEqual(["bond-spare", "bond-other", "bond-third"]);
  expect(plan.backups[0]).toMatchObject({
    at: "-at-spare",
    bondMark: 0xad20,
    bondTable: 21020,
    server: { host: "spare", address: "203.0.114.20", bond: "bond-dev" },
    pi: { taps: ["tap0-spare", "tap1-spare"], otherNetworks: ["10.9.0.0/24", "10.8.0.0/30", "10.9.1.8/30"] },
  });
});

test("a line that loses packets goes out for all servers, and every bond's probes count", () => {
  const alone = planSite(parseSite(exampleSite()));
  const plan = planSite(parseSite(exampleSite((site) => (site.backups = [spare]))));
  expect(plan.watch?.lines.map(({ taps }) => taps)).toEqual([
    ["tap0", "tap0-spare"],
    ["tap1", "tap1-spare"],
  ]);
  // Another 25.44 kbit/s of each line, less what is left unused.
  const rates = [alone, plan, ...plan.backups].map(({ shaping }) => shaping!.pi[0]!.rate);
  expect(rates[0]! - rates[1]!).toBe(Math.round(25_440 * 0.995));
  expect(rates[2]).toBe(rates[1]);
});

// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
const wrong: [string, string, unknown, ((site: any) => void)?][] = [
  ["a backup without an address", "backups[0].address", [{ name: "spare", ssh: { hostKey } }]],
  ["one without a host key", "backups[0].ssh.hostKey", [{ ...spare, ssh: {} }]],
  ["a name for a host that there is", "backups[0].name", [{ ...spare, name: "server" }]],
  ["a name with a hyphen", "backups[0].name", [{ ...spare, name: "my-spare" }]],
  ["two of one name", "backups[1].name", [spare, { ...spare, address: "203.0.114.21" }]],
  ["the main server again", "backups[0].address", [{ ...spare, address: "203.0.113.10" }]],
  ["one backup twice", "backups[1].address", [spare, { ...spare, name: "other" }]],
  ["a backup on the LAN", "backups[0].address", [{ ...spare, address: "192.168.1.7" }]],
  ["one inside a bond", "backups[0].address", [{ ...spare, address: "172.16.16.2" }]],
  ["one inside its own bond", "backups[0].address", [{ ...spare, address: "172.16.16.6" }]],
  ["a bond network for one host", "backups[0].network", [{ ...spare, network: "10.0.0.0/31" }]],
  ["a network without its prefix", "backups[0].network", [{ ...spare, network: "10.0.0.0" }]],
  ["the main bond's network", "backups[0].network", [{ ...spare, network: "172.16.16.0/30" }]],
  ["the LAN as the bond's network", "backups[0].network", [{ ...spare, network: "192.168.0.0/16" }]],
  [
    "the network that the next one would get by itself",
    "backups[1].network",
    [
      { ...spare, network: "172.16.16.8/30" },
      { ...spare, name: "other", address: "203.0.114.21" },
    ],
  ],
  [
    "a derived network that is the LAN's",
    "backups[0].network",
    [spare],
    (site) => (site.bond = { network: "192.168.0.252/30" }),
  ],
  [
    "a name that makes a bond of a line's card",
    "backups[0].name",
    [spare],
    (s) => (s.lines[1].interface = "bond-spare"),
  ],
  [
    "a name that makes the main bond's",
    "backups[0].name",
    [spare],
    (s) => (s.bond = { interface: "bond-spare" }),
  ],
  [
    "a name that makes a tap of the bond",
    "backups[0].name",
    [spare],
    (s) => (s.bond = { interface: "tap3-spare" }),
  ],
  [
    "a forward of a backup's SSH port",
    "forwards[0].ports",
    [{ ...spare, ssh: { hostKey, port: 2222 } }],
    (site) => (site.forwards = [{ ports: 2222 }]),
  ],
  [
    "half a login to OVH",
    "backups[0].ovh.consumerKey",
    [{ ...spare, ovh: { serviceName: "ns1.example.eu", applicationKey: "a", applicationSecret: "b" } }],
  ],
  [
    "a ninth backup",
    "backups",
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => ({ ...spare, name: `s${n}`, address: `203.0.114.${n}` })),
  ],
  ["a server that is no list", "backups", spare],
];

test.each(wrong)("%s is told with its path", (_, path, backups, change) => {
  const mistakes = mistakesOf(backups, change);
  expect(mistakes.map((mistake) => mistake.path)).toContain(path);
  for (const { reason, mend } of mistakes) {
    expect(reason.length).toBeGreaterThan(8);
    expect(mend).toMatch(/^[A-Z].*\.$/);
  }
});

test("a login to OVH is not shown where it is wrong", () => {
  const ovh = { serviceName: "ns1.example.eu", applicationKey: "a secret" };
  const mistakes = mistakesOf([{ ...spare, ovh }]);
  expect(new ConfigError(mistakes).message).not.toContain("a secret");
});
