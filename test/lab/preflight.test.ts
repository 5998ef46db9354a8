import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, restore } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { must, pristineSite, slavesSettle } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await pristineSite();
});

afterAll(async () => {
  await pristineSite();
});

test("all that makes the hosts unfit comes in one error, and nothing is touched", async () => {
  // Somebody's bond in use, and a line that carries nothing: not the one by which the Pi itself goes out, or
  // the server could not be looked at either.
  await must(
    "pi",
    "ip link add bond0 type bond && ip link add dummy0 type dummy && ip link set dummy0 master bond0",
  );
  await cut("ovh");
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  expect(stdout).toMatch(/pi: bond0 is a bond in use by somebody else/);
  expect(stdout).toMatch(/pi: line ovh: UDP to 203\.0\.113\.10 port 1194 through the box 192\.168\.1\.240/);
  expect(stdout).not.toMatch(/line orange/);
  expect(await must("pi", "ip rule")).not.toMatch(/^900:/m);
  await must("pi", "test ! -e /usr/local/sbin/adsl-bonding-dev");
});

test("a host that can't be reached is told by a preview, and stops an up", async () => {
  await restore("ovh");
  await stack.configure((site) => {
    site.pi.ssh.port = 2222;
  });
  const preview = await stack.pulumi(["preview"]);
  expect(preview.stdout).toMatch(/pi: no login as admin@192\.168\.1\.252 port 2222/);
  expect(preview.code, preview.stdout).toBe(0);
  expect((await stack.pulumi(["up", "--yes", "--skip-preview"])).code).not.toBe(0);
});

/**
 * Holds apt's and dpkg's locks (fcntl's, which are other ones than flock's), as the daily update of a machine just started does,
 * until the program has wanted them for some seconds.
 */
const updating = `
  use Fcntl;
  my @held = map {
    open my $file, ">>", $_ or die "$_: $!";
    my $lock = pack "s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0;
    fcntl $file, F_SETLK, $lock or die "$_: $!";
    $file;
  } "/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend";
  for (1 .. 1200) { last if !system "pgrep -f '[a]dsl-bonding-dev .*packages' >/dev/null"; sleep 1 }
  sleep 30`;

test("a bond0 that the module made by itself is no hindrance, and a package manager at work is waited for", async () => {
  await must("pi", "ip link set dummy0 nomaster && ip link del dummy0");
  await must(
    "pi",
    `setsid perl -e '${updating.replaceAll("'", "'\\''")}' >/dev/null 2>&1 </dev/null & sleep 1; pgrep -x perl`,
  );
  await stack.configure(() => {});
  const { code, stdout, stderr } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/Could not get lock .*Waiting for it/);
  await slavesSettle(2);
});

test("somebody's firewall that drops what is forwarded is named, and what lets the bond through is taken", async () => {
  await must(
    "server",
    "nft add table ip filter && nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
  );
  await must("client", "! ping -n -q -c 2 -W 2 198.51.100.7");
  const blocked = await stack.pulumi(["preview"]);
  expect(blocked.code).not.toBe(0);
  expect(blocked.stdout).toContain("server: its firewall's chain ip filter FORWARD drops what is forwarded");
  for (const side of ["iifname", "oifname"]) {
    await must("server", `nft insert rule ip filter FORWARD ${side} bond-dev accept`);
  }
  expect(await externalAddress()).toBe("203.0.113.10");
  expect((await stack.pulumi(["preview"])).code).toBe(0);
});
