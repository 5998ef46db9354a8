import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, exec, restore } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import {
  beginTrain,
  endTrain,
  far,
  now,
  seenBy,
  shutTunnels,
  transferWhile,
  tunnelsAgain,
} from "./direct.ts";
import { deployedSite, eventually, must, mustUp, slavesSettle } from "./site.ts";

// A server that lives but passes nothing on: neither its bond nor OpenVPN can see that. And a fallback whose own line is dead.

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

afterAll(async () => {
  for (const [place, table] of [
    ["server", "blunder"],
    ["orange", "hush"],
    ["ovh", "hush"],
    ["internet", "hush"],
  ] as const) {
    await exec(place, `nft delete table ip ${table}`);
  }
  await exec("server", "nft delete table inet shut");
  await restore("orange");
});

/** As Docker leaves a host where nobody told it of us: whatever is forwarded is dropped. */
const blunder = "table ip blunder { chain forward { type filter hook forward priority 10; policy drop; }; }";
const begin = () => must("server", `nft '${blunder}'`);
const end = () => must("server", "nft delete table ip blunder");

/** Whether the Pi's traffic leaves so, in the words of ip(8). */
const leaves = (way: string) => `ip -4 route get 192.0.2.99 | grep -qw '${way}'`;

/** How it leaves by the bond, by any box, and by either line's. */
const by = { bond: "dev bond0", box: "dev eth0", ovh: "via 192.168.1.240", orange: "via 192.168.1.254" };

test("traffic goes by a box until the server passes it on again", async () => {
  expect(await externalAddress()).toBe(seenBy.server);
  await beginTrain(0.02);
  await begin();
  await eventually("pi", leaves(by.box), 30);
  await must("guest", "sleep 1");
  const there = await endTrain();
  expect(await externalAddress()).toBe(seenBy.orange);
  // Its bond is whole all the while, and the Pi's program says what is wrong.
  await slavesSettle(2);
  expect((await exec("pi", "adsl-bonding-dev status")).stdout).toMatch(
    /check failed: nothing behind the server answers/,
  );
  expect((await must("pi", "adsl-bonding-dev drift")).trim()).toBe("");

  await beginTrain(0.02);
  const since = await now();
  await end();
  await eventually("pi", leaves(by.bond), 30);
  const after = (await now()) - since;
  await must("guest", "sleep 1");
  const back = await endTrain();
  expect(await externalAddress()).toBe(seenBy.server);
  console.log(
    `longest gap: ${there.gap.toFixed(2)} s to the box, ${back.gap.toFixed(2)} s back, ${after.toFixed(1)} s after the server was well`,
  );
  expect(there.gap).toBeLessThan(20);
  expect(back.gap).toBeLessThan(1.5);
});

test("who has TCP through that server learns that it is over", async () => {
  const { whole, seconds, said } = await transferWhile("down", 30_000_000, async () => {
    await begin();
    await eventually("pi", leaves(by.box), 30);
  });
  console.log(`a download was told after ${(seconds - 2).toFixed(1)} s`);
  expect(whole).toBe(false);
  expect(said).toContain("reset by peer");
  expect(seconds).toBeLessThan(20);
  await end();
  await eventually("pi", leaves(by.bond), 30);
});

test("where no other way is better the traffic stays", async () => {
  const hush =
    "table ip hush { chain forward { type filter hook forward priority 10; ip protocol icmp drop; }; }";
  for (const box of ["ovh", "orange"]) await must(box, `nft '${hush}'`);
  await begin();
  await must("guest", "sleep 25");
  await must("pi", leaves(by.bond));
  for (const box of ["ovh", "orange"]) await must(box, "nft delete table ip hush");
  await eventually("pi", leaves(by.box), 30);
  await end();
  await eventually("pi", leaves(by.bond), 30);
});

test("without a tunnel traffic leaves by another line's box while the fallback's own line is dead", async () => {
  await shutTunnels(true);
  await slavesSettle(0);
  expect(await externalAddress()).toBe(seenBy.orange);
  await beginTrain(0.02);
  await cut("orange");
  await eventually("pi", leaves(by.ovh), 30);
  await must("guest", "sleep 1");
  const there = await endTrain();
  expect(await externalAddress()).toBe(seenBy.ovh);
  await beginTrain(0.02);
  await restore("orange");
  // After a minute at least.
  await eventually("pi", leaves(by.orange), 90);
  await must("guest", "sleep 1");
  const back = await endTrain();
  expect(await externalAddress()).toBe(seenBy.orange);
  console.log(`longest gap: ${there.gap.toFixed(2)} s to the other box, ${back.gap.toFixed(2)} s back`);
  expect(there.gap).toBeLessThan(20);
  expect(back.gap).toBeLessThan(1.5);
  await cut("orange");
  await eventually("pi", leaves(by.ovh), 30);
  await restore("orange");
  await tunnelsAgain();
  await eventually("pi", '[ -z "$(ip route show table 21059)" ]', 30);
  expect(await externalAddress()).toBe(seenBy.server);
});

test("an up goes through meanwhile, and says so; the next one, with the server well, too", async () => {
  // The provider's fault, whose routers pass on nothing but the tunnels and say nothing: nothing on the server can tell.
  const hush = `table ip hush {
    chain forward { type filter hook forward priority 0; ip saddr ${seenBy.server} ip daddr ${far} drop; }
    chain output { type filter hook output priority 0; ip daddr ${seenBy.server} icmp type { time-exceeded, destination-unreachable } drop; }
  }`;
  await must("internet", `nft '${hush}'`);
  await eventually("pi", leaves(by.box), 30);
  await stack.configure((site) => {
    site.vpn = { ...site.vpn, verbosity: 4 };
  });
  await mustUp(stack);
  const checks = async () => JSON.parse((await stack.pulumi(["stack", "output", "--json"])).stdout).checks;
  expect((await checks()).pi).toContain(
    "but nothing behind the server answers, and traffic goes another way",
  );
  await eventually("pi", leaves(by.box), 30);
  await must("internet", "nft delete table ip hush");
  await eventually("pi", leaves(by.bond), 30);
  await stack.configure((site) => {
    site.vpn = { ...site.vpn, verbosity: 3 };
  });
  await mustUp(stack);
  expect((await checks()).pi).toMatch(/and traffic leaves through bond0$/);
});
