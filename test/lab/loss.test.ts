import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, lose, restore } from "../../lab/index.ts";
import { beginTrain, dropAnswers, endTrain, now, transferWhile } from "./direct.ts";
import { deployedSite, eventually, must, slavesSettle } from "./site.ts";

beforeAll(async () => {
  await deployedSite();
});

afterAll(async () => {
  for (const line of ["ovh", "orange"]) await restore(line);
});

/** What the watch said since a moment: which line, what of it, and after how many seconds. */
async function said(since: number): Promise<[number, string][]> {
  const told = await must("pi", "journalctl -q -o short-unix -u adsl-dev-watch");
  return [...told.matchAll(/^(\d+\.\d+) .*: (\w+ is (?:out|used again))/gm)]
    .map(([, at, what]): [number, string] => [Number(at) - since, what!])
    .filter(([at]) => at > 0);
}

/** Waits until the watch has said something since a moment; gives after how many seconds it did. */
async function until(what: string, since: number, seconds: number): Promise<number> {
  await eventually(
    "pi",
    `journalctl -q -o cat -u adsl-dev-watch --since @${Math.floor(since)} | grep -q '${what}'`,
    seconds,
  );
  const found = (await said(since)).find(([, each]) => each === what)!;
  console.log(`${what} after ${found[0].toFixed(1)} s`);
  return found[0];
}

/** How many slaves each end saw as up, five times a second for some seconds. */
async function slavesSeen(seconds: number): Promise<string> {
  const watch = (bond: string) =>
    `for i in $(seq ${seconds * 5}); do grep -A1 '^Slave Interface' /proc/net/bonding/${bond} | grep -c 'MII Status: up'; sleep 0.2; done | sort -u | tr '\\n' ' '`;
  const seen = await Promise.all([
    must("pi", watch("bond0"), seconds * 2 + 20),
    must("server", watch("bond-dev"), seconds * 2 + 20),
  ]);
  return seen.map((counts) => counts.trim()).join(", ");
}

test("a line that loses a quarter towards the site is out within 15 s at both ends, and back after 60 clean ones", async () => {
  await beginTrain(0.02);
  const { whole, seconds } = await transferWhile("down", 12_000_000, async () => {
    const began = await now();
    await lose("ovh", 25, "in");
    expect(await until("ovh is out", began, 30)).toBeLessThan(15);
    await slavesSettle(1, 5);
  });
  const { gap, lost } = await endTrain();
  console.log(
    `a line begins to lose a quarter: longest gap ${gap.toFixed(2)} s, ${lost} pings lost; a download took ${seconds.toFixed(1)} s`,
  );
  expect(whole).toBe(true);
  expect(gap).toBeLessThan(1);
  // Once out, it stays out: no probe of the bond that happens to pass brings it back.
  expect(await slavesSeen(10)).toBe("1, 1");
  const ping = await must("client", "ping -n -q -i 0.05 -c 100 198.51.100.7");
  expect(ping).toMatch(/ 0% packet loss/);
  const mended = await now();
  await restore("ovh");
  const back = await until("ovh is used again", mended, 90);
  expect(back).toBeGreaterThan(57);
  expect(back).toBeLessThan(66);
  await slavesSettle(2, 5);
});

test("so is one that loses a quarter away from the site; the end of the watch gives it back", async () => {
  const began = await now();
  await lose("orange", 25, "out");
  expect(await until("orange is out", began, 30)).toBeLessThan(15);
  await slavesSettle(1, 5);
  expect(await slavesSeen(5)).toBe("1, 1");
  await restore("orange");
  await must("pi", "systemctl restart adsl-dev-watch");
  await slavesSettle(2, 10);
});

test("and one that loses just every fifth packet, the least that counts", async () => {
  const began = await now();
  const fifth = await dropAnswers("ovh", 5);
  expect(await until("ovh is out", began, 30)).toBeLessThan(15);
  await slavesSettle(1, 5);
  await fifth.end();
  await must("pi", "systemctl restart adsl-dev-watch");
  await slavesSettle(2, 10);
});

test("a tenth lost in both directions doesn't make a line come and go", async () => {
  const began = await now();
  await lose("ovh", 10);
  await must("guest", "sleep 90", 120);
  const changes = await said(began);
  console.log(`a tenth: ${JSON.stringify(changes)}`);
  expect(changes.length).toBeLessThanOrEqual(1);
  await restore("ovh");
  await must("pi", "systemctl restart adsl-dev-watch");
  await slavesSettle(2, 10);
});

test("a line that was dead is used again at once", async () => {
  const began = await now();
  await cut("ovh");
  await slavesSettle(1, 10);
  await must("guest", "sleep 8");
  const mended = await now();
  await restore("ovh");
  await slavesSettle(2, 20);
  console.log(`used again ${((await now()) - mended).toFixed(1)} s after its return`);
  expect(await said(began)).toEqual([]);
});

test("while one is out for its loss the other is cut: the first carries again at once, and is out again when the other is back", async () => {
  await lose("ovh", 25, "in");
  await until("ovh is out", await now(), 30);
  await slavesSettle(1, 5);
  await beginTrain(0.02);
  const died = await now();
  await cut("orange");
  // Not only once its probes are overdue: the bond itself knows of the cut.
  expect(await until("ovh is used again", died, 10)).toBeLessThan(1.5);
  await must("guest", "sleep 8");
  const mended = await now();
  await restore("orange");
  await until("ovh is out", mended, 20);
  await slavesSettle(1, 5);
  const { gap, lost } = await endTrain();
  console.log(`a lossy line takes over: longest gap ${gap.toFixed(2)} s, ${lost} pings lost`);
  expect(gap).toBeLessThan(2);
});
