import { expect, test } from "vitest";
import {
  describeContent,
  digest,
  generationId,
  type HostContent,
  renderManifest,
} from "../../host/generation.ts";

const content: HostContent = {
  files: [
    { path: "/etc/a", text: "a\n" },
    { path: "/etc/b", text: "b\n", mode: "0755" },
  ],
  units: [
    { name: "one.service", reads: ["/etc/a"] },
    { name: "two.service", reads: ["/etc/a", "/etc/b"] },
  ],
  listeners: [{ unit: "other.service", action: "reload", reads: "/etc/b" }],
  check: "/etc/b",
};

const unitLines = (text: string) => text.split("\n").filter((line) => line.startsWith("unit "));

test("a manifest names each file by the digest under which it was staged", () => {
  const text = renderManifest(describeContent(content), { id: "0123", mends: "", confirmWithin: 90 });
  // echo a | sha256sum
  const staged = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7";
  expect(digest("a\n")).toBe(staged);
  expect(text).toContain(`file 0644 ${staged} /etc/a\n`);
  expect(text).toMatch(/^generation 0123\nmends \nfile /);
  // A line for each thing that differed: a preview shortens long ones.
  const mending = { id: "0123", mends: "/etc/a was edited\t/etc/b is gone", confirmWithin: 90 };
  expect(renderManifest(describeContent(content), mending)).toContain(
    "\nmends /etc/a was edited\nmends /etc/b is gone\nfile ",
  );
  expect(text).toMatch(/\ncheck \/etc\/b\nwithin 90\n$/);
});

test("only units that read a changed file change", () => {
  const before = unitLines(describeContent(content));
  const [a, b] = content.files;
  const after = unitLines(describeContent({ ...content, files: [a!, { ...b!, text: "b2\n" }] }));
  expect(after[0]).toBe(before[0]);
  expect(after[1]).not.toBe(before[1]);
});

test("the id is of all hosts' contents and of what they said", () => {
  const id = generationId(["pi", "server", "", ""]);
  expect(id).toMatch(/^[0-9a-f]{12}$/);
  expect(generationId(["pi", "server", "", "drift"])).not.toBe(id);
  expect(generationId(["pi", "server", "", ""])).toBe(id);
});

test("a unit that reads a file which is not there is a mistake of the program", () => {
  const units = [{ name: "one.service", reads: ["/etc/c"] }];
  expect(() => describeContent({ ...content, units })).toThrow("/etc/c");
});
