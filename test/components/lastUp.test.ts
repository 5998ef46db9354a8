import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { lastUp } from "../../components/preflight/lastUp.ts";

test("what the last up left is read, and nothing of it becomes a resource, which a renamed stack's refresh could not find", async () => {
  const outputs = {
    generation: "one",
    externalAddress: "203.0.113.10",
    gateway: "192.168.1.252",
    backups: [{ name: "spare", address: "198.51.100.20" }],
  };
  const declared: string[] = [];
  pulumi.runtime.setMocks(
    {
      newResource({ type, name, inputs }) {
        declared.push(type);
        return { id: name, state: { ...inputs, outputs } };
      },
      call: ({ token, inputs }) =>
        token === "pulumi:pulumi:readStackOutputs" ? { name: inputs.name, outputs } : {},
    },
    "adsl-bonding",
    "home",
    false,
    "organization",
  );
  expect(await lastUp()).toEqual({
    generation: "one",
    addresses: { server: "203.0.113.10", pi: "192.168.1.252", spare: "198.51.100.20" },
  });
  expect(declared).toEqual([]);
});
