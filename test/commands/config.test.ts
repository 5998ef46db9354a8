import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { stringify } from "yaml";
import { CommandError, readStackSite } from "../../commands/config.ts";
import { exampleSite } from "../example.ts";

const folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, site: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, stringify({ config: { "adsl-bonding:site": site } }));
  return path;
}

test("the config is that of the stack's file, or of the one that is named", async () => {
  const site = exampleSite((s) => (s.name = "home"));
  const path = write("Pulumi.home.yaml", site);
  expect((await readStackSite(folder, "home")).name).toBe("home");
  expect((await readStackSite("nowhere", "", path)).name).toBe("home");
});

test("a login to OVH, which is encrypted there, is of no concern", async () => {
  const secure = { secure: "v1:AAAA:BBBB" };
  const ovh = {
    serviceName: "ns1.ip-203-0-113.eu",
    applicationKey: secure,
    applicationSecret: secure,
    consumerKey: secure,
  };
  const path = write(
    "Pulumi.ovh.yaml",
    exampleSite((s) => (s.server.ovh = ovh)),
  );
  expect((await readStackSite(folder, "", path)).server.ovh).toBeUndefined();
});

test("a key without the project's name is the project's, as to Pulumi", async () => {
  const path = write("Pulumi.short.yaml", exampleSite());
  writeFileSync(path, readFileSync(path, "utf8").replace("adsl-bonding:site", "site"));
  expect((await readStackSite(folder, "", path)).name).toBe("dev");
});

test("fields that stand beside the site, and not in it, are told with its other mistakes, and not shown", async () => {
  const site = exampleSite((s) => (s.lines[0].down = 5));
  const path = join(folder, "Pulumi.astray.yaml");
  const config = { "adsl-bonding:site": site, bypass: [], "adsl-bonding:qos": "hush", "pulumi:tags": {} };
  writeFileSync(path, stringify({ config }));
  const error: Error = await readStackSite(folder, "", path).then(
    () => new Error("taken"),
    (reason) => reason,
  );
  expect(error.message).toContain("the site's config has 3 mistakes");
  expect(error.message).toContain("bypass = []: stands beside the site, where nothing is read");
  expect(error.message).toContain("qos = (not shown): stands beside the site");
});

test.each([
  ["a key twice", "config:\n  a: hush\n  a: 2\n", /can't be read as YAML: .*unique at line 3/],
  ["a tab", "config:\n\ta: hush\n", /can't be read as YAML: .*at line 2/],
  ["an alias of nothing", "config: *hush\n", /can't be read as YAML: /],
])("%s is told, with its line and no text of the file", async (_, text, expected) => {
  const path = join(folder, "Pulumi.slip.yaml");
  writeFileSync(path, text);
  const error: Error = await readStackSite(folder, "", path).then(
    () => new Error("taken"),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(CommandError);
  expect(error.message).toMatch(expected);
  expect(error.message.split("\n")).toHaveLength(1);
});

test("a file that is not there, has no site, or a wrong one, is told", async () => {
  await expect(readStackSite(folder, "none")).rejects.toThrow(/Pulumi\.none\.yaml.*--config-file/);
  writeFileSync(join(folder, "Pulumi.empty.yaml"), "config: {}\n");
  await expect(readStackSite(folder, "empty")).rejects.toThrow(/holds no adsl-bonding:site/);
  const path = write(
    "Pulumi.bad.yaml",
    exampleSite((s) => (s.lines[0].down = 5)),
  );
  await expect(readStackSite(folder, "", path)).rejects.toThrow(/lines\[0\]\.down/);
});
