import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, exec, measure, restore } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { answer, tryCall } from "./call.ts";
import {
  far,
  longestGap,
  now,
  openBox,
  seenBy,
  shutTunnels,
  train,
  transferWhile,
  tunnelsAgain,
  withoutTunnels,
} from "./direct.ts";
import { deployedSite, eventually, must, mustUp, queueRate, slavesSettle } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

afterAll(async () => {
  await exec("server", "nft delete table inet shut");
  await restore("ovh");
});

/** What the box of a line gets from the LAN on port 80 while something is done: the senders' addresses. */
async function sendersAt(line: string, meanwhile: () => Promise<unknown>): Promise<string[]> {
  const capture = "timeout 8 tcpdump -l -n -i eth0 'tcp dst port 80 and dst host 198.51.100.7' 2>/dev/null";
  const watch = exec("guest", `ip netns exec ${line} ${capture}`, { timeoutSeconds: 30 });
  await must("guest", "sleep 2");
  await meanwhile();
  const senders = [...(await watch).stdout.matchAll(/IP (\d+\.\d+\.\d+\.\d+)\.\d+ >/g)].map(
    ([, from]) => from!,
  );
  return [...new Set(senders)];
}

/** An operator's own rule: what comes to the Pi's SSH from the box ovh is a LAN host's. */
const translation = `table ip operator {
  chain inward { type nat hook prerouting priority dstnat; ip saddr 198.51.100.0/24 tcp dport 22 dnat to 192.168.1.10; }
}`;

const bytes = { down: 8_000_000, up: 1_000_000 };

test("without a live tunnel new connections leave by a box, as the Pi's, and come back", async () => {
  expect(await externalAddress()).toBe(seenBy.server);
  const pings = train(60);
  await must("guest", "sleep 4");
  const shutAt = await now();
  await withoutTunnels(0);
  expect(await externalAddress()).toBe(seenBy.orange);
  const { mbits } = await measure({ via: "bond", direction: "down", bytes: 3_000_000 });
  const openedAt = await now();
  await tunnelsAgain();
  await must("guest", "sleep 2");
  expect(await externalAddress()).toBe(seenBy.server);
  const output = await pings;
  const gaps = [longestGap(output, shutAt - 1, openedAt), longestGap(output, openedAt)];
  console.log(
    `longest gaps: ${gaps[0]!.toFixed(2)} s to the box, ${gaps[1]!.toFixed(2)} s back; download meanwhile ${mbits.toFixed(2)} Mbit/s`,
  );
  expect(gaps[0]).toBeLessThan(1.5);
  expect(gaps[1]).toBeLessThan(1.5);
  expect(mbits).toBeGreaterThan(4);
});

test.each(["down", "up"] as const)(
  "TCP that began in the bond waits for it through a moment without: %s",
  async (direction) => {
    const { whole, said } = await transferWhile(direction, bytes[direction], async () => {
      await withoutTunnels(4);
      await tunnelsAgain();
    });
    expect(whole, said).toBe(true);
  },
);

test.each(["down", "up"] as const)(
  "TCP that began by a box ends by it, though the bond is back, whose queue leaves it room: %s",
  async (direction) => {
    const alone = await queueRate("pi", "bond0");
    let beside = alone;
    await withoutTunnels(0);
    const { whole, said } = await transferWhile(direction, 2 * bytes[direction], async () => {
      await tunnelsAgain();
      await must("guest", "sleep 2");
      beside = await queueRate("pi", "bond0");
    });
    expect(whole, said).toBe(true);
    expect(await externalAddress()).toBe(seenBy.server);
    console.log(`the Pi's queue: ${alone} kbit/s, ${beside} beside it`);
    if (direction === "up") expect(beside).toBeLessThan(alone / 2);
    await eventually("pi", `tc qdisc show dev bond0 root | grep -q 'bandwidth ${alone}Kbit'`, 10);
  },
);

test("who calls by a box is answered through it by a LAN host, too, where the Pi translates the address", async () => {
  await openBox("ovh");
  await answer("client", "tcp:22");
  await must("pi", `nft '${translation}'`);
  expect((await tryCall("far", "tcp", seenBy.ovh, 2222)).answer).toBe(`22 ${far}`);
  await must("pi", "nft delete table ip operator");
});

test("TCP that asked by the bond as it died, and asks again, begins by a box", async () => {
  await shutTunnels(true);
  // Its first packet goes into the bond, before that has seen it.
  const { whole, seconds, said } = await transferWhile("down", 3_000_000, () => slavesSettle(0));
  await tunnelsAgain();
  expect(whole, said).toBe(true);
  expect(seconds).toBeLessThan(12);
});

test.each(["down", "up"] as const)(
  "who has TCP over a bond that stays dead learns of it: %s",
  async (direction) => {
    const { whole, seconds, said } = await transferWhile(direction, bytes[direction], () =>
      withoutTunnels(20),
    );
    await tunnelsAgain();
    expect(whole).toBe(false);
    expect(said).toContain("reset by peer");
    expect(seconds).toBeGreaterThan(15);
    expect(seconds).toBeLessThan(25);
  },
);

test("the line can be chosen", async () => {
  await stack.configure((site) => {
    site.fallback = "ovh";
  });
  await mustUp(stack);
  await slavesSettle(2, 60);
  await withoutTunnels(0);
  const senders = await sendersAt("ovh", async () => {
    expect(await externalAddress()).toBe(seenBy.ovh);
  });
  expect(senders).toEqual(["192.168.1.252"]);
  await tunnelsAgain();
  expect(await externalAddress()).toBe(seenBy.server);
});

test("a line that was dead before the server is not taken", async () => {
  await cut("ovh");
  await slavesSettle(1);
  await shutTunnels(true);
  await slavesSettle(0);
  expect(await externalAddress()).toBe(seenBy.orange);
  await restore("ovh");
  await tunnelsAgain();
});

test("where the site wants none nothing leaves but what is chosen to, and answers to who enters by a box", async () => {
  await stack.configure((site) => {
    site.fallback = false;
    site.bypass = [{ line: "ovh", protocol: "udp", ports: 27001, hosts: ["192.168.1.10"] }];
  });
  await mustUp(stack);
  await slavesSettle(2, 60);
  await withoutTunnels(0);
  const refused = await exec("client", `ping -n -c 3 -W 1 ${far}`);
  expect(refused.stdout).toContain("Unreachable");
  expect((await exec("pi", `ping -n -c 1 -W 1 ${far}`)).code).not.toBe(0);
  await answer("far", "udp:27001");
  expect((await tryCall("client", "udp", far, 27001)).answer).toBe(`27001 ${seenBy.ovh}`);
  await openBox("ovh");
  expect((await tryCall("far", "tcp", seenBy.ovh, 2222)).answer).toContain("SSH-2.0");
  await tunnelsAgain();
  expect(await externalAddress()).toBe(seenBy.server);
});
