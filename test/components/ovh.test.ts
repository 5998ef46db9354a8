import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { judgeServer, lookUpServer } from "../../components/ovh/lookUp.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";
import { declare } from "./declare.ts";

// Proved with Pulumi's mocks alone: OVH's plugin is not run here, nor is OVH asked.

const serviceName = "ns3012345.ip-203-0-113.eu";
const answer = {
  ip: "203.0.113.10",
  ips: ["203.0.113.10/32", "198.51.100.16/30", "2001:db8::/64"],
  state: "ok",
  powerState: "poweron",
  os: "debian13_64",
  datacenter: "rbx3",
};
const login = { applicationKey: "app-key", applicationSecret: "app-secret", consumerKey: "consumer-key" };

const resources: { type: string; inputs: Record<string, unknown> }[] = [];
const calls: { token: string; inputs: unknown }[] = [];

beforeEach(async () => {
  resources.length = 0;
  calls.length = 0;
  await pulumi.runtime.setMocks({
    newResource({ type, name, inputs }) {
      resources.push({ type, inputs });
      return { id: name, state: inputs };
    },
    call({ token, inputs }) {
      calls.push({ token, inputs });
      return answer;
    },
  });
});

afterEach(() => {
  vi.unstubAllEnvs();
  vi.doUnmock("@ovhcloud/pulumi-ovh");
  vi.resetModules();
});

// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function planWith(change: (site: any) => void) {
  return planSite(parseSite(exampleSite(change)));
}

test("the server is looked up through a provider of our own, and its data told", async () => {
  const plan = planWith((site) => (site.server.ovh = { serviceName, endpoint: "kimsufi-eu" }));
  expect(await lookUpServer(plan, login)).toEqual({
    address: "203.0.113.10",
    state: "ok",
    power: "poweron",
    system: "debian13_64",
    dataCentre: "rbx3",
  });
  expect(calls).toEqual([{ token: "ovh:index/getServer:getServer", inputs: { serviceName } }]);
  expect(resources.map(({ type }) => type)).toEqual(["pulumi:providers:ovh"]);
  expect(resources[0]!.inputs.endpoint).toBe("kimsufi-eu");
});

test("the login reaches the provider as secrets", async () => {
  await lookUpServer(
    planWith((site) => (site.server.ovh = { serviceName })),
    login,
  );
  // The mark that a secret has on its way to the engine.
  const secret = (value: string) => ({
    "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
    value,
  });
  expect(resources[0]!.inputs).toEqual({
    endpoint: "ovh-eu",
    applicationKey: secret("app-key"),
    applicationSecret: secret("app-secret"),
    consumerKey: secret("consumer-key"),
  });
});

test("with the login in the environment none is handed over, and none gets into the state", async () => {
  await lookUpServer(
    planWith((site) => (site.server.ovh = { serviceName })),
    undefined,
  );
  expect(Object.keys(resources[0]!.inputs)).toEqual(["endpoint"]);
});

test("a server of another address ends the run before anything is touched", async () => {
  const plan = planWith((site) => {
    site.server.address = "203.0.113.11";
    site.server.ovh = { serviceName };
  });
  await expect(lookUpServer(plan, login)).rejects.toThrow(
    /server\.address = "203\.0\.113\.11" is not the server ns3012345.*OVH says 203\.0\.113\.10, .*nothing was touched/,
  );
});

test("an address of one of the server's further blocks is its own too", () => {
  expect(judgeServer(serviceName, answer, "198.51.100.17")).toEqual({ doubts: [] });
});

test("a server that is off, or blocked, is doubted", () => {
  const { problem, doubts } = judgeServer(
    serviceName,
    { ...answer, state: "hackedBlocked", powerState: "poweroff" },
    answer.ip,
  );
  expect(problem).toBeUndefined();
  expect(doubts).toHaveLength(2);
});

test("the program asks before it declares anything, and has the answer as an output", async () => {
  vi.stubEnv("OVH_ACCESS_TOKEN", "a token");
  const asks = (address: string) =>
    declare(
      (site) => {
        site.server.address = address;
        site.server.ovh = { serviceName };
      },
      { answer },
    );
  const { outputs, commands } = await asks("203.0.113.10");
  expect(outputs.ovh).toMatchObject({ state: "ok", dataCentre: "rbx3" });
  expect(commands.length).toBeGreaterThan(40);
  await expect(asks("203.0.113.11")).rejects.toThrow(/nothing was touched/);
});

test("the program refuses a login that is not encrypted, and takes one that is", async () => {
  const asks = () => declare((site) => (site.server.ovh = { serviceName, ...login }), { answer });
  await expect(asks()).rejects.toThrow(/config set --secret/);
  vi.stubEnv("PULUMI_CONFIG_SECRET_KEYS", '["adsl-bonding:site"]');
  const { components, commands } = await asks();
  expect(components).toContainEqual({ type: "pulumi:providers:ovh", name: "ovh" });
  expect(JSON.stringify(commands)).not.toMatch(/app-key|app-secret|consumer-key/);
});

test("the program refuses what of a login the stack's file has in plain text, though the rest is encrypted", async () => {
  vi.stubEnv("PULUMI_CONFIG_SECRET_KEYS", '["adsl-bonding:site"]');
  const spare = { ...exampleSite().server, name: "spare", address: "203.0.114.20" };
  // biome-ignore lint/suspicious/noExplicitAny: see exampleSite
  const withLogin = (given: object) => (site: any) => {
    site.backups = [{ ...spare, ovh: { serviceName, ...given } }];
  };
  const file = exampleSite(withLogin({ ...login, applicationKey: { secure: "v1:AAAA:BBBB" } }));
  const readStackFile = vi.fn(async (_root: string, _stack: string) => ({ site: file }));
  vi.doMock("../../commands/config.ts", () => ({ readStackFile }));
  const refused = await declare(withLogin(login), { answer }).catch((error: Error) => error.message);
  vi.doUnmock("../../commands/config.ts");
  expect(refused).toMatch(
    /^backups\[0\]\.ovh\.applicationSecret, backups\[0\]\.ovh\.consumerKey: not encrypted/,
  );
  expect(refused).not.toMatch(/app-secret|consumer-key/);
  expect(readStackFile).toHaveBeenCalledWith(process.cwd(), "dev");
});

test("without server.ovh OVH's package is not even loaded", async () => {
  vi.resetModules();
  vi.doMock("@ovhcloud/pulumi-ovh", () => {
    throw new Error("it was loaded");
  });
  const fresh = await import("../../components/ovh/lookUp.ts");
  expect(
    await fresh.lookUpServer(
      planWith(() => {}),
      undefined,
    ),
  ).toBeUndefined();
  expect([...resources, ...calls]).toEqual([]);
  const asked = fresh.lookUpServer(
    planWith((site) => (site.server.ovh = { serviceName })),
    login,
  );
  await expect(asked).rejects.toThrow();
});
