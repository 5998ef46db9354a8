import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { renderWayOut } from "../../components/pi/wayOut.ts";
import { examplePlan } from "../example.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "way-out-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What the check makes of a ping that prints this, in the words of iputils. */
function works(...lines: string[]): boolean {
  const head = "PING 1.1.1.1 (1.1.1.1) from 192.168.1.252 bond0: 56(84) bytes of data.";
  const tail =
    "\n--- 1.1.1.1 ping statistics ---\n1 packets transmitted, 0 received, 100% packet loss, time 0ms";
  writeFileSync(join(folder, "said"), [head, ...lines, tail, ""].join("\n"));
  writeFileSync(join(folder, "ping"), `#!/bin/sh\ncat ${join(folder, "said")}\n`, { mode: 0o755 });
  const { functions } = renderWayOut(examplePlan((site) => delete site.backups));
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
  return spawnSync("sh", ["-eu", "-c", `${functions}\nway_out`], { env }).status === 0;
}

test("whoever answers behind the server proves the way out", () => {
  expect(works("From 203.0.113.1 icmp_seq=1 Time to live exceeded")).toBe(true);
  expect(works("From 10.0.0.1 icmp_seq=1 Destination Net Unreachable")).toBe(true);
  expect(works("64 bytes from 1.1.1.1: icmp_seq=1 ttl=57 time=12.3 ms")).toBe(true);
});

test("silence does not, nor what the Pi or the server itself says", () => {
  expect(works()).toBe(false);
  for (const own of ["192.168.1.252", "172.16.16.2", "172.16.16.1", "203.0.113.10"]) {
    expect(works(`From ${own} icmp_seq=1 Destination Port Unreachable`)).toBe(false);
  }
});

test("what worked before counts the way out; where no line did, it is not known, and demanded", () => {
  const { functions, counted } = renderWayOut(examplePlan());
  const count = (up: number, answer: string) => {
    const script = `${functions}\nbehind() { ${answer}; }\nsleep() { :; }\nup=${up}\necho "$up${counted}"`;
    return spawnSync("sh", ["-eu", "-c", script], { encoding: "utf8" }).stdout.trim();
  };
  expect([count(2, "true"), count(2, "false"), count(0, "false")]).toEqual(["2 out", "2", "0 out"]);
});

test("a site that wants no such check has none", () => {
  const plan = examplePlan((site) => {
    site.activation = { wayOut: false };
  });
  const { functions, counted, demanded } = renderWayOut(plan);
  expect({ functions, counted }).toEqual({ functions: "", counted: "" });
  expect(demanded).toMatch(/^ip -4 route get /);
  expect(demanded).not.toContain("way_out");
});
