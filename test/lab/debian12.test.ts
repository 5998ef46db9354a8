import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { down } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { must, mustUp, otherSite, slavesSettle, tracesOn } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await otherSite({ guest: 12, hosts: 12 });
});

afterAll(down);

test("up deploys to Debian 12 with its own kernel, and the LAN is seen with the server's address", async () => {
  for (const host of ["pi", "server"]) {
    expect(await must(host, ". /etc/os-release; echo $VERSION_ID; uname -r")).toMatch(/^12\n6\.1\./);
  }
  await mustUp(stack);
  await slavesSettle(2);
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("destroy leaves nothing of ours there", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  for (const host of ["pi", "server"]) expect(await tracesOn(host), host).toBe("");
});
