import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { boundRoutes, detourService, renderDetour } from "../../components/detour/detour.ts";
import type { Plan } from "../../site/plan.ts";
import { examplePlan } from "../example.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "detour-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const alone = examplePlan((site) => delete site.backups);

/**
 * What the script's words come to on a host where these ways answer, a word of ping's each, from the so-manieth ping on.
 * Every interface carries, and main's default route is eth0's.
 */
function run(
  plan: Plan,
  words: string,
  answers: { way: string; from?: number }[],
): { ok: boolean; said: string } {
  const file = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o755 });
  const cases = answers.map(
    ({ way, from = 1 }) => `*" ${way} "*) [ "$n" -lt ${from} ] || echo "From 203.0.113.1 icmp_seq=1" ;;`,
  );
  file("asked", "");
  file(
    "ip",
    '#!/bin/sh\necho "$*" >>$FOLDER/set\n[ "$3" != show ] || echo \'default via 192.168.1.254 dev eth0 \'\n',
  );
  file("set", "");
  // Pings of a round are begun at once, each of them counts.
  file(
    "ping",
    `#!/bin/sh\necho >>$FOLDER/asked\nn=$(grep -c '' $FOLDER/asked)\ncase " $* " in ${cases.join("\n")}\nesac\n`,
  );
  const script = renderDetour(plan, { detourFolder: folder, memory: folder });
  file("script", script);
  const env = { ...process.env, FOLDER: folder, PATH: `${folder}:${process.env.PATH}` };
  const inside = `carries() { true; }\nsleep() { :; }\n${words}`;
  const { status, stdout, stderr } = spawnSync(
    "sh",
    ["-c", `set -- nothing\n. ${folder}/script\n${inside}`],
    { env, encoding: "utf8" },
  );
  expect(stderr).toBe("");
  return { ok: status === 0, said: stdout };
}

const left = (plan: Plan, bond: string, answers: { way: string; from?: number }[]) => {
  rmSync(join(folder, bond), { force: true });
  const { said } = run(plan, `look ${bond}\n[ ! -e $folder/${bond} ] || echo left`, answers);
  return said.includes("left");
};

test("a bond is left where nobody answers by it, and somebody does by main's own way", () => {
  expect(left(alone, "bond0", [{ way: "-I eth0" }])).toBe(true);
  expect(left(alone, "bond0", [{ way: "-I bond0" }, { way: "-I eth0" }])).toBe(false);
  // Nor where no other way is better, or one round of three was answered.
  expect(left(alone, "bond0", [])).toBe(false);
  expect(left(alone, "bond0", [{ way: "-I bond0", from: 8 }, { way: "-I eth0" }])).toBe(false);
});

test("a backup's bond is another way, unless it was left too; and so is the line of the fallback", () => {
  const plan = examplePlan((site) => {
    site.fallback = false;
    site.backups = [
      { name: "spare", address: "203.0.114.20", ssh: site.server.ssh, network: "172.16.16.4/30" },
    ];
  });
  const spare = plan.backups[0]!.pi.bond;
  expect(left(plan, "bond0", [{ way: "-I eth0" }])).toBe(false);
  rmSync(join(folder, spare), { force: true });
  expect(left(plan, "bond0", [{ way: `-I ${spare}` }])).toBe(true);
  writeFileSync(join(folder, spare), "");
  expect(left(plan, "bond0", [{ way: `-I ${spare}` }])).toBe(false);
  const byLine = examplePlan((site) => {
    delete site.backups;
    site.fallback = "ovh";
  });
  const { fallback } = byLine.direct;
  if (fallback === undefined || fallback === "main") throw new Error("no line");
  expect(left(byLine, "bond0", [{ way: "-I eth0" }])).toBe(false);
  expect(left(byLine, "bond0", [{ way: `-m ${fallback.mark}` }])).toBe(true);
});

test("it gets the traffic back when somebody answered three times in a row", () => {
  const back = (answers: { way: string; from?: number }[]) => {
    writeFileSync(join(folder, "bond0"), "");
    return run(alone, "look bond0", answers).said;
  };
  expect(back([{ way: "-I bond0" }])).toContain("answers again");
  expect(back([])).toBe("");
});

test("a site without another way has none, nor one that does not want its way out proved", () => {
  const nowhere = examplePlan((site) => {
    delete site.backups;
    site.fallback = false;
  });
  const unproved = examplePlan((site) => {
    site.activation = { wayOut: false };
  });
  expect(detourService(alone)).toHaveLength(1);
  for (const plan of [nowhere, unproved]) {
    expect(detourService(plan)).toEqual([]);
    expect(boundRoutes(plan, 1).rules).toEqual([]);
  }
});
