import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, down, facts, measure, reset, restore, up } from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { train } from "./direct.ts";
import { must, mustUp, slavesSettle, tracesOn } from "./site.ts";

/** As many lines as a site can have, each of them slow. */
const labFile = fileURLToPath(new URL("many.json", import.meta.url));
let lines: string[];
let stack: Stack;
let sum = 0;

beforeAll(async () => {
  await up({ site: labFile });
  await reset();
  const found = await facts();
  lines = found.site.lines.map(({ name }) => name);
  stack = await openStack(found);
  for (const via of lines) sum += (await measure({ via, direction: "down", bytes: 400_000 })).mbits;
});

// Other scenarios want the usual site.
afterAll(async () => {
  await down();
});

test("up bonds eight lines, and one download uses them all", async () => {
  await mustUp(stack);
  await slavesSettle(8, 60);
  expect(await externalAddress()).toBe("203.0.113.10");
  const { mbits, ping } = await measure({ via: "bond", direction: "down", bytes: 6_000_000, ping: true });
  const share = mbits / sum;
  console.log(
    `${mbits.toFixed(2)} Mbit/s, ${share.toFixed(3)} of the sum of eight lines, ping beside it ${ping!.avgMs} ms`,
  );
  expect(share).toBeGreaterThan(0.75);
});

test("five of them die at once, and come back", async () => {
  const dead = lines.slice(0, 5);
  const pings = train(12);
  await must("guest", "sleep 2");
  await Promise.all(dead.map((line) => cut(line)));
  await slavesSettle(3);
  expect(await externalAddress()).toBe("203.0.113.10");
  const answers = (await pings).match(/bytes from/g)!;
  console.log(`${answers.length} of ${12 * 50} pings were answered meanwhile`);
  expect(answers.length).toBeGreaterThan(12 * 50 * 0.8);
  await Promise.all(dead.map((line) => restore(line)));
  await slavesSettle(8, 60);
});

test("a site of one line is a site, too, and leaves nothing either", async () => {
  await stack.configure((site) => {
    site.lines = site.lines.slice(0, 1);
  });
  await mustUp(stack);
  await slavesSettle(1);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect(await must("pi", "ip -o link show type tun | wc -l")).toBe("1\n");
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  for (const host of ["pi", "server"]) expect(await tracesOn(host)).toBe("");
});
