import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, restore } from "../../lab/index.ts";
import { longestGap, train, transferWhile } from "./direct.ts";
import { deployedSite, must, slavesSettle } from "./site.ts";

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
  const size = Number(await must("pi", "cat /sys/class/net/bond0/mtu")) - 28;
  const seen = (line: string, filter: string) =>
    exec(
      "guest",
      `ip netns exec ${line} timeout 8 tcpdump -l -n -i wan '${filter}' 2>/dev/null | grep -c ' IP '`,
      {
        timeoutSeconds: 40,
      },
    );
  const [cut, large] = ["ip[6:2] & 0x3fff != 0 or ip[2:2] > 1492", "udp and ip[2:2] > 1400"];
  const watches = Promise.all(["ovh", "orange"].flatMap((line) => [seen(line, cut), seen(line, large)]));
  await must("guest", "sleep 2");
  expect(await must("client", `ping -n -M do -s ${size} -i 0.1 -c 30 198.51.100.7`)).toMatch(
    / 0% packet loss/,
  );
  const more = await exec("client", `ping -n -M do -s ${size + 1} -i 0.1 -c 3 198.51.100.7`);
  expect(more.stdout + more.stderr).toMatch(/Frag needed|too long/i);
  const counts = (await watches).map(({ stdout }) => Number(stdout));
  expect([counts[0], counts[2]]).toEqual([0, 0]);
  expect(Math.min(counts[1]!, counts[3]!)).toBeGreaterThan(10);
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
