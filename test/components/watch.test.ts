import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { namesOf } from "../../components/names.ts";
import { piFirewall } from "../../components/pi/firewall.ts";
import { renderWatchUnit } from "../../components/watch/unit.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

const program = fileURLToPath(new URL("../../components/watch/watch.pl", import.meta.url));

/**
 * Plays a site of two lines through the watch's own judgement, at ten probes a second, 20 % and 60 s: `$t` is the time in
 * seconds, `arrives(per cent)` says whether a probe of a line that loses so much does.
 * @param story Perl that gives what became of the two lines' probes at `$t`
 * @returns what the watch said, with the second at which it did
 */
function play(story: string, seconds: number): [number, string][] {
  const script = `
    require $ARGV[0];
    srand(7);
    sub arrives { rand() >= $_[0] / 100 }
    my $rules = rules(10, 20, 60);
    my @lines = (line("one", 1, "tap0"), line("two", 2, "tap1"));
    for my $tick (0 .. ${seconds} * 10) {
      my $t = $tick / 10;
      note(\\@lines, [do { ${story} }], $t, $rules);
      print "  at $t\\n" if judge(\\@lines, $t, $rules);
    }`;
  const output = execFileSync("perl", ["-w", "-e", script, program], { encoding: "utf8" });
  const told = [...output.matchAll(/^(\w+ is \w+).*\n {2}at ([\d.]+)$/gm)];
  return told.map(([, what, at]) => [Number(at), what!]);
}

test.each([20, 25, 40, 80])(
  "a line that loses %i per cent is out within 12 s, and back after 60 clean ones",
  (loss) => {
    const said = play(`(arrives($t >= 30 && $t < 100 ? ${loss} : 0), 1)`, 200);
    expect(said.map(([, what]) => what)).toEqual(["one is out", "one is used"]);
    expect(said[0]![0]).toBeGreaterThan(30);
    expect(said[0]![0]).toBeLessThanOrEqual(42);
    expect(said[1]![0]).toBeGreaterThanOrEqual(158);
    expect(said[1]![0]).toBeLessThanOrEqual(162);
  },
);

test("a line that goes on losing a little doesn't come back", () => {
  const said = play("(arrives($t >= 30 && $t < 60 ? 30 : $t >= 60 ? 8 : 0), 1)", 3600);
  expect(said.map(([, what]) => what)).toEqual(["one is out"]);
});

test("a line that loses 5 % stays for hours", () => {
  expect(play("(arrives(5), arrives(1))", 4 * 3600)).toEqual([]);
});

test("a line that was dead is used again at once; one that dies for the third time within the minute is not", () => {
  const twice = "$t < 30 || $t >= 38 && $t < 50 || $t >= 58";
  expect(play(`(${twice}, 1)`, 200)).toEqual([]);
  const said = play(`((${twice}) && ($t < 70 || $t >= 78), 1)`, 200);
  expect(said.map(([, what]) => what)).toEqual(["one is out", "one is used"]);
  expect(said[0]![0]).toBeCloseTo(78, 0);
  expect(said[1]![0]).toBeCloseTo(138, 0);
});

test("where no line is better none goes, and what all of them lose together is held against none", () => {
  expect(play("(arrives(40), arrives(40))", 300).filter(([at]) => at > 20)).toEqual([]);
  expect(play("my $all = $t < 30 || $t >= 45 && $t < 60 || $t >= 80; ($all, $all)", 200)).toEqual([]);
});

test("a line that is out comes back when the other dies", () => {
  const said = play("(arrives($t >= 20 ? 40 : 0), $t < 60 || $t >= 90)", 100);
  expect(said.map(([, what]) => what)).toEqual(["one is out", "one is used", "one is out"]);
  expect(said[1]![0]).toBeLessThanOrEqual(65);
});

test("a line that is out is no cleaner for a time in which nobody is heard, as while the server is dead", () => {
  const said = play(
    "my $dead = $t >= 50 && $t < 200; (!$dead && arrives($t >= 20 && $t < 220 ? 40 : 0), !$dead)",
    300,
  );
  expect(said.map(([, what]) => what)).toEqual(["one is out", "one is used"]);
  expect(said[1]![0]).toBeGreaterThanOrEqual(278);
});

test("one that the bond has found dead is no better one, before its probes tell; it goes out again once another is up", () => {
  // The probes of the two seconds before still arrive.
  expect(play("$lines[1]{down} = 1; (arrives($t >= 20 ? 40 : 0), 1)", 100)).toEqual([]);
  const said = play("$lines[1]{down} = $t >= 60 && $t < 70; (arrives($t >= 20 ? 40 : 0), 1)", 100);
  expect(said.map(([, what]) => what)).toEqual(["one is out", "one is used", "one is out"]);
  expect(said.slice(1).map(([at]) => at)).toEqual([60, 70]);
});

test("where none of the lines in use is up all are used again", () => {
  const script = `
    require $ARGV[0];
    my @lines = (line("one", 1, "tap0"), line("two", 2, "tap1"));
    $lines[0]{out} = 1;
    print scalar(my @none = give_back(\\@lines)), "\\n";
    $lines[1]{down} = 1;
    print map({ $_->{name} } give_back(\\@lines)), " $lines[0]{out}\\n";
    # Until somebody is heard again: then it is as one that was out, and has to be clean for as long.
    my $rules = rules(10, 20, 60);
    $lines[0]{dirty} = 100;
    $lines[1]{down} = 0;
    print map({ "$_->{name} $_->{out}\\n" } judge(\\@lines, 120, $rules));`;
  const output = execFileSync("perl", ["-w", "-e", script, program], { encoding: "utf8" });
  expect(output).toBe(
    "0\none is used again: no other line is up\none 0\none is out: 0 of its last 0 probes lost\none 1\n",
  );
});

test("that no server answers is told once, where a line has a tunnel, and so is that one does again", () => {
  const script = `
    require $ARGV[0];
    my @lines = (line("one", 1, "tap0"));
    my (%sight, $carrier);
    { no warnings qw(redefine once); *has_carrier = sub { $carrier } }
    # What is heard from second to second, and whether the line has a tunnel.
    for my $t (0 .. 400) {
      $carrier = $t < 300;
      print "$t: " if $t == 0 || $t == 155 || $t == 200;
      tell_sight(\\%sight, $t < 100 || $t >= 200 && $t < 290 ? 1 : 0, "192.0.2.1", \\@lines, $t);
    }`;
  const output = execFileSync("perl", ["-w", "-e", script, program], { encoding: "utf8" });
  expect(output).toBe(
    [
      "0: 192.0.2.1 answers probes: loss is seen",
      "155: no server answers a probe by any line: loss is not seen",
      "200: 192.0.2.1 answers probes: loss is seen",
      "",
    ].join("\n"),
  );
});

test("a site of one line has nothing to watch", () => {
  expect(planSite(parseSite(exampleSite((site) => site.lines.pop()))).watch).toBeUndefined();
});

test("where the far end has no ARP probes a line that is out is silent, tunnels and all, until it is used again", () => {
  const plan = planSite(parseSite(exampleSite((site) => (site.bond = { mode: "active-backup" }))));
  const names = namesOf(plan);
  expect(renderWatchUnit(names, plan.site, [plan.server.address], plan.watch!)).toContain(
    "watch --silence adsl_bonding_dev 203.0.113.10 10 20 60 ovh,44289,tap0 orange,44290,tap1\n",
  );
  const rules = piFirewall(plan);
  expect(rules.objects).toContain("set lossy { type mark; }");
  expect(rules.chains.find(({ name }) => name === "tunnels")!.rules).toContain(
    "ip daddr 203.0.113.10 udp dport 1195 meta mark @lossy counter drop",
  );
  // Its commands are printed, not run.
  const script = `
    BEGIN { *CORE::GLOBAL::system = sub { print "@_\\n" } }
    require $ARGV[0];
    our $table = "adsl_bonding_dev";
    my $line = line("ovh", 44289, "tap0");
    for my $out (1, 0) { $line->{out} = $out; apply($line) }`;
  expect(execFileSync("perl", ["-w", "-e", script, program], { encoding: "utf8" })).toBe(
    [
      "ip link set dev tap0 carrier off 2>/dev/null",
      "nft add element inet adsl_bonding_dev lossy '{ 44289 }' 2>/dev/null",
      "ip link set dev tap0 carrier on 2>/dev/null",
      "nft delete element inet adsl_bonding_dev lossy '{ 44289 }' 2>/dev/null",
      "",
    ].join("\n"),
  );
});
