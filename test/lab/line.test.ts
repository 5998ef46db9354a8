import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, restore } from "../../lab/index.ts";
import { deployedSite, must, slavesSettle } from "./site.ts";

/** Seconds, by the guest's clock, in which a whole line's cut must be over for whoever pings. */
const failoverSeconds = 1.5;

beforeAll(async () => {
  await deployedSite();
});

afterAll(async () => {
  await restore("ovh");
});

/** The longest gap between two answers of a ping train, seconds; 50 pings a second. */
function longestGap(output: string): number {
  const times = [...output.matchAll(/^\[(\d+\.\d+)\].*bytes from/gm)].map(([, at]) => Number(at));
  expect(times.length).toBeGreaterThan(50);
  return Math.max(...times.slice(1).map((at, n) => at - times[n]!));
}

test("a download goes on when a line is cut in the middle of it, and uses the line again after", async () => {
  // About 40 s of the lines together.
  const far = "198.51.100.7";
  const pings = exec("client", `ping -n -D -i 0.02 -c 1500 ${far}`, { timeoutSeconds: 90 });
  const download = exec("client", `/lab/measure.sh bond ${far} down 20000000 1 quiet`, {
    timeoutSeconds: 120,
  });
  await must("guest", "sleep 6");
  await cut("ovh");
  await slavesSettle(1);
  await must("guest", "sleep 4");
  await restore("ovh");
  await slavesSettle(2, 60);
  const { stdout, stderr, code } = await download;
  expect(code, stdout + stderr).toBe(0);
  const train = (await pings).stdout;
  const gap = longestGap(train);
  console.log(`longest gap of the ping train at the cut: ${gap.toFixed(2)} s`);
  expect(gap).toBeLessThan(failoverSeconds);
});

test("loss in one direction alone takes the line out at both ends", async () => {
  await cut("orange", "in");
  try {
    await slavesSettle(1);
    const { stdout } = await exec("client", "ping -n -i 0.05 -c 100 198.51.100.7", { timeoutSeconds: 30 });
    expect(stdout).toMatch(/ 0% packet loss/);
  } finally {
    await restore("orange");
  }
  await slavesSettle(2, 60);
});
