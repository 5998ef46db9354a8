import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readVersions } from "../../toolchain/versions.ts";

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
const packageJson = read("package.json");
const goMod = read("toolchain/go/go.mod");

test("the project's own pins agree", () => {
  expect(readVersions(packageJson, goMod)).toEqual({ pulumi: "3.259.0", command: "1.2.1", ovh: "2.19.1" });
});

test("a CLI of another version than the SDK is refused", () => {
  const other = packageJson.replace('"@pulumi/pulumi": "3.259.0"', '"@pulumi/pulumi": "3.258.0"');
  expect(other).not.toBe(packageJson);
  expect(() => readVersions(other, goMod)).toThrow(/3\.25[89]\.0/);
});
