import ovh from "@ovhcloud/pulumi-ovh";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { guardStack } from "../../components/guard.ts";

// Proved with Pulumi's mocks: what reaches `declared` would have reached the engine.
const declared: string[] = [];

beforeEach(() => {
  declared.length = 0;
});

beforeAll(async () => {
  await pulumi.runtime.setMocks({
    newResource({ type, name, inputs }) {
      declared.push(`${type} ${name}`);
      return { id: name, state: inputs };
    },
    call: () => ({}),
  });
  await pulumi.runtime.runInPulumiStack(async () => guardStack());
});

/** A resource of any type. */
class Tried extends pulumi.CustomResource {}

/** All resource types that OVH's package has. */
function ovhTypes(): string[] {
  const seen = new Set<unknown>();
  const types = new Set<string>();
  const search = (value: unknown) => {
    if (value === null || !["object", "function"].includes(typeof value) || seen.has(value)) return;
    seen.add(value);
    const type = (value as { __pulumiType?: unknown }).__pulumiType;
    if (typeof type === "string") types.add(type);
    else if (typeof value === "object") for (const each of Object.values(value)) search(each);
  };
  search(ovh);
  // The provider itself is no resource at OVH: its type in the engine is pulumi:providers:ovh.
  return [...types].filter((type) => type !== "ovh");
}

test("every resource of OVH's package is refused before it is declared", () => {
  const types = ovhTypes();
  expect(types).toEqual(
    expect.arrayContaining([
      "ovh:Dedicated/server:Server",
      "ovh:Dedicated/serverReinstallTask:ServerReinstallTask",
    ]),
  );
  expect(types.length).toBeGreaterThan(100);
  for (const type of types) {
    expect(() => new Tried(type, "tried", {}), type).toThrow(/declares nothing at OVH/);
  }
  expect(declared).toEqual([]);
});

test("nor can a server be ordered, reinstalled, imported, read or adopted by their own classes", () => {
  const tries = [
    () => new ovh.dedicated.Server("ordered", {}),
    () => new ovh.dedicated.Server("imported", {}, { import: "ns1.ip-203-0-113.eu" }),
    () => ovh.dedicated.Server.get("read", "ns1.ip-203-0-113.eu"),
    () =>
      new ovh.dedicated.ServerReinstallTask("wiped", {
        serviceName: "ns1.ip-203-0-113.eu",
        os: "debian13_64",
      }),
    () =>
      new ovh.dedicated.ServerRebootTask("rebooted", { serviceName: "ns1.ip-203-0-113.eu", keepers: ["1"] }),
  ];
  for (const each of tries) expect(each).toThrow(/declares nothing at OVH/);
  expect(declared).toEqual([]);
});

test.each(["hcloud:index/server:Server", "command:local:Command", "pulumi-nodejs:dynamic:Resource"])(
  "nothing else that could do something elsewhere is declared: %s",
  (type) => {
    expect(() => new Tried(type, "tried", {})).toThrow(/declares commands on its hosts, and nothing else/);
    expect(declared).toEqual([]);
  },
);

const hostKey = "ssh-ed25519 AAAA";

/** How declaring a command ends: with its resource declared, or with the error that kept it from that. */
async function outcome(args: Record<string, unknown>): Promise<string> {
  const rejections: unknown[] = [];
  const note = (error: unknown) => rejections.push(error);
  // The SDK leaves a resource whose inputs fail to the process: there the run ends with that error.
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", note);
  try {
    new command.remote.Command("tried", args as unknown as command.remote.CommandArgs);
    for (let turn = 0; turn < 50 && declared.length + rejections.length === 0; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    process.off("unhandledRejection", note);
    for (const each of others) process.on("unhandledRejection", each);
  }
  return declared[0] ?? String((rejections[0] as Error).message);
}

test("a command without a secret in it, over a pinned connection, passes as it is", async () => {
  const connection = pulumi.secret({ host: "192.0.2.1", hostKey, privateKey: "a key" });
  expect(await outcome({ connection, create: "true", stdin: pulumi.output("text") })).toBe(
    "command:remote:Command tried",
  );
});

const aKey = "-----BEGIN OPENSSH PRIVATE KEY-----";

test.each<[string, Record<string, unknown>, RegExp]>([
  [
    "with a key in its environment",
    { connection: { host: "192.0.2.1", hostKey }, create: "true", environment: { A: aKey } },
    /has a secret in its environment/,
  ],
  [
    "with a key in its triggers",
    { connection: { host: "192.0.2.1", hostKey }, create: "true", triggers: ["one", aKey] },
    /has a secret in its triggers/,
  ],
  ["without a host key", { connection: { host: "192.0.2.1" }, create: "true" }, /without knowing its key/],
  [
    "without a host key in a secret connection",
    { connection: pulumi.secret({ host: "192.0.2.1" }), create: "true" },
    /without knowing its key/,
  ],
  [
    "by a host on the way without a key",
    {
      connection: pulumi.secret({ host: "192.0.2.1", hostKey, proxy: { host: "192.0.2.2" } }),
      create: "true",
    },
    /without knowing its key/,
  ],
  [
    "with a secret in its text",
    { connection: { host: "192.0.2.1", hostKey }, create: pulumi.interpolate`echo ${pulumi.secret("x")}` },
    /a secret in its create/,
  ],
  [
    "with a secret on its input",
    { connection: { host: "192.0.2.1", hostKey }, create: "cat", stdin: pulumi.secret("x") },
    /a secret in its stdin/,
  ],
  [
    "with a secret in its environment",
    { connection: { host: "192.0.2.1", hostKey }, create: "true", environment: { A: pulumi.secret("x") } },
    /a secret in its environment/,
  ],
  [
    "with a private key on its input that nobody marked",
    {
      connection: { host: "192.0.2.1", hostKey },
      create: "cat",
      stdin: pulumi.output("-----BEGIN OPENSSH PRIVATE KEY-----"),
    },
    /a secret in its stdin/,
  ],
  [
    "with a secret in what removes it",
    { connection: { host: "192.0.2.1", hostKey }, create: "true", delete: pulumi.secret("x") },
    /a secret in its delete/,
  ],
])("a command %s is refused", async (_, args, message) => {
  expect(await outcome(args)).toMatch(message);
  expect(declared).toEqual([]);
});
