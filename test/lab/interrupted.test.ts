import { cp, rm } from "node:fs/promises";
import { beforeAll, expect, test } from "vitest";
import { kill, start } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { trainThroughEach } from "./direct.ts";
import { deployedSite, eventually, generation, must, mustUp, slavesSettle } from "./site.ts";

let stack: Stack;
let interval = 100;

beforeAll(async () => {
  stack = await deployedSite();
});

trainThroughEach();

/** Another change of both hosts; where it was switched already they go back after a shorter time than usual. */
async function anotherChange(): Promise<void> {
  interval += 10;
  await stack.configure((site) => {
    site.activation = { confirmWithin: 30 };
    site.bond = { arpInterval: interval };
  });
}

/** Until a file of the program's is there on the Pi. */
function reaches(file: string): Promise<void> {
  return eventually("pi", `[ -e /var/lib/adsl-bonding/dev/${file} ]`, 900);
}

/** Begins an up that changes both hosts, and ends it at some moment; gives what it printed. */
async function endedUp(moment: () => Promise<void>, signal?: "SIGINT"): Promise<string> {
  await anotherChange();
  const end = new AbortController();
  const up = stack.pulumi(["up", "--yes", "--skip-preview"], { signal: end.signal });
  await moment();
  end.abort(signal);
  const { code, stdout, stderr } = await up;
  expect(code).not.toBe(0);
  return stdout + stderr;
}

/** Both hosts go back by themselves to the generation before. */
async function bothGoBack(before: string): Promise<void> {
  for (const host of ["pi", "server"]) {
    await eventually(host, "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 90);
    expect(await generation(host)).toBe(before);
  }
  await slavesSettle(2, 60);
}

/** What a person does after a Pulumi that was killed: it may have left the state's lock behind. */
async function nextUp(): Promise<void> {
  await stack.pulumi(["cancel", "--yes"]);
  await completes();
}

/** The next up makes the change, on both hosts. */
async function completes(): Promise<void> {
  await stack.configure((site) => {
    site.bond = { arpInterval: interval };
  });
  await mustUp(stack);
  await runsIt();
}

/** Both hosts run what was asked for last, and try nothing. */
async function runsIt(): Promise<void> {
  await slavesSettle(2, 60);
  expect(await must("pi", "cat /proc/net/bonding/bond0")).toContain(`ARP Polling Interval (ms): ${interval}`);
  expect(await must("server", "cat /proc/net/bonding/bond-dev")).toContain(
    `ARP Polling Interval (ms): ${interval}`,
  );
  const status = await must("pi", "adsl-bonding-dev status");
  expect(status).not.toMatch(/trying|armed/);
}

test("a Pulumi killed while the hosts are armed: nothing has changed, and the next up completes", async () => {
  // Another change of the server, that lasts: its arming waits for that one, and so does the Pi's switch.
  await must("server", "systemd-run -q --collect --unit other-change flock /run/adsl-dev.lock sleep 1800");
  await endedUp(() => reaches("armed"));
  await must("server", "systemctl stop other-change");
  for (const host of ["pi", "server"]) await must(host, "test ! -e /var/lib/adsl-bonding/dev/trying");
  await slavesSettle(2);
  await nextUp();
});

test("a Pulumi killed while the hosts try: both go back by themselves, and the next up completes", async () => {
  const before = await generation("pi");
  await endedUp(() => reaches("trying"));
  await bothGoBack(before);
  await nextUp();
});

test("a Pulumi killed between the two confirmations: each host runs a whole generation, and the next up brings them together", async () => {
  const before = await generation("pi");
  await endedUp(async () => {
    await reaches("switched");
    // Its own confirmation, the second, waits for another change that lasts.
    await must("pi", "systemd-run -q --collect --unit other-change flock /run/adsl-dev.lock sleep 1800");
    await eventually("server", "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 900);
  });
  const confirmed = await generation("server");
  expect(confirmed).not.toBe(before);
  await must("pi", "systemctl stop other-change");
  await eventually(
    "pi",
    "[ ! -e /var/lib/adsl-bonding/dev/trying -a ! -e /var/lib/adsl-bonding/dev/undone ]",
    120,
  );
  // Whether the waiting confirmation or the timer comes first is chance; by either the Pi goes with the server.
  for (const host of ["pi", "server"]) expect(await generation(host)).toBe(confirmed);
  await nextUp();
  expect(await generation("pi")).toBe(await generation("server"));
});

test("the Pi's power cut while it tries: it boots on the generation before, and the next up completes", async () => {
  const before = await generation("pi");
  await endedUp(() => reaches("switched"));
  await kill("pi");
  await start("pi");
  expect(await generation("pi")).toBe(before);
  expect(await must("pi", "adsl-bonding-dev status")).toMatch(
    /last undone: .*restarted before it was confirmed/,
  );
  await eventually("server", "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 90);
  await slavesSettle(2, 90);
  await nextUp();
});

test("Ctrl-C while the hosts try: Pulumi ends by itself and leaves no lock, both go back, and the next up completes", async () => {
  const before = await generation("pi");
  const printed = await endedUp(() => reaches("trying"), "SIGINT");
  expect(printed).toMatch(/cancel/i);
  await bothGoBack(before);
  await completes();
});

test("SSH sessions that die while the hosts try: the up fails, both go back, and the next up completes", async () => {
  const before = await generation("pi");
  await anotherChange();
  const up = stack.pulumi(["up", "--yes", "--skip-preview"]);
  await reaches("trying");
  // For longer than a login takes: whatever asks after the hosts meanwhile is cut off.
  const sessions = "pgrep -f '^sshd(-session)?: [^/]' | xargs -r kill -9";
  await Promise.all(
    ["pi", "server"].map((host) =>
      must(host, `for i in $(seq 20); do ${sessions} 2>/dev/null || true; sleep 0.5; done`),
    ),
  );
  const { code, stdout, stderr } = await up;
  expect(code, stdout + stderr).not.toBe(0);
  await bothGoBack(before);
  await completes();
});

test("a second up of the same state is refused, and says by what", async () => {
  await anotherChange();
  const first = stack.pulumi(["up", "--yes", "--skip-preview"]);
  await reaches("armed");
  const second = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(second.code).not.toBe(0);
  expect(second.stdout + second.stderr).toMatch(/locked/);
  expect((await first).code).toBe(0);
  await runsIt();
});

test("a second up from a copy of the state, with another change, waits for the first on the hosts", async () => {
  const copy = `${stack.env.PULUMI_BACKEND_URL}-copy`;
  const folder = (url: string) => url.slice("file://".length);
  await cp(folder(stack.env.PULUMI_BACKEND_URL!), folder(copy), { recursive: true });
  await anotherChange();
  const first = stack.pulumi(["up", "--yes", "--skip-preview"]);
  await reaches("trying");
  await anotherChange();
  const second = await stack.pulumi(["up", "--yes", "--skip-preview"], { env: { PULUMI_BACKEND_URL: copy } });
  await rm(folder(copy), { recursive: true });
  expect((await first).code).toBe(0);
  expect(second.code, second.stdout + second.stderr).toBe(0);
  await runsIt();
});
