import { beforeAll, expect, test } from "vitest";
import { kill, start } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { deployedSite, eventually, must, mustUp, slavesSettle } from "./site.ts";

let stack: Stack;
let interval = 100;

beforeAll(async () => {
  stack = await deployedSite();
});

/**
 * Begins an up that changes both hosts, and ends its process at once when a file is there on the Pi. Where it
 * was switched already the hosts go back after a shorter time than usual: nobody confirms.
 */
async function killedUp(file: string): Promise<void> {
  interval += 10;
  await stack.configure((site) => {
    site.activation = { confirmWithin: 30 };
    site.bond = { arpInterval: interval };
  });
  const end = new AbortController();
  const up = stack.pulumi(["up", "--yes", "--skip-preview"], { signal: end.signal });
  await eventually("pi", `[ -e /var/lib/adsl-bonding/dev/${file} ]`, 300);
  end.abort();
  expect((await up).code).not.toBe(0);
}

/** What a person does next; the killed run may have left the state's lock behind. */
async function nextUp(): Promise<void> {
  await stack.pulumi(["cancel", "--yes"]);
  await stack.configure((site) => {
    site.bond = { arpInterval: interval };
  });
  await mustUp(stack);
  await slavesSettle(2, 60);
  expect(await must("pi", "cat /proc/net/bonding/bond0")).toContain(`ARP Polling Interval (ms): ${interval}`);
  const status = await must("pi", "adsl-bonding-dev status");
  expect(status).not.toMatch(/trying|armed/);
}

test("a Pulumi killed while the hosts are armed: nothing has changed, and the next up completes", async () => {
  // Another change of the server, that lasts: its arming waits for that one, and so does the Pi's switch.
  await must("server", "systemd-run -q --collect --unit other-change flock /run/adsl-dev.lock sleep 600");
  await killedUp("armed");
  await must("server", "systemctl stop other-change");
  for (const host of ["pi", "server"]) await must(host, "test ! -e /var/lib/adsl-bonding/dev/trying");
  await slavesSettle(2);
  await nextUp();
});

test("a Pulumi killed while the hosts try: both go back by themselves, and the next up completes", async () => {
  const before = await must("pi", "sed -n 's/^generation //p' /var/lib/adsl-bonding/dev/current");
  await killedUp("trying");
  for (const host of ["pi", "server"]) {
    await eventually(host, "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 90);
    expect(await must(host, "sed -n 's/^generation //p' /var/lib/adsl-bonding/dev/current")).toBe(before);
  }
  await slavesSettle(2, 60);
  await nextUp();
});

test("the Pi's power cut while it tries: it boots on the generation before, and the next up completes", async () => {
  const before = await must("pi", "sed -n 's/^generation //p' /var/lib/adsl-bonding/dev/current");
  await killedUp("switched");
  await kill("pi");
  await start("pi");
  expect(await must("pi", "sed -n 's/^generation //p' /var/lib/adsl-bonding/dev/current")).toBe(before);
  expect(await must("pi", "adsl-bonding-dev status")).toMatch(
    /last undone: .*restarted before it was confirmed/,
  );
  await eventually("server", "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 90);
  await slavesSettle(2, 90);
  await nextUp();
});
