import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { detourRoutes, detourService } from "../../components/detour/detour.ts";
import { renderDetour } from "../../components/detour/script.ts";
import type { Plan } from "../../site/plan.ts";
import { examplePlan } from "../example.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "detour-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const alone = examplePlan((site) => delete site.backups);

interface Answer {
  /** With this TTL alone. Default: any. */
  ttl?: number;
  /** Who asks so, in ping's words, is answered. */
  way: string;
  /** From the so-manieth ping on. Default: all. */
  from?: number;
  /** Who answers. Default: a router behind all of them. */
  by?: string;
}

const byLine = (plan: Plan, line: string) => `-m ${plan.lines.find(({ name }) => name === line)!.mark}`;

/**
 * What the script's words come to on a host where these ways answer. All bonds carry, unless told otherwise; main's default route is
 * that of orange's box. What it sets stands in the file `set`, and the box that it takes instead in `instead`.
 */
function run(plan: Plan, words: string, answers: Answer[], carrier = 1, farEnd = 0): string {
  const file = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o755 });
  const cases = answers.map(
    ({ way, ttl, from = 1, by = "203.0.113.1" }) =>
      `*" ${ttl === undefined ? "" : `-t ${ttl} `}${way} "*) [ "$n" -lt ${from} ] || echo "From ${by} icmp_seq=1" ;;`,
  );
  const routes = [
    ["main", "192.168.1.254"],
    ...plan.lines.map(({ table, gateway }) => [table, gateway]),
    ...plan.direct.ways.map(({ table }) => [table, "192.168.1.240"]),
  ].map(([table, box]) => `*"table ${table}") echo "default via ${box} dev eth0 " ;;`);
  file("asked", "");
  file("set", "");
  file(
    "ip",
    `#!/bin/sh
case $* in
  *"show"*"table 21059") cat $FOLDER/instead 2>/dev/null ;;
  *"addr show") echo "2: eth0    inet 192.168.7.9/24 scope global eth0" ;;
  *show*) case $* in ${routes.join("\n")} esac ;;
  *"replace default via "*"table 21059") echo "default via $5 dev $7" >$FOLDER/instead ;;
  *"flush table 21059") rm -f $FOLDER/instead ;;
  *) echo "$*" >>$FOLDER/set ;;
esac
`,
  );
  // Pings of a round are begun at once, each of them counts.
  file(
    "ping",
    `#!/bin/sh\necho >>$FOLDER/asked\nn=$(grep -c '' $FOLDER/asked)\ncase " $* " in\n*" -q "*) exit $FAR_END ;;\n${cases.join("\n")}\nesac\n`,
  );
  file("script", renderDetour(plan, { detourFolder: folder, memory: folder, trial: `${folder}/trying` }));
  const env = {
    ...process.env,
    FAR_END: String(farEnd),
    FOLDER: folder,
    PATH: `${folder}:${process.env.PATH}`,
  };
  const inside = `carries() { [ ${carrier} = 1 ]; }\nsleep() { :; }\n${words}`;
  const { stdout, stderr } = spawnSync("sh", ["-c", `set -- nothing\n. ${folder}/script\n${inside}`], {
    env,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return stdout;
}

/** Whether a bond is left, and by which rule's table. */
const left = (plan: Plan, bond: string, answers: Answer[], farEnd = 0) => {
  rmSync(join(folder, bond), { force: true });
  return run(plan, `look ${bond}\ncat $folder/set`, answers, 1, farEnd).includes(
    `throw default table ${plan.bondTable}`,
  );
};

test("a bond is left where nobody answers by it, and somebody does by a box", () => {
  expect(left(alone, "bond0", [{ way: byLine(alone, "orange") }])).toBe(true);
  expect(left(alone, "bond0", [{ way: byLine(alone, "ovh") }])).toBe(true);
  expect(left(alone, "bond0", [{ way: "-I bond0" }, { way: byLine(alone, "orange") }])).toBe(false);
  // It is no server that passes nothing on where not even its end of the bond answers.
  expect(left(alone, "bond0", [{ way: byLine(alone, "orange") }], 1)).toBe(false);
  // The other way is proved by the address itself.
  expect(left(alone, "bond0", [{ way: byLine(alone, "orange"), ttl: 2 }])).toBe(false);
  // What a box, or the Pi itself, says of its dead line is no answer.
  for (const by of ["192.168.1.254", "192.168.7.9"]) {
    expect(left(alone, "bond0", [{ way: byLine(alone, "orange"), by }])).toBe(false);
  }
  // Nor where no other way is better, or one round of three was answered.
  expect(left(alone, "bond0", [])).toBe(false);
  expect(left(alone, "bond0", [{ way: "-I bond0", from: 8 }, { way: byLine(alone, "orange") }])).toBe(false);
});

test("a backup's bond is another way, unless it was left too; a box is none where no fallback is wanted", () => {
  const plan = examplePlan((site) => {
    site.fallback = false;
    site.backups = [
      { name: "spare", address: "203.0.114.20", ssh: site.server.ssh, network: "172.16.16.4/30" },
    ];
  });
  const spare = plan.backups[0]!.pi.bond;
  expect(left(plan, "bond0", [{ way: byLine(plan, "orange") }])).toBe(false);
  rmSync(join(folder, spare), { force: true });
  expect(left(plan, "bond0", [{ way: `-I ${spare}` }])).toBe(true);
  writeFileSync(join(folder, spare), "");
  expect(left(plan, "bond0", [{ way: `-I ${spare}` }])).toBe(false);
  rmSync(join(folder, spare));
});

test("a fallback that is no line's box is left alone", () => {
  const dead = (own: string) =>
    run(
      alone,
      `box() { [ $1 != main ] || echo "${own}"; }\nfallback\ncat $FOLDER/set`,
      [{ way: byLine(alone, "ovh") }],
      0,
    );
  for (const own of ["- wwan0", "- -", "192.168.9.1 eth0"]) expect(dead(own)).toBe("");
});

test("without a bond traffic leaves by another line's box, while nobody answers by the fallback's own", () => {
  const chosen = examplePlan((site) => {
    delete site.backups;
    site.fallback = "ovh";
  });
  for (const [plan, own, other, box] of [
    [alone, "orange", "ovh", "192.168.1.240"],
    [chosen, "ovh", "orange", "192.168.1.254"],
  ] as const) {
    const taken = (answers: Answer[], carrier = 0) => {
      const said = run(plan, "fallback\ncat $FOLDER/instead 2>/dev/null || true", answers, carrier);
      return /via (\S+)/.exec(said)?.[1];
    };
    rmSync(join(folder, "instead"), { force: true });
    expect(taken([{ way: byLine(plan, own) }])).toBeUndefined();
    expect(taken([])).toBeUndefined();
    expect(taken([{ way: byLine(plan, other) }], 1)).toBeUndefined();
    expect(taken([{ way: byLine(plan, other) }])).toBe(box);
    // It stays while that one answers, and the own one doesn't.
    expect(taken([{ way: byLine(plan, other) }])).toBe(box);
    expect(taken([{ way: byLine(plan, own) }])).toBeUndefined();
    expect(taken([{ way: byLine(plan, other) }])).toBe(box);
    // A box that has moved is none to go by.
    writeFileSync(join(folder, "instead"), "default via 192.168.1.77 dev eth0\n");
    expect(taken([{ way: byLine(plan, own) }])).toBeUndefined();
    expect(taken([{ way: byLine(plan, other) }])).toBe(box);
    // A bond that lives again ends it.
    expect(taken([{ way: byLine(plan, other) }], 1)).toBeUndefined();
  }
});

test("it gets the traffic back when somebody answered three times in a row", () => {
  const back = (answers: Answer[]) => {
    writeFileSync(join(folder, "bond0"), "");
    return run(alone, "look bond0", answers);
  };
  expect(back([{ way: "-I bond0" }])).toContain("answers again");
  expect(back([{ way: "-I bond0", ttl: 64 }])).toContain("answers again");
  expect(back([{ way: byLine(alone, "ovh") }])).toBe("");
  expect(back([])).toContain("no other way works either");
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
    expect(detourRoutes(plan, { bound: 1, instead: 2 }).rules).toEqual([]);
  }
});
