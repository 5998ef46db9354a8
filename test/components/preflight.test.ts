import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { doubt, judge, lacks } from "../../components/preflight/judge.ts";
import { lookEnvironment, triesOf } from "../../components/preflight/look.ts";
import {
  addressDoubts,
  addressProblems,
  lanProblems,
  routeDoubts,
  routeProblems,
} from "../../components/preflight/networks.ts";
import { mayBeShut, newPortsMayBeShut, suspect } from "../../components/preflight/ports.ts";
import { fingerprint, parseFacts } from "../../host/inspect.ts";
import { examplePlan } from "../example.ts";

const fit = "os=debian 13\nkernel=6.12.107+deb13-amd64\nopenvpn=2.6.14-1\nfree_mb=2000\nend=yes\n";

test("a fit host has no problem", () => {
  expect(judge("pi", ["bond0"], parseFacts(fit))).toEqual([]);
});

test("a host whose package lists are empty yet is not judged by its OpenVPN", () => {
  expect(judge("pi", ["bond0"], parseFacts(fit.replace("openvpn=2.6.14-1", "openvpn=")))).toEqual([]);
});

test("all that is wrong is told at once", () => {
  const facts = parseFacts(
    "os=debian 11\nkernel=5.10.0-30-amd64\nopenvpn=2.5.1-3\nfree_mb=12\nlacks=the kernel module tun\nforeign=bond0 is a bond in use by somebody else\nline=ovh: there is no interface eth7\nblocks=ip filter FORWARD\n",
  );
  const problems = judge("server", ["bond-dev"], facts);
  expect(problems).toHaveLength(7);
  expect(problems.join("\n")).toContain("write `letThrough: { forward: [ip filter FORWARD] }` under server");
  expect(problems.join("\n")).toMatch(/server: its kernel 5\.10.*older than 6\.0/);
});

test("what a host has lost of what an installation brought is told with all that is gone; a plain host lacks nothing", () => {
  expect(lacks("pi", parseFacts(fit))).toEqual([]);
  expect(lacks("pi", parseFacts(`${fit}generation=one\ninstallation=x\ndrift=/etc/a was edited\n`))).toEqual(
    [],
  );
  expect(lacks("pi", parseFacts(`${fit}generation=one\ndrift=/etc/a is gone\t/etc/b.key is gone\n`))).toEqual(
    [
      "pi has lost what only a new installation brings, so `up` gives it everything again: /etc/a is gone, /etc/b.key is gone",
    ],
  );
  expect(lacks("server", parseFacts(`${fit}generation=one\ndrift=\n`))).toEqual([
    "server has lost what only a new installation brings, so `up` gives it everything again: its notes in /var/lib/adsl-bonding are gone",
  ]);
});

test("what may refuse an up its logins is told, and does not stop it", () => {
  const rule = 'tcp dport 22 ct state new xt match "recent" counter';
  const facts = parseFacts(`${fit}few_logins=${rule}\n`);
  expect(judge("server", ["bond-dev"], facts)).toEqual([]);
  const told = (found: typeof facts) => doubt("server", ["bond-dev"], "ssh-ed25519 AAAA", found);
  expect(told(parseFacts(fit))).toEqual([]);
  expect(told(facts)).toEqual([expect.stringContaining(`(${rule})`)]);
});

test("a chain that drops what comes in and speaks of no ping is told, for by pings a change is proved", () => {
  const facts = parseFacts(`${fit}closed=inet byhand input\ndeaf=inet byhand input\n`);
  expect(doubt("pi", ["bond0"], "ssh-ed25519 AAAA", facts)).toEqual([
    expect.stringMatching(
      /^pi: .* chain inet byhand input .* ICMP nor of bond0: .*`letThrough: \{ input: \[inet byhand input\] \}` under pi/,
    ),
  ]);
});

test("what iptables-legacy drops is told with its own words that help", () => {
  expect(judge("server", ["bond-dev"], parseFacts(`${fit}legacy=FORWARD\n`))).toEqual([
    expect.stringMatching(
      /^server: .*FORWARD, of iptables-legacy, .*iptables-legacy -I FORWARD -o bond-dev -j ACCEPT/,
    ),
  ]);
});

test("a server's firewall that drops the rest is told where a tunnel is new on a site that stands", () => {
  const stands = parseFacts("generation=one\n");
  const closed = `${fit}generation=one\nclosed=ip filter INPUT\n`;
  expect(newPortsMayBeShut(examplePlan(), parseFacts(closed), stands)).toEqual([]);
  const untried = parseFacts(`${closed}untried=udp 1195\n`);
  expect(newPortsMayBeShut(examplePlan(), untried, stands)).toEqual([
    "server: its firewall's chain ip filter INPUT drops what none of its rules takes: see that these let in UDP port 1195",
  ]);
  // All of a server that is new to the site; where the Pi is new, too, it asks them.
  const anew = parseFacts(`${fit}closed=ip filter INPUT\nlistening=udp 1194\nlistening=udp 1195\n`);
  expect(newPortsMayBeShut(examplePlan(), anew, stands)).toEqual([
    expect.stringMatching(/UDP ports 1194-1195$/),
  ]);
  expect(newPortsMayBeShut(examplePlan(), anew, parseFacts(""))).toEqual([]);
  const exception = examplePlan((site) => (site.server.letThrough = { input: ["ip filter INPUT"] }));
  expect(newPortsMayBeShut(exception, untried, stands)).toEqual([]);
});

test("two sites of a server that share a table are told", () => {
  const problems = (table: number) =>
    routeProblems(examplePlan(), parseFacts(`${fit}site_table=farm ${table}\n`));
  expect(problems(21195)).toEqual([]);
  expect(problems(21194)).toEqual([
    expect.stringMatching(/^server: the site farm on it has the routing table 21194 too.*vpn\.firstPort/),
  ]);
});

const threeTunnels = examplePlan((site) => {
  Object.assign(site.lines[0], { tunnels: 2 });
  Object.assign(site.lines[1], { protocol: "tcp", port: 443 });
  site.vpn = { bind: "203.0.113.10" };
  site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
  site.lan = { dhcp: { from: "192.168.1.100", to: "192.168.1.199" } };
});

test("a chain on the Pi that drops the rest is told where something is asked of the Pi", () => {
  const closed = parseFacts("closed=inet byhand input\n");
  expect(mayBeShut(examplePlan(), closed)).toEqual([]);
  expect(mayBeShut(threeTunnels, parseFacts(""))).toEqual([]);
  const withForward = examplePlan((site) => (site.forwards = [{ ports: 8022, to: "192.168.1.252" }]));
  expect(mayBeShut(threeTunnels, closed)).toEqual([
    "pi: its firewall's chain inet byhand input drops what none of its rules takes: see that these let in DHCP (UDP port 67) and DNS (port 53) on eth0",
  ]);
  expect(mayBeShut(withForward, closed)[0]).toMatch(/let in the ports forwarded to it on bond0$/);
});

test("each end is told the ports that will be its own, and the Pi what to try each line with", () => {
  const [spare] = threeTunnels.backups;
  const ports = (...of: Parameters<typeof lookEnvironment>) => lookEnvironment(...of).PORTS;
  expect(ports(threeTunnels, "server", true)).toBe(
    "udp,1194,203.0.113.10, udp,1195,203.0.113.10, tcp,443,203.0.113.10,",
  );
  expect(ports(spare!, "server", true)).toBe("udp,1194,, udp,1195,, tcp,443,,");
  expect(ports(threeTunnels, "pi", true)).toBe(
    "udp,53,192.168.1.252,eth0 tcp,53,192.168.1.252,eth0 udp,67,,eth0",
  );
  expect(ports(examplePlan(), "pi", true)).toBe("");
  // A port that another program has there is nothing to ask.
  const tries = triesOf(spare!, parseFacts("listening=udp 1194\nlistening=tcp 443\n"));
  expect(tries).toEqual(["ovh,udp,203.0.114.20,1194", "orange,tcp,203.0.114.20,443"]);
  expect(lookEnvironment(threeTunnels, "pi", true, tries).TRIES).toBe(tries.join(" "));
});

const silent = parseFacts(`${fit}silent=ovh udp 203.0.113.10 1194 192.168.1.240
silent=ovh udp 203.0.113.10 1195 192.168.1.240
silent=orange tcp 203.0.114.20 443 192.168.1.254
`);

test("what each line got no answer to is told with the line, the protocol, the ports and the box", () => {
  expect(judge("pi", ["bond0"], silent)).toEqual([
    "pi: line ovh: UDP to 203.0.113.10 ports 1194-1195 through the box 192.168.1.240 gets no answer",
    "pi: line orange: TCP to 203.0.114.20 port 443 through the box 192.168.1.254 gets no answer",
  ]);
});

test("what to do is told of each server that gave no answer, and a firewall that may be why is named", () => {
  const [spare] = threeTunnels.backups;
  const closed = parseFacts("closed=ip filter INPUT\n");
  const told = suspect(threeTunnels, closed, silent);
  expect(told[0]).toContain("write `letThrough: { input: [ip filter INPUT] }` under server");
  expect(told[0]).toContain("let the tunnels' UDP ports 1194-1195 and TCP port 443 in");
  expect(told[1]).toContain("write `protocol: tcp`");
  expect(suspect(spare!, parseFacts(""), silent)).toEqual([expect.stringMatching(/^spare: /)]);
  const several = parseFacts("address=203.0.114.20\naddress=203.0.114.21\nsource=203.0.114.21\n");
  expect(suspect(spare!, several, silent)[0]).toMatch(
    /goes out by 203\.0\.114\.21, .*write 203\.0\.114\.20 as `bind`/,
  );
  const mainAlone = parseFacts("silent=ovh udp 203.0.113.10 1194 192.168.1.240\n");
  expect(suspect(spare!, closed, mainAlone)).toEqual([]);
  expect(suspect(threeTunnels, closed, parseFacts("line=ovh: there is no interface eth7\n"))).toEqual([]);
});

test("who has a port that is to be ours is named, with what to do", () => {
  const facts = (text: string) => parseFacts(`${fit}${text}`);
  expect(
    judge("server", ["bond-dev"], facts("taken=udp 1195 dnsmasq\ntaken=tcp 443 the site other\n")),
  ).toEqual([
    expect.stringMatching(/^server: its UDP port 1195 is taken by dnsmasq, and .*`vpn.firstPort`/),
    expect.stringMatching(/^server: its TCP port 443 is taken by the site other, and /),
  ]);
  expect(judge("pi", ["bond0"], facts("taken=udp 53 pihole-FTL\ntaken=tcp 53 pihole-FTL\n"))).toEqual([
    expect.stringMatching(
      /^pi: its UDP port 53 and TCP port 53 are taken by pihole-FTL, and .*take `lan` out/,
    ),
  ]);
});

test("a server behind NAT is told before forwards, or a bind, ask for an address that it has not", () => {
  const behind = parseFacts("address=127.0.0.1\naddress=10.0.0.5\nsource=10.0.0.5\n");
  const open = parseFacts("address=127.0.0.1\naddress=203.0.113.10\nsource=203.0.113.10\n");
  const plain = examplePlan();
  const forwarding = examplePlan((site) => {
    site.forwards = [{ ports: 2222, toPorts: 22 }];
    site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
  });
  const bound = examplePlan((site) => (site.vpn = { bind: "10.0.0.5" }));
  const told = (plan: typeof plain, facts: typeof open) => [
    addressProblems(plan, facts),
    addressDoubts(plan, facts),
  ];
  expect(told(plain, open)).toEqual([[], []]);
  expect(told(forwarding, open)).toEqual([[], []]);
  expect(told(bound, behind)).toEqual([[], []]);
  // What could not be looked at.
  for (const plan of [plain, forwarding]) expect(told(plan, new Map())).toEqual([[], []]);
  expect(told(plain, behind)).toEqual([
    [],
    [expect.stringMatching(/^server: none .* 203\.0\.113\.10: right where/)],
  ]);
  expect(told(forwarding, behind)[0]![0]).toMatch(
    /^server: none .*`forwards`; .* as `vpn\.bind` .*out by 10\.0\.0\.5/,
  );
  expect(told(forwarding.backups[0]!, behind)[0]![0]).toMatch(
    /^spare: none .* as `bind` of the backup spare /,
  );
  expect(told(bound, open)).toEqual([
    [expect.stringMatching(/^server: it lacks the address 10\.0\.0\.5/)],
    [],
  ]);
});

test("a LAN with another prefix, or on another interface, than the Pi's own is told", () => {
  const plan = examplePlan();
  const told = (...stands: string[]) =>
    lanProblems(plan, parseFacts(stands.map((each) => `address=${each}\n`).join("")));
  expect([plan.pi.address, plan.pi.lan, plan.pi.interface]).toEqual([
    "192.168.1.252",
    "192.168.1.0/24",
    "eth0",
  ]);
  const elsewhere = "192.168.0.252/24 eth1";
  expect(told()).toEqual([]);
  expect(told(elsewhere)).toEqual([]);
  expect(told("192.168.1.252/24 eth0", elsewhere)).toEqual([]);
  expect(told("192.168.1.250/24 eth0", "192.168.1.252/32 eth0")).toEqual([]);
  // Two interfaces with one address: the LAN's is right.
  expect(told("192.168.1.252/24 eth1", "192.168.1.252/24 eth0")).toEqual([]);
  for (const wrong of ["192.168.1.252/16 eth0", "192.168.1.252/24 eth1", "192.168.1.252/25 eth0"]) {
    expect(told(elsewhere, wrong)).toEqual([
      expect.stringMatching(
        new RegExp(
          `^pi: its address is ${wrong.replace(" ", " on ")}, .*192\\.168\\.1\\.0/24 on eth0: correct`,
        ),
      ),
    ]);
  }
});

test("a server's own networks, and other sites' on it, that are the site's too are told", () => {
  const plan = examplePlan((site) => {
    site.backups = [{ name: "spare", address: "203.0.114.20", ssh: site.server.ssh }];
  });
  const [spare] = plan.backups;
  expect(lookEnvironment(plan, "server", true).NETWORKS).toBe("192.168.1.0/24 172.16.16.0/30 172.16.16.4/30");
  expect(lookEnvironment(plan, "pi", true).NETWORKS).toBe("");
  const facts = parseFacts(`route=192.168.1.0/24 192.168.1.0/24 docker0 own
route=192.168.1.0/24 192.168.1.20 wg0 way
route=172.16.16.0/30 172.16.16.0/31 eth1 own
route=172.16.16.4/30 172.16.0.0/12 eth1 own
site_network=other 192.168.0.0/16
site_network=third 192.168.2.0/24
`);
  expect(routeProblems(plan, facts)).toEqual([
    expect.stringMatching(/^server: its own network 192\.168\.1\.0\/24 on docker0 overlaps the Pi's LAN /),
    expect.stringMatching(/^server: its own network 172\.16\.16\.0\/31 on eth1 overlaps .*`bond\.network`/),
    expect.stringMatching(
      /^server: the site other on it has 192\.168\.0\.0\/16, which overlaps the Pi's LAN /,
    ),
  ]);
  expect(routeDoubts(plan, facts)).toEqual([
    // Another tunnel to the same LAN, perhaps.
    expect.stringMatching(/^server: by its own route to 192\.168\.1\.20 on wg0 .* the Pi's LAN /),
    expect.stringMatching(
      /^server: by its own route to 172\.16\.0\.0\/12 on eth1 .* 172\.16\.16\.4\/30 of another server/,
    ),
  ]);
  expect(routeDoubts(spare!, facts)[1]).toContain("(`network` of the backup spare)");
  expect(routeProblems(plan, parseFacts(fit))).toEqual([]);
});

/** What the look at all hosts comes to, where each tells such facts, and the state knows of a generation. */
async function inspected(
  facts: Record<string, string>,
  generation?: string,
  addresses: Record<string, string> = {},
) {
  vi.resetModules();
  vi.doMock("../../components/preflight/lastUp.ts", async (original) => ({
    ...(await original<typeof import("../../components/preflight/lastUp.ts")>()),
    lastUp: async () => ({ generation, addresses }),
  }));
  vi.doMock("../../host/inspect.ts", () => ({
    inspect: async ({ host }: { host: string }) => ({ host, facts: parseFacts(`${fit}${facts[host]}`) }),
  }));
  const pulumi = await import("@pulumi/pulumi");
  const warn = vi.spyOn(pulumi.log, "warn").mockResolvedValue();
  const { inspectHosts } = await import("../../components/preflight/preflight.ts");
  const found = await inspectHosts(examplePlan());
  const warnings = warn.mock.calls.map(([text]) => text);
  warn.mockRestore();
  vi.doUnmock("../../host/inspect.ts");
  vi.doUnmock("../../components/preflight/lastUp.ts");
  return { found, warnings };
}

test("hosts of different generations begin a new installation, but where a change was undone by itself", async () => {
  const runs = (generation: string) => `generation=${generation}\ninstallation=first\n`;
  const same = await inspected({ pi: runs("aaa"), server: runs("aaa") });
  expect(same.warnings).toEqual([]);
  expect(same.found.pi!.installation).toBe("first");
  const restored = await inspected({ pi: runs("aaa"), server: runs("bbb") });
  expect(restored.warnings).toEqual([expect.stringContaining("(server bbb, pi aaa)")]);
  for (const host of ["pi", "server"]) {
    expect(restored.found[host]!.installation).toMatch(/^\d{8}T\d{6}$/);
  }
  const undone = await inspected({ pi: `${runs("aaa")}unsettled=reverted\n`, server: runs("bbb") });
  expect(undone.warnings).toEqual([]);
  expect(undone.found.server!.installation).toBe("first");
  // One that was made anew, or a backup that is new.
  const anew = await inspected({ pi: runs("aaa"), server: "generation=\n" });
  expect(anew.warnings).toEqual([]);
  expect(anew.found.pi!.installation).toBe("first");
});

test("so do hosts that run together what the state knows nothing of", async () => {
  const runs = (generation: string, more = "") => `generation=${generation}\ninstallation=first\n${more}`;
  const same = await inspected({ pi: runs("aaa"), server: runs("aaa") }, "aaa");
  expect(same.warnings).toEqual([]);
  const older = await inspected({ pi: runs("aaa"), server: runs("aaa") }, "bbb");
  expect(older.warnings).toEqual([
    expect.stringContaining("the hosts run the generation aaa, and the state knows of bbb"),
  ]);
  for (const host of ["pi", "server"]) expect(older.found[host]!.installation).toMatch(/^\d{8}T\d{6}$/);
  const undone = await inspected(
    { pi: runs("aaa", "unsettled=reverted\n"), server: runs("aaa", "unsettled=reverted\n") },
    "bbb",
  );
  expect(undone.warnings).toEqual([]);
  const anew = await inspected({ pi: "generation=\n", server: "generation=\n" }, "bbb");
  expect(anew.warnings).toEqual([]);
});

test("a machine that the site no longer has is told, with what stays there; not one that has another address", async () => {
  const runs = "generation=aaa\ninstallation=first\n";
  const before = { server: "203.0.113.99", pi: "192.168.1.252" };
  const told = [
    "server was 203.0.113.99 until now: what stands on that machine stays there. Where it lives: sudo adsl-bonding-dev remove",
  ];
  expect((await inspected({ pi: runs, server: "" }, "aaa", before)).warnings).toEqual(told);
  // The same machine at another address; a backup that became the server.
  expect((await inspected({ pi: runs, server: runs }, "aaa", before)).warnings).toEqual([]);
  const promoted = { ...before, spare: "203.0.113.10" };
  expect((await inspected({ pi: runs, server: runs }, "aaa", promoted)).warnings).toEqual(told);
  const same = { ...before, server: "203.0.113.10" };
  expect((await inspected({ pi: runs, server: "" }, "aaa", same)).warnings).toEqual([]);
});

test("a server that runs a site of this name is refused where nobody else knows of that", async () => {
  const runs = "generation=aaa\ninstallation=first\n";
  const refused =
    /server: a site dev runs there already, of which neither the Pi nor the state of this stack knows/;
  await expect(inspected({ pi: "", server: runs })).rejects.toThrow(refused);
  // A site that stands, and takes another's server.
  const others = { pi: "generation=bbb\ninstallation=other\n", server: runs };
  await expect(inspected(others, "bbb", { server: "203.0.113.99" })).rejects.toThrow(refused);
  // A first `up` that ended on one host alone; a new Pi; a state that is lost; a server that is back from a snapshot.
  for (const [pi, left] of [
    ["generation=\ninstallation=first\n", undefined],
    ["", "aaa"],
    [runs, undefined],
  ] as const) {
    expect((await inspected({ pi, server: runs }, left)).found.server!.installation).toBe("first");
  }
  expect((await inspected(others, "bbb", { server: "203.0.113.10" })).warnings[0]).toContain(
    "different generations",
  );
});

test("a host without its program is told to have lost it", () => {
  expect(lacks("pi", parseFacts(`${fit}gone=/usr/local/sbin/adsl-bonding-dev\n`))).toEqual([
    "pi has lost /usr/local/sbin/adsl-bonding-dev, so `up` gives it everything again",
  ]);
});

/** Calls functions of probe.sh. */
function probe(script: string): Promise<string> {
  const file = fileURLToPath(new URL("../../components/preflight/probe.sh", import.meta.url));
  return new Promise((resolve) => {
    execFile("sh", ["-c", `. ${file}\nSITE=dev\n${script}`], (_, stdout) => resolve(stdout));
  });
}

test("a rule that takes few logins is told, however it is written, and no other", async () => {
  const limits = async (...rules: string[]) =>
    (await probe(`few_logins 22 2222 <<'EOF'\n${rules.join("\n")}\nEOF`)).trim();
  for (const rule of [
    "-A ufw-user-input -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 -j ufw-user-limit",
    "-A INPUT -p tcp -m multiport --dports 80,2222 -m connlimit --connlimit-above 3 -j DROP",
    'tcp dport 22 ct state new xt match "recent" counter',
    "tcp dport { 22, 80 } ct state new limit rate 10/minute accept",
    "tcp dport 2222 meter ssh { ip saddr ct count over 3 } reject",
  ]) {
    expect(await limits("tcp dport 443 accept", `    ${rule}`, rule)).toBe(rule);
  }
  expect(
    await limits(
      "tcp dport 22 accept",
      "tcp dport 22 ct state new limit rate 10/second accept",
      "tcp dport 220 limit rate 3/minute accept",
      'tcp dport 22 limit rate 3/minute log prefix "ssh"',
      "-A INPUT -p tcp -m tcp --dport 1022 -m limit --limit 3/min -j ACCEPT",
      "udp sport 22 limit rate 3/minute drop",
    ),
  ).toBe("");
});

const ruleset = (...last: string[]) => `table inet byhand {
	set known {
		type ipv4_addr
		elements = { 192.0.2.1,
			     192.0.2.2 }
	}

	chain input {
		type filter hook input priority filter; policy accept;
		iifname "lo" accept
		ip saddr { 192.0.2.1,
			   192.0.2.2 } accept
		tcp dport vmap { 22 : jump logins, 80 : accept }
${last.map((rule) => `\t\t${rule}\n`).join("")}	}

	chain logins {
		counter accept comment "ssh"
	}

	chain refuse {
		log prefix "refused: " counter drop
	}

	chain outside {
		iifname != "ppp0" return
		drop
	}

	map zones {
		type ifname : verdict
		elements = { "ppp0" : jump outside }
	}

	chain strict {
		type filter hook input priority filter; policy drop;
		icmp type echo-request accept
	}
}
`;

test("a chain that closes is found by its policy, or its last rule, however that is written, or wherever it leads", async () => {
  const closes = async (chain: string, ...last: string[]) =>
    (await probe(`closes ${chain} <<'EOF' && echo yes\n${ruleset(...last)}EOF`)).trim() === "yes";
  expect(await closes("strict")).toBe(true);
  for (const last of [
    "drop",
    "counter drop",
    "counter packets 5 bytes 420 drop",
    'log prefix "DROP: " counter drop',
    'log prefix "in: " level debug drop',
    'counter drop comment "rest"',
    "log flags all drop",
    'log prefix "x" level debug flags all counter drop',
    "counter name refused drop",
    "reject",
    "counter reject with icmp port-unreachable",
    "jump refuse",
    "counter goto refuse",
  ]) {
    expect([last, await closes("input", last)]).toEqual([last, true]);
  }
  for (const last of [
    "accept",
    "udp dport 53 drop",
    "jump outside",
    "jump logins",
    'log prefix "all: "',
    "drop\n\t\taccept",
  ]) {
    expect([last, await closes("input", last)]).toEqual([last, false]);
  }
});

test("what a chain says is its own rules, and those of the chains that it leads to", async () => {
  const reached = (chain: string) => probe(`reached ${chain} <<'EOF'\n${ruleset("jump refuse")}EOF`);
  const input = await reached("input");
  expect(input).toContain('iifname "lo" accept');
  expect(input).toContain("counter accept");
  expect(input).toContain("refused:");
  expect(input).not.toMatch(/icmp|policy/);
  // Sets, and chains that maps lead to, count as said by all.
  expect(input).toMatch(/192\.0\.2\.1,[\s\S]*"ppp0" : jump outside[\s\S]*iifname != "ppp0" return/);
  expect(await reached("strict")).toContain("\t\ticmp type echo-request accept\n");
});

/** A TCP server of this test's own, which says something else than the program's. */
async function stranger(address: string): Promise<{ port: number; server: Server }> {
  const server = createServer((caller) => caller.on("error", () => {}).end("go away"));
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return { port: (server.address() as AddressInfo).port, server };
}

async function freePort(): Promise<number> {
  const { port, server } = await stranger("127.0.0.1");
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test("the listener answers UDP and TCP, and what nobody or somebody else answers is told", async () => {
  const { port: theirs, server } = await stranger("127.0.0.1");
  const folder = mkdtempSync(join(tmpdir(), "probe-"));
  const [free, other] = await Promise.all([freePort(), freePort()]);
  const listen = `listen ${folder}/listener udp,${free},127.0.0.1, tcp,${free},127.0.0.1, tcp,${theirs},127.0.0.1,`;
  const ask = (line: string, end: string) =>
    `${line},192.0.2.1,40900,40963,${end.replace(" ", ",127.0.0.1,")}`;
  const said = await probe(`${listen}
    ask ${ask("one", `udp ${free}`)} ${ask("one", `tcp ${free}`)} ${ask("two", `tcp ${theirs}`)} ${ask("two", `udp ${other}`)}
    ${listen}
    kill "$(cat ${folder}/listener)"`);
  server.close();
  rmSync(folder, { recursive: true });
  const listening = `listening=udp ${free}\nlistening=tcp ${free}\n`;
  const silence = `silent=two tcp 127.0.0.1 ${theirs} 192.0.2.1\nsilent=two udp 127.0.0.1 ${other} 192.0.2.1\n`;
  expect(said).toBe(`${listening}${silence}${listening}`);
}, 20_000);

test("a port's holder is the program that listens on the wanted address, or on all", async () => {
  const { port, server } = await stranger("127.0.0.1");
  const all = await stranger("0.0.0.0");
  const holder = (...words: (string | number)[]) =>
    probe(`holder ${words.map((word) => `'${word}'`).join(" ")}`);
  const [own, elsewhere, any, everywhere, udp] = await Promise.all([
    holder("tcp", port, "127.0.0.1", "lo"),
    holder("tcp", port, "192.168.1.252", "eth0"),
    holder("tcp", port, "", ""),
    holder("tcp", all.port, "192.168.1.252", "eth0"),
    holder("udp", port, "", ""),
  ]);
  server.close();
  all.server.close();
  const name = readFileSync("/proc/self/comm", "utf8");
  expect({ own, elsewhere, any, everywhere, udp }).toEqual({
    own: name,
    elsewhere: "",
    any: name,
    everywhere: name,
    udp: "",
  });
});

test("fingerprints are written as ssh writes them", () => {
  // The example of ssh-keygen -l on a key made for this test.
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDeh93gX0Jl0NdyjsoZ90QyZVDit7zOJEvvnQ5xY1jA";
  expect(fingerprint(key)).toMatchInlineSnapshot(`"SHA256:xtssa0uemYeQJBtr6xAxRc1S8KJta3aUcxkosVdc13E"`);
});
