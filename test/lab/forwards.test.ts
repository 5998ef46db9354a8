import { beforeAll, expect, test } from "vitest";
import { answer, beginDownload, beginTalk, stray, tryCall } from "./call.ts";
import { deployedSite, must, mustUp, slavesSettle } from "./site.ts";

const server = "203.0.113.10";
const pi = "192.168.1.252";
const client = "192.168.1.10";
const far = "198.51.100.7";

const call = async (place: string, protocol: "tcp" | "udp", port: number) =>
  (await tryCall(place, protocol, server, port)).answer;

let taken = 0;

beforeAll(async () => {
  const stack = await deployedSite();
  await stack.configure((site) => {
    site.forwards = [
      { ports: 8080, to: client, toPorts: 80 },
      { protocol: "both", ports: "27000-27002", to: client },
      { ports: "5001-5003", to: client, toPorts: "6001-6003" },
      { protocol: "both", ports: 2200 },
    ];
  });
  // Both ends get other firewall rules, while a LAN host downloads.
  const download = await beginDownload(far);
  await mustUp(stack);
  taken = await download.end();
  await slavesSettle(2);
  await answer("client", "tcp:80", "tcp:27001", "udp:27001", "udp:27003", "tcp:27003", "tcp:6002");
  await answer("pi", "tcp:2200", "udp:2200");
});

test("a download outlasts an up that changes the firewall of both ends", () => {
  expect(taken).toBeGreaterThan(1_000_000);
});

test("a LAN host answers on ports, ranges and other ports, and sees the caller's own address", async () => {
  expect(await call("far", "tcp", 8080)).toBe(`80 ${far}`);
  expect(await call("far", "tcp", 27001)).toBe(`27001 ${far}`);
  expect(await call("far", "udp", 27001)).toBe(`27001 ${far}`);
  expect(await call("far", "tcp", 5002)).toBe(`6002 ${far}`);
});

test("the Pi itself answers, by TCP and UDP", async () => {
  expect(await call("far", "tcp", 2200)).toBe(`2200 ${far}`);
  expect(await call("far", "udp", 2200)).toBe(`2200 ${far}`);
});

test("a port beside a range, or of the other protocol, stays shut", async () => {
  for (const protocol of ["tcp", "udp"] as const) expect(await call("far", protocol, 27003)).toBe("");
  expect(await call("far", "udp", 8080)).toBe("");
});

test("LAN hosts reach the same ports by the server's address, without leaving the LAN", async () => {
  expect(await call("guest", "tcp", 8080)).toBe(`80 ${pi}`);
  expect(await call("guest", "udp", 27001)).toBe(`27001 ${pi}`);
  expect(await call("client", "tcp", 8080)).toBe(`80 ${pi}`);
  expect(await call("client", "tcp", 2200)).toBe(`2200 ${client}`);
});

test("answers leave by the bond, though the Pi knows another way to the caller", async () => {
  await must("pi", `ip route add ${far} via 192.168.1.254`);
  expect(await call("far", "tcp", 8080)).toBe(`80 ${far}`);
  expect(await call("far", "tcp", 2200)).toBe(`2200 ${far}`);
  await must("pi", `ip route del ${far}`);
});

test("nobody out there begins a connection into the LAN, or to the Pi, but by a forward", async () => {
  // A neighbour of the server's, who may take it for a router.
  const networks = ["192.168.1.0/24", "172.16.16.0/30"];
  const route = (word: string) =>
    networks
      .map((network) => `ip -n far route ${word} ${network} via ${server} dev eth0 onlink`)
      .join(" && ");
  const calls = async () => [
    (await tryCall("far", "tcp", client, 27003)).answer,
    (await tryCall("far", "tcp", pi, 2200)).answer,
    (await tryCall("far", "tcp", "172.16.16.2", 2200)).answer,
  ];
  const open = (chain: string) => `nft insert rule inet adsl_bonding_dev ${chain} accept`;
  const shut = "/etc/adsl-bonding/dev/firewall load";
  await must("guest", route("add"));
  try {
    expect(await calls()).toEqual(["", "", ""]);
    // Both ends see to it: with the server's rules open, the Pi's still keep the LAN's machines.
    await must("server", open("forward"));
    expect((await calls())[0]).toBe("");
    await must("pi", open("inward"));
    expect((await calls())[0]).toBe(`27003 ${far}`);
  } finally {
    await must("guest", route("del"));
    for (const host of ["pi", "server"]) await must(host, shut);
  }
});

test("a segment that the server can't place ends no connection, nor leaves untranslated", async () => {
  /** How many packets the rules have held back that say so. */
  const held = async (chain: string) =>
    Number(
      /ct state invalid counter packets (\d+)/.exec(
        await must("server", `nft list chain inet adsl_bonding_dev ${chain}`),
      )![1],
    );
  const talk = await beginTalk(far, 9300);
  await must("guest", "sleep 1");
  await stray("far", 9300);
  expect(await held("unplaced_resets")).toBeGreaterThan(5);
  await stray("client", 9300);
  expect(await held("forward")).toBeGreaterThan(5);
  await must("guest", "sleep 1");
  expect(await talk.end()).toBeGreaterThan(30);
});
