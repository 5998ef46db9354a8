import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { down, kill, start } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { eventually, generation, must, mustUp, otherSite, slavesSettle } from "./site.ts";

// What a container can't show: a Pi with a kernel to itself, NetworkManager on its card, and a power cord.
let stack: Stack;

/** For an `up`, which takes a slow host several times what it takes others, ms. */
const slow = 3_600_000;

beforeAll(async () => {
  stack = await otherSite({ clock: "real", ownGuests: ["pi"] });
});

afterAll(down);

test("up takes the place of an idle bond0 that the bonding module made by itself", {
  timeout: slow,
}, async () => {
  // One bond is the module's own default, which systemd's modprobe.d changes to none.
  await must("pi", 'modprobe bonding max_bonds=1 && [ -z "$(cat /sys/class/net/bond0/bonding/slaves)" ]');
  await mustUp(stack);
  await slavesSettle(2);
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("NetworkManager keeps what is its own through a restart, and leaves ours alone", async () => {
  const network = () =>
    must("pi", "ip rule; ip -4 route show table all; grep Interface /proc/net/bonding/bond0");
  const before = await network();
  expect(before).toMatch(/^default via 192\.168\.1\.254 dev eth0 proto static metric 100/m);
  await must("pi", "systemctl restart NetworkManager");
  await eventually("pi", "nmcli -t -f DEVICE,STATE device | grep -qx eth0:connected", 60);
  const devices = (await must("pi", "nmcli -t -f DEVICE,STATE device")).trim().split("\n");
  for (const device of ["bond0", "tap0", "tap1"]) expect(devices).toContain(`${device}:unmanaged`);
  expect(await network()).toBe(before);
  await slavesSettle(2);
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("the site comes back by itself after the Pi's power was cut", async () => {
  await kill("pi");
  await start("pi");
  await slavesSettle(2, 90);
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("a Pi whose power is cut in the middle of a switch boots on the generation before", {
  timeout: slow,
}, async () => {
  const before = await generation("pi");
  const trying = "-e /var/lib/adsl-bonding/dev/trying";
  await stack.configure((site) => {
    site.bond = { arpInterval: 150 };
  });
  const end = new AbortController();
  const up = stack.pulumi(["up", "--yes", "--skip-preview"], { signal: end.signal });
  await eventually("pi", `[ ${trying} ]`, 3000);
  await kill("pi");
  end.abort();
  await up;
  await start("pi");
  expect(await generation("pi")).toBe(before);
  for (const host of ["pi", "server"]) await eventually(host, `[ ! ${trying} ]`, 400);
  expect(await generation("server")).toBe(before);
  await slavesSettle(2, 120);
  expect(await externalAddress()).toBe("203.0.113.10");
});
