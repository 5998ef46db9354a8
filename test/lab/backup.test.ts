import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { down, exec, facts, kill, lose, reset, restore, start, up } from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { attempt } from "../../lab/system.ts";
import { eventually, must, mustUp, strictInput, tracesOn, whole } from "./site.ts";

/** A second server, in another network of the internet. */
const labFile = fileURLToPath(new URL("backup.json", import.meta.url));

const main = "203.0.113.10";
const spare = "203.0.114.20";
const far = "198.51.100.7";
const client = "192.168.1.10";

/** Every bond: its host, its name there, and its tunnels. */
const bonds = [
  ["pi", "bond0"],
  ["server", "bond-dev"],
  ["pi", "bond-spare"],
  ["spare", "bond-dev"],
] as const;

/** The spare's owner has a firewall that takes nothing but logins; it has settings of its own. */
const letThrough = { input: ["inet strict input"] };
const ofSpare = { bind: spare, network: "172.16.20.0/30", letThrough };

let stack: Stack;

beforeAll(async () => {
  await up({ site: labFile });
  await reset();
  stack = await openStack(await facts());
  await must("spare", "apt-get -qq update && apt-get -qq -y --no-install-recommends install nftables", 300);
  await must("spare", "nft -f -", 60, strictInput);
});

// Other scenarios want the usual site.
afterAll(async () => {
  await down();
});

const perl = (script: string, ...words: (string | number)[]) =>
  `perl -MIO::Socket::INET -e '${script}' ${words.join(" ")}`;

/** Answers on a TCP port with the address that the caller is seen with. */
const answerer = `
  my $socket = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or exit 1;
  while (my $caller = $socket->accept) { print $caller $caller->peerhost; close $caller }`;

const caller = `
  my $socket = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 4) or exit 1;
  alarm 4; $socket->recv(my $text, 64); print $text`;

/** Says something ten times a second to whoever calls, for two minutes. */
const ticker = `
  my $socket = IO::Socket::INET->new(LocalPort => 9000, Listen => 5, ReuseAddr => 1) or exit 1;
  while (my $caller = $socket->accept) {
    next if fork;
    $caller->autoflush;
    for (1 .. 1200) { print $caller "tick\\n" or exit; select undef, undef, undef, 0.1 }
    exit;
  }`;

/** Listens to it, and tells when each came, then how it ended. */
const listener = `
  my $socket = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 9000, Timeout => 4) or die "no connection\\n";
  my $end = time + $ARGV[1];
  while (time < $end && defined(my $line = <$socket>)) { print \`date +%s.%N\` }
  print time < $end ? "broken off: $!\\n" : "whole\\n"`;

/** A connection over which nothing is ever said; tells when it ended. */
const idler = `
  my $socket = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 9001, Timeout => 4) or die "no connection\\n";
  alarm 40;
  my $got = sysread $socket, my $text, 1;
  my $how = defined $got ? "closed" : $!;
  chomp(my $now = \`date +%s.%N\`);
  print "$now $how\\n"`;

const silence = `
  my $socket = IO::Socket::INET->new(LocalPort => 9001, Listen => 5, ReuseAddr => 1) or exit 1;
  my @callers; push @callers, $socket->accept while 1`;

function background(place: string, command: string): Promise<string> {
  return must(place, `setsid ${command} >/dev/null 2>&1 </dev/null &`);
}

/** What a call from outside to a server's forwarded port is answered with. */
async function call(server: string, port: number): Promise<string> {
  return (await exec("far", perl(caller, server, port))).stdout;
}

/** The moments at which a ping train was answered, s. */
function answered(train: string): number[] {
  return [...train.matchAll(/^\[(\d+\.\d+)\].*bytes from/gm)].map(([, at]) => Number(at));
}

/** The longest pause between moments: how long it was, and when it began. */
function longestPause(times: number[]): { began: number; seconds: number } {
  expect(times.length).toBeGreaterThan(50);
  const pauses = times.slice(1).map((at, n) => ({ began: times[n]!, seconds: at - times[n]! }));
  return pauses.sort((one, other) => other.seconds - one.seconds)[0]!;
}

test("a backup is added to a site that runs, whose bond leads to it until then; a further up changes nothing", async () => {
  await stack.configure((site) => delete site.backups);
  await mustUp(stack);
  await whole(bonds[0], 30);
  await stack.configure((site) => {
    Object.assign(site.backups[0], ofSpare);
    site.forwards = [
      { ports: 8080, to: client, toPorts: 80 },
      { ports: 2200, to: "192.168.1.252" },
    ];
  });
  await mustUp(stack);
  for (const bond of bonds) await whole(bond, 30);
  expect(await externalAddress()).toBe(main);
  expect(await must("spare", "ip -4 -o addr show dev bond-dev")).toContain("172.16.20.1/30");
  expect(await must("spare", "ss -Hlun sport = :1194")).toContain(`${spare}:1194`);
  expect(await mustUp(stack)).not.toMatch(/\d+ (created|updated|deleted|changes)/);
});

test("forwarded ports answer under both servers' addresses, each by the bond that the call came in by", async () => {
  await background("client", perl(answerer, 80));
  await background("pi", perl(answerer, 2200));
  await background("far", perl(ticker));
  await background("far", perl(silence));
  await must("guest", "sleep 2");
  for (const server of [main, spare]) {
    for (const port of [8080, 2200]) expect(await call(server, port), `${server} ${port}`).toBe(far);
  }
  // From the LAN they are reached without leaving it.
  expect((await exec("guest", perl(caller, spare, 8080))).stdout).toBe("192.168.1.252");
});

test("the server's death: what begins goes by the backup within 2 s, what was under way ends at once", async () => {
  await must("guest", "yes letters | head -c 60000000 >/lab/far/large");
  const url = `http://${far}`;
  const pings = exec("client", `ping -n -D -i 0.02 -c 1500 ${far}`, { timeoutSeconds: 90 });
  const download = exec(
    "client",
    `timeout 60 busybox wget -q -O /dev/null ${url}/large; echo "$?"; date +%s.%N`,
    { timeoutSeconds: 90 },
  );
  const idle = exec("client", perl(idler, far), { timeoutSeconds: 90 });
  const own = exec("pi", perl(idler, far), { timeoutSeconds: 90 });
  // Under which address each new connection is seen, and when it had been answered.
  const trying = `end=$(($(date +%s) + 28)); while [ "$(date +%s)" -lt $end ]; do
    seen=$(busybox wget -q -T 3 -O - ${url}/cgi-bin/address | tr -d '[]\\n') && echo "$(date +%s.%N) $seen"; sleep 0.05; done`;
  const begun = exec("client", trying, { timeoutSeconds: 90 });
  await must("guest", "sleep 8");
  await kill("server");

  const pause = longestPause(answered((await pings).stdout));
  const death = pause.began;
  const since = (at: string | undefined) => Number(at) - death;
  const first = [...(await begun).stdout.matchAll(/^(\S+) (\S+)$/gm)].find(([, , seen]) =>
    seen!.includes(spare),
  );
  const [code, ended] = (await download).stdout.trim().split("\n");
  const ends = [await idle, await own].map(({ stdout }) => stdout.trim());
  console.log(`longest gap of the ping train at the server's death: ${pause.seconds.toFixed(2)} s`);
  console.log(`first new connection by the backup: after ${since(first?.[1]).toFixed(2)} s`);
  console.log(`a running download failed after ${since(ended).toFixed(2)} s, with ${code}`);
  console.log(
    `idle connections ended: ${ends.map((text) => `after ${since(text.split(" ")[0]).toFixed(2)} s, ${text.replace(/^\S+ /, "")}`).join("; ")}`,
  );
  expect(pause.seconds).toBeLessThan(2);
  expect(since(first?.[1])).toBeLessThan(2);
  expect(code).not.toBe("0");
  expect(since(ended)).toBeLessThan(4);
  for (const text of ends) {
    expect(text).toMatch(/reset by peer/);
    expect(since(text.split(" ")[0])).toBeLessThan(4);
  }
  expect(await externalAddress()).toBe(spare);
});

test("meanwhile forwarded ports answer under the backup's address, and the Pi itself goes by it", async () => {
  for (const port of [8080, 2200]) expect(await call(spare, port)).toBe(far);
  expect((await exec("pi", perl(listener, far, 2))).stdout).toMatch(/whole$/m);
});

test("meanwhile the lines are watched by the backup, and rules that somebody flushes know of the dead bond again", async () => {
  const watch = (what: string) => `journalctl -q -o cat -u adsl-dev-watch | grep -q '${what}'`;
  await must("pi", "nft flush ruleset");
  await eventually("pi", "nft list set inet adsl_bonding_dev dead | grep -q elements", 15);
  await lose("ovh", 25, "in");
  await eventually("pi", watch("ovh is out"), 20);
  await restore("ovh");
  await eventually("pi", watch("ovh is used again"), 90);
  await whole(["pi", "bond-spare"], 10);
});

test("status tells so, and an up says what to do", async () => {
  const { stdout } = await attempt(
    process.execPath,
    ["commands/status/main.ts", "--config-file", stack.config],
    {
      timeoutSeconds: 300,
    },
  );
  expect(stdout).toContain(
    `the LAN leaves through bond-spare, in place of bond0, and is seen under ${spare}`,
  );
  expect(stdout).toMatch(/^Backup spare:$/m);
  expect(stdout).toMatch(/^ {2}spare +2 of 2 +\d+\.\d ms +[0-9a-f]{12}$/m);
  const { code, stdout: said } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  expect(said).toMatch(/server: no login as admin@203\.0\.113\.10/);
  expect(said).toMatch(/docs\/how-to\.md, "A server is dead"/);
});

test("the server's return is calm: what runs over the backup ends there, what begins goes by the server", async () => {
  const pings = exec("client", `ping -n -D -i 0.02 -c 2500 ${far}`, { timeoutSeconds: 120 });
  const ticks = exec("client", perl(listener, far, 50), { timeoutSeconds: 120 });
  const ownTicks = exec("pi", perl(listener, far, 50), { timeoutSeconds: 120 });
  await start("server");
  for (const bond of bonds) await whole(bond, 60);
  await must("guest", "sleep 3");
  expect(await externalAddress()).toBe(main);
  for (const port of [8080, 2200]) expect(await call(main, port)).toBe(far);
  const returned = Number(await must("guest", "date +%s.%N"));
  for (const [what, listened] of [
    ["LAN", await ticks],
    ["Pi", await ownTicks],
  ] as const) {
    expect(listened.stdout).toMatch(/^whole$/m);
    const times = [...listened.stdout.matchAll(/^\d+\.\d+$/gm)].map(([at]) => Number(at));
    expect(times.at(-1)).toBeGreaterThan(returned + 1);
    const { seconds } = longestPause(times);
    console.log(
      `longest pause of a connection of the ${what} over the backup at the return: ${seconds.toFixed(2)} s`,
    );
    expect(seconds).toBeLessThan(1);
  }
  const { seconds } = longestPause(answered((await pings).stdout));
  console.log(`longest gap of the ping train at the return: ${seconds.toFixed(2)} s`);
  expect(seconds).toBeLessThan(1);
});

test("a backup takes a dead server's place in the config, and nothing is removed from it", async () => {
  await kill("server");
  await stack.configure((site) => {
    const { name: _, ...promoted } = site.backups[0];
    site.server = { ...promoted, letThrough };
    delete site.backups;
  });
  expect(await mustUp(stack)).toContain("no longer spare: nothing was removed");
  await whole(["pi", "bond0"], 30);
  await whole(["spare", "bond-dev"], 30);
  expect(await externalAddress()).toBe(spare);
  for (const host of ["pi", "spare"]) {
    expect(await must(host, "find / -xdev -path /proc -prune -o -name '*at-spare*' -print")).toBe("");
  }
  expect(await must("pi", "ip -o link; ip rule; nft list table inet adsl_bonding_dev")).not.toMatch(
    /spare|0x0*ad20|44320/,
  );
});

test("the old server, well again, becomes the backup, as it stands; taken out of the config it is left clean", async () => {
  await start("server");
  const exchange = (also: (site: { backups?: unknown[]; server: object }) => void) =>
    stack.configure((site) => {
      const { name: _, ...promoted } = site.backups[0];
      const old = { ...site.server, name: "old" };
      site.server = { ...promoted, letThrough };
      site.backups = [old];
      also(site);
    });
  await exchange(() => {});
  await mustUp(stack);
  await whole(["pi", "bond-old"], 30);
  await whole(["server", "bond-dev"], 30);
  expect(await externalAddress()).toBe(spare);
  await exchange((site) => delete site.backups);
  await mustUp(stack);
  expect(await tracesOn("server")).toBe("");
  expect(await must("pi", "ip -o link; ip rule; nft list table inet adsl_bonding_dev")).not.toMatch(
    /bond-old|0x0*ad20|44320/,
  );
  await whole(["pi", "bond0"], 30);
  expect(await externalAddress()).toBe(spare);
});

test("destroy leaves nothing", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  for (const host of ["pi", "server", "spare"]) expect(await tracesOn(host), host).toBe("");
});
