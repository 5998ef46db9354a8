import { beforeAll, expect, test } from "vitest";
import { reset } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { deployedSite, must, mustUp, slavesSettle } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

/** The two hosts run the same, both lines carry, and a further up finds nothing to do. */
async function whole(): Promise<void> {
  await slavesSettle(2, 60);
  const current = "sed -n 's/^generation //p' /var/lib/adsl-bonding/dev/current";
  expect(await must("pi", current)).toBe(await must("server", current));
  expect(await mustUp(stack)).not.toMatch(/\d+ (created|updated|deleted|changes)/);
}

test("a server that was made anew is installed again by the next up", async () => {
  await reset(["server"]);
  const { stdout, code } = await stack.pulumi(["preview"]);
  expect(code, stdout).toBe(0);
  // All of the server's, and of the Pi's no more than follows from the server's new keys.
  expect(stdout).toMatch(/~ .*server packages +update/);
  expect(stdout).not.toMatch(/(\+|-|\+-) .*(server|pi) program/);
  expect(stdout).not.toMatch(/~ .*pi packages/);
  await mustUp(stack);
  await whole();
});

test("so is a Pi from which somebody took the site away by hand", async () => {
  await must("pi", "adsl-bonding-dev remove", 120);
  await mustUp(stack);
  await whole();
});
