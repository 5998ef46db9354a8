import { beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { facts, reboot } from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { deployedSite, generation, must, mustUp, slavesSettle, tracesOn } from "./site.ts";

// What Pulumi knows and what a host holds have parted: the state is lost, or a host is back from a snapshot.
let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

/** When each unit of ours was started last. */
const starts = (host: string) =>
  must(host, "systemctl show -p Id -p ActiveEnterTimestampMonotonic 'adsl-dev-*.service'");

/** What a preview tells, which has to end well. */
async function previewed(): Promise<string> {
  const { code, stdout, stderr } = await stack.pulumi(["preview"]);
  expect(code, stdout + stderr).toBe(0);
  return stdout + stderr;
}

/** Puts a host back to its snapshot, as a provider does: it boots from that. */
async function putBack(host: string): Promise<void> {
  await must(host, "tar -xpf /root/snapshot.tar -C /");
  await reboot(host);
}

test("a host that is back from a snapshot is told by the preview, and the next up brings both together", async () => {
  for (const host of ["pi", "server"])
    await must(host, "tar -cpf /root/snapshot.tar /etc /usr/local/sbin /var/lib/adsl-bonding");
  await stack.configure((site) => {
    site.bond = { arpInterval: 110 };
  });
  await mustUp(stack);
  await putBack("server");
  const [pi, server] = [await generation("pi"), await generation("server")];
  expect(server).not.toBe(pi);

  expect(await previewed()).toContain(`the hosts run different generations (server ${server}, pi ${pi})`);
  await mustUp(stack);
  expect(await generation("server")).toBe(await generation("pi"));
  expect(await must("server", "cat /proc/net/bonding/bond-dev")).toContain("ARP Polling Interval (ms): 110");
  await slavesSettle(2, 60);
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});

test("so are both hosts that are back from snapshots of one time, and agree", async () => {
  const last = await generation("pi");
  for (const host of ["pi", "server"]) await putBack(host);
  const old = await generation("pi");
  expect(await generation("server")).toBe(old);
  expect(old).not.toBe(last);
  expect(await previewed()).toContain(`the hosts run the generation ${old}, and the state knows of ${last}`);
  await mustUp(stack);
  for (const [host, bond] of [
    ["pi", "bond0"],
    ["server", "bond-dev"],
  ] as const)
    expect(await must(host, `cat /proc/net/bonding/${bond}`)).toContain("ARP Polling Interval (ms): 110");
  await slavesSettle(2, 60);
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});

test("a host whose notes were deleted knows what runs all the same, and an up writes them again, while it goes on", async () => {
  const before = await starts("server");
  await must("server", "rm -r /var/lib/adsl-bonding");
  expect(await must("server", "adsl-bonding-dev status")).toMatch(/^check: 2 of 2 slaves are up/m);
  await must("server", "rm -r /var/lib/adsl-bonding");
  expect(await mustUp(stack)).toContain("server has lost what only a new installation brings");
  expect(await starts("server")).toBe(before);
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});

test("a host whose settings and keys were deleted goes on, the preview names them, and an up makes them anew", async () => {
  await must("pi", "rm -r /etc/adsl-bonding");
  expect(await externalAddress()).toBe("203.0.113.10");
  const preview = await stack.pulumi(["preview", "--diff"]);
  expect(preview.code, preview.stdout + preview.stderr).toBe(0);
  expect(preview.stdout + preview.stderr).toMatch(
    /pi has lost .*\/dev\/tunnel-ovh\.conf is gone.*\/dev\/keys\/\S+\.key is gone/,
  );
  await mustUp(stack);
  await slavesSettle(2, 60);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});

test("with the state lost the hosts answer by themselves, and an up with an empty one takes them over, while they go on", async () => {
  for (const host of ["pi", "server"]) {
    expect(await must(host, "adsl-bonding-dev status")).toMatch(/^check: 2 of 2 slaves are up/m);
  }
  const before = { pi: await starts("pi"), server: await starts("server") };
  const id = await generation("pi");
  const again = await openStack(await facts(), "again");
  await again.configure((site) => {
    site.bond = { arpInterval: 110 };
  });
  expect(await mustUp(again)).toMatch(/\d+ created/);
  expect({ pi: await starts("pi"), server: await starts("server") }).toEqual(before);
  expect(await generation("pi")).toBe(id);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect((await again.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);

  // Of the other one the notes are gone, too.
  await must("server", "rm -r /var/lib/adsl-bonding");
  const { code, stdout, stderr } = await again.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  for (const host of ["pi", "server"]) expect(await tracesOn(host)).toBe("");
});
