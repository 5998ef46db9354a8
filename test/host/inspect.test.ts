import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { inspect } from "../../host/inspect.ts";

// In the place of ssh stands a script that prints what the far end would.
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function look(ssh: string, script = "") {
  writeFileSync(join(folder, "ssh"), `#!/bin/sh\n${ssh}\n`);
  chmodSync(join(folder, "ssh"), 0o755);
  const login = { user: "me", port: 22, hostKey: "ssh-ed25519 AAAA", privateKeyFile: "~/key" };
  return inspect({ host: "pi", address: "192.0.2.1", ssh: login, script, environment: {} });
}

test("what a login shell greets with is no fact", async () => {
  const { facts, unreachable } = await look("echo Welcome!; echo os=debian; echo end=yes");
  expect([...facts.keys()]).toEqual(["os", "end"]);
  expect(unreachable).toBeUndefined();
});

test("nor does it take the first fact with it where it has no end of line", async () => {
  const { facts } = await look("printf Welcome; exec sh", "echo os=debian; echo end=yes");
  expect([...facts.keys()]).toEqual(["os", "end"]);
});

test("a login that is refused by its shell is told in that one's words, and not as one that took too long", async () => {
  const { unreachable } = await look("echo This account is currently not available.; exit 1");
  expect(unreachable).toBe(
    "no login as me@192.0.2.1 port 22: it was ended there: This account is currently not available.",
  );
});
