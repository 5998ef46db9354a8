import { expect, test } from "vitest";
import { renderReport } from "../../commands/status/render.ts";
import { makeReport, statusEnvironment } from "../../commands/status/report.ts";
import { type Observation, parseFacts } from "../../host/inspect.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

const plan = planSite(parseSite(exampleSite()));
const now = new Date("2026-03-04T05:06:07.890Z");

function seen(host: "pi" | "server", text: string): Observation {
  return { host, facts: parseFacts(text) };
}

/** What look.sh tells on a whole site: in the second over each line 750 kB have come, and 10 kB gone. */
const piTells = `time=1772600000
sample=tap0 100.00 1000000 500000
sample=tap1 100.00 2000000 600000
sample=tap0 101.00 1750000 510000
sample=tap1 101.00 2750000 610000
slave=tap0 up
slave=tap1 up
unmarked=0
leaves=bond0 172.16.16.2
change=1772599000 tap0 up
ping=5 5
ping_ms=38.713
program=site dev
program=current generation: 0123456789ab
program=check: 2 of 2 slaves are up
end=yes
`;
const serverTells = piTells
  .replaceAll(/tap(\d)/g, "tap$1-dev")
  .replace("bond0 172.16.16.2", "eth0 203.0.113.10")
  .replace("ping_ms=38.713", "ping_ms=39.102");

test("a whole site", () => {
  const report = makeReport(plan, { pi: seen("pi", piTells), server: seen("server", serverTells) });
  expect(report.warnings).toEqual([]);
  expect(renderReport(report, now)).toMatchInlineSnapshot(`
    "Site dev, 2026-03-04 05:06:07 UTC

              slaves up  ping across the bond  generation
      pi      2 of 2     38.7 ms               0123456789ab
      server  2 of 2     39.1 ms               0123456789ab

    the LAN leaves through bond0, and is seen under 203.0.113.10

      line    pi  server  down          up           total down  total up
      ovh     up  up      6000 kbit/s   80.0 kbit/s  1.8 MB      510.0 kB
      orange  up  up      6000 kbit/s   80.0 kbit/s  2.8 MB      610.0 kB
      all                 12000 kbit/s  160 kbit/s   4.5 MB      1.1 MB

    Last changes of lines and ways:
      2026-03-04 04:36:40  pi      ovh came back
      2026-03-04 04:36:40  server  ovh came back

    Warnings:
      none
    "
  `);
});

test("with the Pi silent the server's counters serve, the other way round", () => {
  const pi: Observation = {
    host: "pi",
    facts: new Map(),
    unreachable: "no login as admin@192.168.1.252 port 22",
  };
  const report = makeReport(plan, { pi, server: seen("server", serverTells) });
  // What the server has received is what the site has sent.
  expect(report.bond).toEqual({ down: 160_000, up: 12_000_000, totalDown: 1_120_000, totalUp: 4_500_000 });
  expect(report.lines[0]).toMatchObject({ name: "ovh", up: { pi: undefined, server: 1 } });
  const page = renderReport(report, now);
  expect(page).toMatch(/^ {2}pi +does not answer$/m);
  expect(page).toMatch(/^ {2}server +2 of 2/m);
  expect(page).toContain("pi: no login as admin@192.168.1.252 port 22");
});

test("with neither answering, that is all there is to tell", () => {
  const silent = (host: "pi" | "server"): Observation => ({
    host,
    facts: new Map(),
    unreachable: "no login",
  });
  const page = renderReport(makeReport(plan, { pi: silent("pi"), server: silent("server") }), now);
  expect(page).toMatch(/^ {2}ovh +\? +\? +\? +\? +\? +\?$/m);
  expect(page).toContain("seen under 203.0.113.10, says the config");
});

test("full packets that don't pass where small ones do are a warning, and a single lost one is none", () => {
  const warnings = (tells: string) => {
    const pi = seen("pi", `${piTells.replace("ping=5 5", tells)}`);
    return makeReport(plan, { pi, server: seen("server", serverTells) }).warnings;
  };
  expect(warnings("ping=5 5\nfull=8 8 1438")).toEqual([]);
  expect(warnings("ping=5 5\nfull=8 6 1438")).toEqual([]);
  // A bond that answers nothing at all has another fault.
  expect(warnings("ping=5 2\nfull=8 3 1438")).toEqual([]);
  expect(warnings("ping=5 5\nfull=8 4 1438")).toEqual([
    expect.stringMatching(/^pi: 4 of 8 full packets \(1438 bytes\) .*write its `mtu`$/),
  ]);
});

test("that no line's loss can be seen is a warning", () => {
  const pi = seen("pi", `${piTells}blind=yes\n`);
  expect(makeReport(plan, { pi, server: seen("server", serverTells) }).warnings).toEqual([
    expect.stringMatching(/^pi: no server answers pings by any line, /),
  ]);
});

test("where no router can be asked whether it offers IPv6, that is a warning", () => {
  const pi = seen("pi", `${piTells}unasked=Network is down\n`);
  expect(makeReport(plan, { pi, server: seen("server", serverTells) }).warnings).toEqual([
    expect.stringMatching(/^pi: routers .* LAN of eth0 can't be looked for \(Network is down\): /),
  ]);
});

test("all that is wrong is a warning", () => {
  const pi = piTells
    .replace("slave=tap0 up", "slave=tap0 down")
    .replace("leaves=bond0 172.16.16.2", "leaves=eth0 192.168.1.252")
    .replace(/ping=.*\nping_ms.*/, "ping=5 0\nrouter=fe80::1")
    .replace("unmarked=0", "unmarked=12")
    .replace(
      "program=check: 2 of 2 slaves are up",
      `program=trying generation: ba9876543210
program=last undone: 2026-03-04T04:00:00Z, generation 222222222222: it was not confirmed in time
program=drifted: /etc/adsl-bonding/dev/bond was edited
program=check failed: 1 of 2 slaves of bond0 are up; 2 are needed`,
    );
  const server = serverTells.replace("0123456789ab", "111111111111");
  const report = makeReport(plan, { pi: seen("pi", pi), server: seen("server", server) });
  expect(report.warnings).toMatchInlineSnapshot(`
    [
      "pi: /etc/adsl-bonding/dev/bond was edited; npx pulumi up mends it",
      "pi: 1 of 2 slaves of bond0 are up; 2 are needed",
      "pi: generation ba9876543210 is not confirmed, and undoes itself",
      "pi: a generation was undone: 2026-03-04T04:00:00Z, generation 222222222222: it was not confirmed in time",
      "pi: 12 packets to the tunnels' ports had no line's mark, and were dropped since the firewall was loaded: does another program there send them, or could OpenVPN not set its mark (journalctl -u 'adsl-dev-tunnel@*')?",
      "pi: the router fe80::1 offers IPv6 to the LAN of eth0: machines that take it go round the bond; see docs/how-to.md",
      "the hosts run different generations, 0123456789ab and 111111111111; npx pulumi up mends it",
    ]
  `);
  const page = renderReport(report, now);
  expect(page).toMatch(/^ {2}pi +1 of 2 +no answer, 5 of 5 lost/m);
  expect(page).toMatch(/^ {2}ovh +down +up /m);
  expect(page).toContain("the LAN leaves by eth0, past the bond");
});

test("a host on which nothing stands is told", () => {
  const { warnings } = makeReport(plan, {
    pi: seen("pi", "leaves=eth0 192.168.1.252\nend=yes\n"),
    server: seen("server", serverTells),
  });
  expect(warnings).toEqual(["pi: nothing of this site stands there; npx pulumi up deploys it"]);
});

test("changes come in their order, the last ones only, each by its tunnel's name; others' are passed over", () => {
  const changes = Array.from(
    { length: 12 },
    (_, n) => `change=${1772599000 + n} tap1 ${n % 2 ? "up" : "down"}\n`,
  );
  const report = makeReport(plan, {
    pi: seen("pi", `${piTells}${changes.join("")}change=1772599999 tap9 down\n`),
    server: seen("server", serverTells),
  });
  expect(report.changes).toHaveLength(12);
  expect(report.changes.at(-1)).toEqual({ host: "pi", time: 1772599011, what: "orange came back" });
});

test("what the Pi's own services told of lines and ways stands among the changes", () => {
  const report = makeReport(plan, {
    pi: seen("pi", `${piTells}event=1772599500 ovh is out: 31 of its last 100 probes lost\n`),
    server: seen("server", serverTells),
  });
  expect(report.changes.at(-1)).toEqual({
    host: "pi",
    time: 1772599500,
    what: "ovh is out: 31 of its last 100 probes lost",
  });
});

test("a server behind NAT, which knows but its private address, is seen under that of the config", () => {
  const behind = serverTells.replace("203.0.113.10", "10.0.0.5");
  const report = makeReport(plan, { pi: seen("pi", piTells), server: seen("server", behind) });
  expect(report.outside).toContain("seen under 203.0.113.10");
});

test("what look.sh is told", () => {
  expect(statusEnvironment(plan, "server")).toEqual({
    SITE: "dev",
    BOND: "bond-dev",
    PEER: "172.16.16.2",
    TAPS: "tap0-dev tap1-dev",
    INTERFACE: "",
    LAN: "eth0",
    OWN: "192.168.1.252",
  });
  expect(statusEnvironment(plan, "pi").INTERFACE).toBe("eth0");
});

test("a dead server with a backup in its place", () => {
  const backed = planSite(
    parseSite(
      exampleSite((site) => {
        site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
      }),
    ),
  );
  const dead: Observation = { host: "server", facts: new Map(), unreachable: "no login" };
  const pi = piTells
    .replaceAll(" up", " down")
    .replace("bond0 172.16.16.2", "bond-spare 172.16.16.6")
    .replace("ping=5 5\nping_ms=38.713", "ping=5 0");
  const toSpare = piTells.replaceAll(/tap(\d)/g, "tap$1-spare").replace(/program=.*\n/g, "");
  const spare = serverTells.replace("203.0.113.10", "203.0.114.20");
  const report = makeReport(
    backed,
    { pi: seen("pi", pi), server: dead },
    { pi: seen("pi", toSpare), server: { ...seen("server", spare), host: "spare" } },
  );
  expect(report.warnings).toEqual(["server: no login"]);
  const page = renderReport(report, now);
  expect(page.slice(page.indexOf("the LAN"))).toMatchInlineSnapshot(`
    "the LAN leaves through bond-spare, in place of bond0, and is seen under 203.0.114.20

      line    pi    server  down          up           total down  total up
      ovh     down  ?       6000 kbit/s   80.0 kbit/s  1.8 MB      510.0 kB
      orange  down  ?       6000 kbit/s   80.0 kbit/s  2.8 MB      610.0 kB
      all                   12000 kbit/s  160 kbit/s   4.5 MB      1.1 MB

    Backup spare:
             slaves up  ping across the bond  generation
      pi     2 of 2     38.7 ms               0123456789ab
      spare  2 of 2     39.1 ms               0123456789ab

      line    pi  spare  down         up           total down  total up
      ovh     up  up     6000 kbit/s  80.0 kbit/s  1.8 MB      510.0 kB
      orange  up  up     6000 kbit/s  80.0 kbit/s  2.8 MB      610.0 kB

    Last changes of lines and ways:
      2026-03-04 04:36:40  pi      ovh went out
      2026-03-04 04:36:40  pi      ovh-at-spare came back
      2026-03-04 04:36:40  spare   ovh-at-spare came back

    Warnings:
      server: no login
    "
  `);
  expect(statusEnvironment(backed.backups[0]!, "pi")).toMatchObject({
    BOND: "bond-spare",
    PEER: "172.16.16.5",
    TAPS: "tap0-spare tap1-spare",
    INTERFACE: "",
    PROGRAM: "no",
  });
});
