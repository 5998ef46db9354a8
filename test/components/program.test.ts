import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { expect, test, vi } from "vitest";
import { declare } from "./declare.ts";

test("every file's text, as it reaches each host", async () => {
  const { commands } = await declare();
  const files = commands.filter(({ inputs }) => inputs.create.includes(" stage "));
  const texts = files.map(({ name, inputs }) => `=== ${name}\n${inputs.stdin}`).sort();
  expect(texts.join("\n")).toMatchSnapshot();
});

test("what becomes of each host: one program, its packages, its files, then one activation", async () => {
  const { commands, components } = await declare();
  expect(commands.map(({ name, inputs }) => `${name}: ${inputs.create}`).sort()).toMatchSnapshot();
  expect(components.map(({ type, name }) => `${type} ${name}`).sort()).toMatchSnapshot();
});

test("a field beside the site ends the program, and other projects' config doesn't", async () => {
  const others = { "pulumi:tags": "{}", "command:x": "y" };
  expect((await declare(undefined, { beside: others })).commands.length).toBeGreaterThan(0);
  const astray = declare(undefined, { beside: { ...others, "adsl-bonding:backups": "[]" } });
  await expect(astray).rejects.toThrow("backups = (not shown): stands beside the site");
});

test("what each host's check said is an output, without what its login shell says", async () => {
  const { outputs } = await declare();
  expect(outputs.checks).toEqual({ pi: "stdout of pi settle", server: "stdout of server settle" });
});

test("no command is without a pinned host key, and no text holds a key", async () => {
  const { commands } = await declare((site) => {
    site.pi.ssh.jump = { host: "gate.example.net", hostKey: site.pi.ssh.hostKey };
  });
  for (const { name, inputs } of commands) {
    // The connection is a secret: declare() unwraps it; the lab looks at what is stored and shown.
    const { hostKey, proxy } = inputs.connection as { hostKey: string; proxy?: { hostKey: string } };
    expect(hostKey, name).toMatch(/^ssh-ed25519 /);
    if (name.startsWith("pi ")) expect(proxy?.hostKey, name).toMatch(/^ssh-ed25519 /);
    expect(JSON.stringify([inputs.create, inputs.delete, inputs.stdin])).not.toMatch(/PRIVATE KEY/);
  }
});

test("a preview knows every file but the two fingerprints of each line", async () => {
  const { commands } = await declare(undefined, { preview: true });
  const files = commands.filter(({ inputs }) => String(inputs.create).includes(" stage "));
  const unknown = files.filter(({ inputs }) => typeof inputs.stdin !== "string").map(({ name }) => name);
  expect(unknown.sort()).toEqual([
    "pi /etc/adsl-bonding/dev/peer-orange.conf",
    "pi /etc/adsl-bonding/dev/peer-ovh.conf",
    "server /etc/adsl-bonding/dev/peer-orange.conf",
    "server /etc/adsl-bonding/dev/peer-ovh.conf",
  ]);
});

test("a drift that one host tells changes the inputs of both hosts' activation, and of nothing else", async () => {
  const inputsOf = async (drift: { pi: string; server: string }) => {
    const { commands } = await declare(undefined, { drift });
    return new Map(
      commands.map(({ name, inputs }) => [name, JSON.stringify([inputs.create, inputs.stdin ?? ""])]),
    );
  };
  const calm = await inputsOf({ pi: "", server: "" });
  const drifted = await inputsOf({ pi: "/etc/adsl-bonding/dev/bond was edited", server: "" });
  const changed = [...calm.keys()].filter((name) => calm.get(name) !== drifted.get(name)).sort();
  const steps = ["arm", "confirm", "settle", "switch"];
  expect(changed).toEqual([...steps.map((step) => `pi ${step}`), ...steps.map((step) => `server ${step}`)]);
});

test("a host that was made anew gets everything again, and the other host only what follows from that", async () => {
  const createsOf = async (installation: { pi: string; server: string }) => {
    const { commands } = await declare(undefined, { installation });
    return new Map(commands.map(({ name, inputs }) => [name, inputs.create]));
  };
  const before = await createsOf({ pi: "one", server: "" });
  const after = await createsOf({ pi: "two", server: "" });
  const changed = [...before.keys()].filter((name) => before.get(name) !== after.get(name));
  expect(changed).toEqual([...before.keys()].filter((name) => name.startsWith("pi ")));
  expect(after.get("pi key ovh")).toBe("sudo -n /usr/local/sbin/adsl-bonding-dev of two key ovh");
  // One that the host had already when installations had no names.
  expect(after.get("server key ovh")).toBe("sudo -n /usr/local/sbin/adsl-bonding-dev key ovh");
});

test("a site of eight lines with tunnels of their own", async () => {
  const { commands } = await declare((site) => {
    site.lines = Array.from({ length: 8 }, (_, n) => ({
      name: `line${n}`,
      gateway: `192.168.1.${n + 10}`,
      down: "8 Mbit/s",
      up: "1 Mbit/s",
      tunnels: 2,
    }));
  });
  const manifest = commands.find(({ name }) => name === "pi arm")?.inputs.stdin ?? "";
  expect(manifest.match(/^unit .*tunnel@/gm)).toHaveLength(16);
});

test("a destroy removes all hosts in one layer, so that a dead one keeps no other from it", async () => {
  const { needs } = await declare((site) => {
    site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
  });
  // As the engine goes about it: whatever nothing else needs any more goes together, and a failure ends it after that.
  const programs = [...needs.keys()].filter((name) => /^\S+ program /.test(name));
  expect(programs).toHaveLength(3);
  for (let left = [...needs.keys()]; ; ) {
    const needed = new Set(left.flatMap((name) => [...needs.get(name)!]));
    const layer = left.filter((name) => !needed.has(name));
    expect(layer).not.toEqual([]);
    if (layer.some((name) => programs.includes(name))) {
      expect(layer).toEqual(expect.arrayContaining(programs));
      break;
    }
    left = left.filter((name) => needed.has(name));
  }
});

test("the guard stands in the program itself", async () => {
  class Ordered extends pulumi.CustomResource {}
  const refused = vi.fn(() => {
    expect(() => new Ordered("ovh:Dedicated/server:Server", "ordered", {})).toThrow(
      /declares nothing at OVH/,
    );
  });
  await declare(undefined, { afterwards: refused });
  expect(refused).toHaveReturned();
});

test("what a site costs a month is an output, where it has prices", async () => {
  const { outputs } = await declare((site) => {
    site.server.price = 4.99;
    site.lines[0].price = 20;
    site.costs = { currency: "EUR" };
  });
  expect(outputs.monthlyCost).toEqual({
    total: "24.99 EUR",
    parts: { server: "4.99 EUR", "line ovh": "20.00 EUR" },
    unpriced: ["line orange"],
  });
});

test("the outputs say what a person looks for", async () => {
  const { outputs } = await declare();
  expect(outputs.monthlyCost).toBe("unknown: the config has no prices");
  expect(outputs).toMatchObject({
    externalAddress: "203.0.113.10",
    gateway: "192.168.1.252",
    lines: { ovh: { ports: [1194] } },
  });
});

test("a backup server: what is added on the Pi, and what stands on the backup", async () => {
  const plain = await declare();
  const backed = await declare((site) => {
    site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
  });
  const texts = new Map(plain.commands.map(({ name, inputs }) => [name, inputs.stdin]));
  const files = backed.commands.filter(({ inputs }) => inputs.create.includes(" stage "));
  const others = files.filter(({ name, inputs }) => texts.get(name) !== inputs.stdin);
  expect(others.map(({ name }) => name).sort()).toMatchSnapshot("files that differ");
  const shown = others.filter(({ name }) =>
    /^pi .*(check|hangup\.service|tunnel@\.service|ovh-at-spare\.conf)$/.test(name),
  );
  const listed = shown.map(({ name, inputs }) => `=== ${name}\n${inputs.stdin}`).sort();
  expect(listed.join("\n")).toMatchSnapshot("texts");
  const program = backed.commands.find(({ name }) => name.startsWith("spare program"))!.inputs;
  expect(program.create).toMatch(/ setup "" spare'$/);
  expect(program.delete).toContain(" remove-as spare");
  // One key a line on the Pi serves all servers.
  const keys = backed.commands.filter(({ name }) => name.includes(" key ")).map(({ name }) => name);
  expect(keys.sort()).toEqual(
    ["pi", "server", "spare"].flatMap((host) => [`${host} key orange`, `${host} key ovh`]),
  );
  expect(backed.outputs.backups).toEqual([{ name: "spare", address: "203.0.114.20", ovh: undefined }]);
  expect(plain.outputs.backups).toEqual([]);
});

test("a destroy of a host whose program is gone, or empty, fails while anything of the site is there", async () => {
  const { commands } = await declare();
  const removal = commands.find(({ name }) => name.startsWith("server program"))!.inputs.delete!;
  const folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
  const program = join(folder, "usr/local/sbin/adsl-bonding-dev");
  const moved = removal
    .replace("sudo -n ", "")
    .replaceAll(/\/(?=(usr\/local|var\/lib|etc)\/)/g, `${folder}/`);
  const remove = () => spawnSync("sh", ["-c", moved], { encoding: "utf8" });
  expect(remove().status).toBe(0);
  mkdirSync(join(folder, "etc/adsl-bonding/dev"), { recursive: true });
  expect(remove()).toMatchObject({ status: 1, stderr: expect.stringContaining("pulumi up brings it back") });
  mkdirSync(dirname(program), { recursive: true });
  writeFileSync(program, "", { mode: 0o755 });
  expect(remove().status).toBe(1);
  writeFileSync(program, "#!/bin/sh\necho asked to $1\n");
  expect(remove()).toMatchObject({ status: 0, stdout: "asked to remove\n" });
  rmSync(folder, { recursive: true });
});
