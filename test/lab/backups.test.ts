import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { down, facts, kill, reset, start, up } from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { answer, tryCall } from "./call.ts";
import { beginTrain, endTrain, far } from "./direct.ts";
import { must, mustUp, tracesOn, whole } from "./site.ts";

/** Two spare servers, each in a network of its own. */
const labFile = fileURLToPath(new URL("backups.json", import.meta.url));

const servers = { server: "203.0.113.10", spare: "203.0.114.20", third: "203.0.115.30" };
type Server = keyof typeof servers;

/** The Pi's bond to each. */
const bonds = { server: "bond0", spare: "bond-spare", third: "bond-third" };

let stack: Stack;

beforeAll(async () => {
  await up({ site: labFile });
  await reset();
  stack = await openStack(await facts());
  await stack.configure((site) => {
    site.forwards = [{ ports: 8080, to: "192.168.1.10", toPorts: 80 }];
  });
  await mustUp(stack);
  await answer("client", "tcp:80");
});

// Other scenarios want the usual site.
afterAll(async () => {
  await down();
});

/** The LAN leaves by a server, and is called by it. */
async function goesBy(server: Server): Promise<void> {
  expect(await externalAddress()).toBe(servers[server]);
  expect((await tryCall("far", "tcp", servers[server], 8080)).answer).toContain(far);
}

/** What happens to a server, and the longest gap, s, of a ping train meanwhile. */
async function gapWhile(what: string, happens: () => Promise<unknown>): Promise<number> {
  await beginTrain(0.02);
  await must("guest", "sleep 2");
  await happens();
  await must("guest", "sleep 4");
  const { gap, lost } = await endTrain();
  console.log(`${what}: longest gap ${gap.toFixed(2)} s, ${lost} pings lost`);
  return gap;
}

test("each server has a bond of its own, always up", async () => {
  for (const server of Object.keys(servers) as Server[]) {
    await whole(["pi", bonds[server]], 60);
    await whole([server, "bond-dev"], 60);
  }
  await goesBy("server");
});

test("one server after the other dies: each time the next one takes over within 2 s", async () => {
  expect(await gapWhile("the server dies", () => kill("server"))).toBeLessThan(2);
  await goesBy("spare");
  expect(await gapWhile("its first backup dies, too", () => kill("spare"))).toBeLessThan(2);
  await goesBy("third");
});

test("they come back in any order: traffic goes by the first that lives, without a gap", async () => {
  const back = async (server: Server) => {
    await start(server);
    await whole(["pi", bonds[server]], 90);
  };
  expect(await gapWhile("the server comes back", () => back("server"))).toBeLessThan(1);
  await goesBy("server");
  expect(await gapWhile("its first backup comes back", () => back("spare"))).toBeLessThan(1);
  await goesBy("server");
});

test("with a backup that is dead already, the server's death is its next one's matter", async () => {
  await kill("spare");
  await must("guest", "sleep 5");
  expect(await gapWhile("the server dies, its first backup dead", () => kill("server"))).toBeLessThan(2);
  await goesBy("third");
  for (const server of ["server", "spare"] as const) await start(server);
  for (const server of ["server", "spare"] as const) await whole(["pi", bonds[server]], 90);
  await goesBy("server");
});

test("destroy leaves nothing on any host", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  for (const host of ["pi", ...Object.keys(servers)]) expect(await tracesOn(host), host).toBe("");
});
