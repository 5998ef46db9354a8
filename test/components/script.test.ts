import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { renderStateScript } from "../../components/script.ts";

let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "state-script-"));
  // What it sets are the lines of a file.
  const text = renderStateScript({
    about: "Lines of a file.",
    kept: at("picture"),
    set: [`printf 'one\\ntwo\\n' >${at("set")}`],
    unset: [`rm -f ${at("set")}`],
    show: [`while read -r line; do sleep 0.01; echo "$line of it"; done <${at("set")} 2>/dev/null`],
  });
  writeFileSync(at("script"), text, { mode: 0o755 });
});
afterAll(() => rmSync(folder, { recursive: true }));

const call = (word: string) => execFileSync(at("script"), [word], { encoding: "utf8" });

test("what was taken away since is told, and what was set again is not", () => {
  expect(call("missing")).toBe("the picture of what was set\n");
  call("up");
  expect(call("missing")).toBe("");
  writeFileSync(at("set"), "three\none\n");
  expect(call("missing")).toBe("two of it\n");
  writeFileSync(at("set"), "");
  expect(call("missing")).toBe("one of it\ntwo of it\n");
  call("up");
  expect(call("missing")).toBe("");
});

test("many who ask at once are told the same, as when a status runs beside an up", async () => {
  call("up");
  const asked = Array.from({ length: 20 }, () => promisify(execFile)(at("script"), ["missing"]));
  expect(new Set((await Promise.all(asked)).map(({ stdout }) => stdout))).toEqual(new Set([""]));
});
