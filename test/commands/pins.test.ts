import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { pinsOf, writePin } from "../../commands/pin/pins.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

const key = `ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBB${"A".repeat(86)}=`;
const example = readFileSync(new URL("../../Pulumi.dev.yaml", import.meta.url), "utf8");
const siteOf = (text: string) => parse(text).config["adsl-bonding:site"];

test("the hosts are those of the config, one on the way before the one behind it", () => {
  const site = exampleSite((s) => {
    s.pi.ssh = {
      host: "pi.example.net",
      port: 2222,
      user: "pi",
      jump: { host: "gate", hostKey: `${key} me` },
    };
    delete s.server.ssh;
  });
  const [server, jump, pi, ...more] = pinsOf(site);
  expect(more).toEqual([]);
  expect(server).toMatchObject({ name: "server", login: { host: "203.0.113.10", port: 22, user: "root" } });
  expect(jump).toMatchObject({ name: "pi.jump", path: ["pi", "ssh", "jump"], pinned: key });
  expect(pi).toMatchObject({ name: "pi", login: { host: "pi.example.net", port: 2222, user: "pi" }, jump });
});

test.each([undefined, null, "", "ecdsa-sha2-nistp256 AAAA…", 5])("%j is no key", (hostKey) => {
  expect(pinsOf({ pi: { address: "192.168.1.252/24", ssh: { hostKey } } })[1]).toMatchObject({
    name: "pi",
    pinned: undefined,
    login: { host: "192.168.1.252" },
  });
});

test("nothing but the key changes in the file", () => {
  const text = writePin(example, ["server", "ssh"], key);
  const lines = example.split("\n");
  const differing = text.split("\n").filter((line, n) => line !== lines[n]);
  expect(differing).toEqual([`        hostKey: ${key}`]);
  expect(parseSite(siteOf(text)).server.ssh.hostKey).toBe(key);
});

test("a field that is still empty is filled", () => {
  const text =
    "config:\n  adsl-bonding:site:\n    pi:\n      ssh:\n        hostKey: # to be pinned\n        user: pi\n";
  expect(siteOf(writePin(text, ["pi", "ssh"], key)).pi.ssh).toEqual({ hostKey: key, user: "pi" });
});

test("a key is added where there was none, in a file of either style", () => {
  const bare = example.replaceAll(/^ +hostKey: .*\n/gm, "");
  const text = writePin(bare, ["pi", "ssh"], key);
  expect(siteOf(text).pi.ssh.hostKey).toBe(key);
  expect(text.split("\n").filter((line) => !bare.includes(line))).toEqual([`        hostKey: ${key}`]);
  const flow = "config:\n  adsl-bonding:site:\n    pi: { ssh: { user: pi } } # at home\n    server: {}\n";
  expect(writePin(writePin(flow, ["pi", "ssh"], key), ["server", "ssh"], key)).toBe(
    `config:\n  adsl-bonding:site:\n    pi: { ssh: { hostKey: ${key}, user: pi } } # at home\n    server: { ssh: { hostKey: ${key} } }\n`,
  );
});

test("a backup server's key is pinned as the others'", () => {
  const text = example.replace(
    "    pi:\n",
    "    backups:\n      - name: spare\n        address: 203.0.114.20\n        ssh: { user: root }\n    pi:\n",
  );
  const spare = pinsOf(siteOf(text)).find(({ name }) => name === "spare")!;
  expect(spare.login).toMatchObject({ host: "203.0.114.20", user: "root" });
  const pinned = siteOf(writePin(text, spare.path, key));
  expect(pinned.backups[0].ssh).toEqual({ user: "root", hostKey: key });
});
