import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, kill, restore, start } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { attempt } from "../../lab/system.ts";
import { deployedSite, must, slavesSettle } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

// A host was killed here: the next scenario begins with a whole site.
afterAll(async () => {
  await restore("ovh");
  await start("server");
  await slavesSettle(2, 90);
});

/** What `npm run status` prints of the lab's site, and how it ends. */
async function status(): Promise<{ code: number; page: string }> {
  const { code, stdout, stderr } = await attempt(
    process.execPath,
    ["commands/status/main.ts", "--config-file", stack.config],
    { timeoutSeconds: 300 },
  );
  expect(stderr).toBe("");
  return { code, page: stdout };
}

test("a site that does well is shown so", async () => {
  const { code, page } = await status();
  expect(page).toMatch(/^ {2}pi +2 of 2 +\d+\.\d ms +[0-9a-f]{12}$/m);
  expect(page).toMatch(/^ {2}server +2 of 2 +\d+\.\d ms +[0-9a-f]{12}$/m);
  expect(page).toContain("the LAN leaves through bond0, and is seen under 203.0.113.10");
  for (const line of ["ovh", "orange"]) expect(page).toMatch(new RegExp(`^ {2}${line} +up +up `, "m"));
  expect(page, page).toMatch(/Warnings:\n {2}none\n/);
  expect(code).toBe(0);
});

test("the outputs of the up tell what each host's check said", async () => {
  const { stdout } = await stack.pulumi(["stack", "output", "--json"]);
  const { checks } = JSON.parse(stdout);
  expect(checks.pi).toMatch(
    /^2 of 2 slaves are up, the far end answers in \d+\.\d+ ms, and traffic leaves through bond0$/,
  );
  expect(checks.server).toMatch(/^2 of 2 .*, and the site is seen under 203\.0\.113\.10$/);
});

test("rates are those of the traffic, line by line, and of all", async () => {
  // About 15 s of both lines by the guest's clock.
  const download = exec("client", "/lab/measure.sh bond 198.51.100.7 down 20000000 1 quiet", {
    timeoutSeconds: 120,
  });
  const { page } = await status();
  expect((await download).code).toBe(0);
  const down = (name: string) =>
    Number(new RegExp(`^ {2}${name} .*?(\\d+)(\\.\\d)? kbit/s`, "m").exec(page)?.[1]);
  console.log(page);
  for (const line of ["ovh", "orange"]) expect(down(line), page).toBeGreaterThan(3000);
  expect(Math.abs(down("all") - down("ovh") - down("orange"))).toBeLessThanOrEqual(2);
});

test("a line that is cut is out at both ends, with its time, and a warning", async () => {
  const before = Number(await must("pi", "date +%s"));
  await cut("ovh");
  await slavesSettle(1);
  const { code, page } = await status();
  const after = Number(await must("pi", "date +%s"));
  expect(page).toMatch(/^ {2}ovh +down +down /m);
  expect(page).toMatch(/^ {2}orange +up +up /m);
  expect(page).toMatch(/^ {2}pi +1 of 2 +\d+\.\d ms/m);
  for (const host of ["pi", "server"]) {
    const changes = [...page.matchAll(new RegExp(`^ {2}(\\S+ \\S+) +${host} +ovh went out$`, "gm"))];
    const time = Date.parse(`${changes.at(-1)?.[1]?.replace(" ", "T")}Z`) / 1000;
    expect(time, page).toBeGreaterThanOrEqual(before - 1);
    expect(time, page).toBeLessThanOrEqual(after);
  }
  expect(page).toMatch(/pi: 1 of 2 slaves of bond0 are up/);
  expect(code).toBe(1);
  await restore("ovh");
  await slavesSettle(2, 60);
  expect((await status()).page).toMatch(/ pi +ovh came back$/m);
});

test("what was edited on a host is told", async () => {
  await must("pi", "echo >>/etc/adsl-bonding/dev/routes");
  const { code, page } = await status();
  await must("pi", "sed -i '$d' /etc/adsl-bonding/dev/routes");
  expect(page).toContain("pi: /etc/adsl-bonding/dev/routes was edited; npx pulumi up mends it");
  expect(code).toBe(1);
});

test("a line that carries less than the config says is told", async () => {
  const hole =
    "table ip hole { chain forward { type filter hook forward priority 0; meta length > 1300 drop; }; }";
  await must("guest", `ip netns exec ovh nft '${hole}'`);
  try {
    expect((await status()).page).toMatch(
      /pi: \d of 8 full packets \(\d+ bytes\) across the bond got no answer/,
    );
  } finally {
    await must("guest", "ip netns exec ovh nft delete table ip hole");
  }
  expect((await status()).page).not.toContain("full packets");
});

test.each([
  ["a Pi with IPv6", 0],
  ["a Pi on whose LAN interface it is off", 1],
])("a box that offers IPv6 to the LAN, and tells of it when it is asked, is told by %s", async (_, off) => {
  // For a minute, to each router solicitation an advertisement of 30 minutes' lifetime to all nodes (RFC 4861, 4.1 and 4.2);
  // unasked none: 20 is the option by which it hears what is said to all routers.
  const advertise = `
    use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6);
    my ($index, $text) = @ARGV;
    socket(my $s, AF_INET6, SOCK_RAW, 58); setsockopt($s, 41, 18, pack("i", 255));
    setsockopt($s, 41, 20, inet_pton(AF_INET6, "ff02::2") . pack("I", $index)); alarm 60;
    my $to = pack_sockaddr_in6(0, inet_pton(AF_INET6, "ff02::1"), $index);
    while (defined recv($s, $text, 2048, 0)) {
      send($s, pack("CCnCCnNN", 134, 0, 0, 64, 0, 1800, 0, 0), 0, $to) if ord $text == 133;
    }`;
  const set = (to: number) => must("pi", `sysctl -qw net.ipv6.conf.eth0.disable_ipv6=${to}`);
  const index = await must("ovh", "ip -o link show dev eth0 | cut -d : -f 1");
  const box = (await must("ovh", "ip -6 -o addr show dev eth0 scope link")).match(/fe80::[0-9a-f:]+/)?.[0];
  await set(off);
  try {
    await must("ovh", `perl -e '${advertise}' ${index.trim()} </dev/null >/dev/null 2>&1 & echo`);
    const { code, page } = await status();
    expect(page).toContain(`pi: the router ${box} offers IPv6 to the LAN of eth0`);
    expect(code).toBe(1);
  } finally {
    await set(0);
  }
});

test("in a terminal the page comes again and again, until Ctrl-C, which gives the cursor back", async () => {
  // script(1) is the terminal, and timeout(1) types Ctrl-C.
  const command = `timeout --foreground -s INT 90 ${process.execPath} commands/status/main.ts --config-file ${stack.config}`;
  const { stdout } = await attempt("script", ["-qec", command, "/dev/null"], { timeoutSeconds: 200 });
  const pages = stdout.split("\x1b[H\x1b[J").slice(1);
  expect(pages.length, stdout).toBeGreaterThanOrEqual(2);
  for (const page of pages.slice(0, 2)) {
    for (const line of ["ovh", "orange"]) {
      expect(page).toMatch(new RegExp(`^ {2}${line} +up +up .*kbit/s`, "m"));
    }
  }
  expect(stdout.startsWith("\x1b[?25l")).toBe(true);
  expect(stdout.trimEnd().endsWith("\x1b[?25h")).toBe(true);
});

test("a host that does not answer is told, and the other one is shown", async () => {
  await kill("server");
  const { code, page } = await status();
  expect(page).toMatch(/^ {2}server +does not answer$/m);
  expect(page).toMatch(/^ {2}pi +\d of 2 +no answer/m);
  expect(page).toMatch(/^ {2}server: no login as admin@203\.0\.113\.10 port 22/m);
  expect(code).toBe(1);
});
