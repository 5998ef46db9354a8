import { beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { kill, reboot, start } from "../../lab/index.ts";
import { deployedSite, must, slavesSettle } from "./site.ts";

beforeAll(async () => {
  await deployedSite();
});

test.each(["pi", "server"])("the site comes back after a reboot of the %s", async (host) => {
  await reboot(host);
  await slavesSettle(2, 90);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect(await must(host, "systemctl list-units --failed --plain --no-legend 'adsl-*'")).toBe("");
});

test("the site comes back after the Pi's power was cut", async () => {
  await kill("pi");
  await start("pi");
  await slavesSettle(2, 90);
  expect(await externalAddress()).toBe("203.0.113.10");
});
