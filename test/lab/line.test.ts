import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, restore } from "../../lab/index.ts";
import { longestGap, train, transferWhile } from "./direct.ts";
import { deployedSite, largestIsWhole, must, slavesSettle } from "./site.ts";

/** Seconds, by the guest's clock, in which a whole line's cut must be over for whoever pings. */
const failoverSeconds = 1.5;

beforeAll(async () => {
  await deployedSite();
});

afterAll(async () => {
  await restore("ovh");
});

test("a download goes on when a line is cut in the middle of it, and uses the line again after", async () => {
  // Some 15 s of the lines together, and of one alone twice that.
  const pings = train(30);
  const { whole, said } = await transferWhile("down", 20_000_000, async () => {
    await must("guest", "sleep 4");
    await cut("ovh");
    await slavesSettle(1);
    await must("guest", "sleep 4");
    await restore("ovh");
    await slavesSettle(2, 60);
  });
  expect(whole, said).toBe(true);
  const gap = longestGap(await pings);
  console.log(`longest gap of the ping train at the cut: ${gap.toFixed(2)} s`);
  expect(gap).toBeLessThan(failoverSeconds);
});

test("the largest packet of the bond is whole on every line, and one byte more is refused before it leaves", async () => {
  await largestIsWhole({ ovh: 1492, orange: 1492 });
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
