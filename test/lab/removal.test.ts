import { beforeAll, expect, test } from "vitest";
import { kill } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { attempt } from "../../lab/system.ts";
import { deployedSite, must, mustUp, slavesSettle, tracesOn } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

/** A destroy fails for a dead host, in time, and names what helps. */
async function destroyFails(dead: string): Promise<void> {
  const began = Date.now();
  const { code, stdout } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  const seconds = (Date.now() - began) / 1000;
  expect(code).not.toBe(0);
  // Its own words are the plugin's; what helps stands in the name of what failed.
  expect(stdout).toMatch(new RegExp(`${dead} program.*npm run forget -- ${dead}.*deleting failed.* error:`));
  // Real seconds, for they are Pulumi's own: a few tries of a dead host, and the other's removal meanwhile.
  expect(seconds).toBeLessThan(180);
}

test("a line taken out of the config leaves nothing on either host", async () => {
  await stack.configure((site) => {
    site.lines.pop();
  });
  await mustUp(stack);
  await slavesSettle(1);
  for (const host of ["pi", "server"]) {
    expect(await must(host, "find / -xdev -path /proc -prune -o -name '*orange*' -print")).toBe("");
    expect(await must(host, "ip -o link show type tun | wc -l")).toBe("1\n");
    expect(await must(host, "systemctl list-units --all --plain --no-legend '*orange*'")).toBe("");
  }
  expect(await must("pi", "ip rule; ip route show table all")).not.toMatch(/21002|0xad02/);
});

test("with the server dead, destroy cleans the Pi, ends with an error, and the server can be forgotten", async () => {
  await kill("server");
  // A preview can't tell what stands on it, and shows no more of it than the steps that would ask again.
  const preview = await stack.pulumi(["preview"]);
  expect(preview.code, preview.stdout).toBe(0);
  expect(preview.stdout).toMatch(/server: no login as/);
  expect(preview.stdout).not.toMatch(/[~+-] .*server (program|packages|key)/);
  await destroyFails("server");
  expect(await tracesOn("pi")).toBe("");

  const forget = (host: string) =>
    attempt(process.execPath, ["commands/forget.ts", host, "dev"], { env: stack.env, timeoutSeconds: 120 });
  const none = await forget("pi");
  expect(none.code).toBe(2);
  expect(none.stderr).toMatch(/holds nothing of pi, but of server/);
  const { code: forgotten, stdout: told, stderr } = await forget("server");
  expect(forgotten, told + stderr).toBe(0);
  expect(told).toContain("sudo adsl-bonding-dev remove");
  const again = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(again.code, again.stdout + again.stderr).toBe(0);
});

test("with the Pi dead, destroy cleans the server, and says how to forget the Pi", async () => {
  stack = await deployedSite();
  await kill("pi");
  // The Pi was the operator's own gateway: a box takes its place, as docs/how-to.md says.
  await must("guest", "ip route replace default via 192.168.1.254");
  await destroyFails("pi");
  expect(await tracesOn("server")).toBe("");
});
