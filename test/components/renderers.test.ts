import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { renderTunnel } from "../../components/adslLine/openvpn.ts";
import { bondMode } from "../../components/bond/mode.ts";
import { exceptionsOf, renderFirewall, renderFirewallScript } from "../../components/firewall.ts";
import { namesOf } from "../../components/names.ts";
import { pastBond } from "../../components/pi/boxes.ts";
import { askedOfPi, piFirewall } from "../../components/pi/firewall.ts";
import { renderGateways } from "../../components/pi/gateways.ts";
import { piRoutes } from "../../components/pi/routes.ts";
import { adviseCiphers } from "../../components/preflight/judge.ts";
import { lookEnvironment } from "../../components/preflight/look.ts";
import { askedOfServer, serverFirewall } from "../../components/remoteServer/firewall.ts";
import { sourcesService } from "../../components/remoteServer/sources.ts";
import { renderRoutesScript } from "../../components/routes.ts";
import { examplePlan } from "../example.ts";

test.each([
  [{ mode: "balance-rr", arpMissed: 3 }],
  [{ mode: "balance-xor" }],
  [{ mode: "balance-xor", hashPolicy: "layer2+3" }],
  [{ mode: "active-backup" }],
])("the bond of %j", (bond) => {
  expect(bondMode(examplePlan((s) => (s.bond = bond)).bond, "172.16.16.1")).toMatchSnapshot();
});

test("a tunnel with all that can be set by hand, at both ends", () => {
  const plan = examplePlan((s) => {
    s.bond = { mtu: 1500 };
    s.vpn = {
      bind: "203.0.113.11",
      ciphers: ["CHACHA20-POLY1305", "AES-256-GCM"],
      replayWindow: { packets: 1024, seconds: 30 },
      verbosity: 4,
    };
    Object.assign(s.lines[0], { port: 5000, fragment: true });
    Object.assign(s.lines[1], { protocol: "tcp" });
  });
  const texts = plan.lines.flatMap((line) =>
    (["pi", "server"] as const).map(
      (host) => `== ${host}\n${renderTunnel(host, line, line.tunnelPlans[0]!, plan, namesOf(plan))}`,
    ),
  );
  expect(texts.join("\n")).toMatchSnapshot();
});

test("a line on an interface of its own keeps the LAN where it is", () => {
  const plan = examplePlan((s) => Object.assign(s.lines[1], { gateway: "dhcp", interface: "eth0.35" }));
  expect(renderGateways(plan, namesOf(plan))).toMatchSnapshot();
  expect(renderRoutesScript(namesOf(plan), piRoutes(plan))).toMatchSnapshot();
  expect(lookEnvironment(plan, "pi", true).LINES).toBe("ovh,192.168.1.240,eth0 orange,dhcp,eth0.35");
});

test("forwards of ports and ranges, to the Pi and to a LAN host, at both ends", () => {
  const plan = examplePlan((s) => {
    s.forwards = [
      { ports: 8080, to: "192.168.1.10", toPorts: 80 },
      { protocol: "both", ports: "27000-27002", to: "192.168.1.10" },
      { ports: "5001-5003", to: "192.168.1.10", toPorts: "6001-6003" },
      { protocol: "udp", ports: 2200, to: "192.168.1.252" },
    ];
    s.vpn = { bind: "203.0.113.11" };
  });
  expect(renderFirewall(namesOf(plan), serverFirewall(plan))).toMatchSnapshot("server");
  expect(renderFirewall(namesOf(plan), piFirewall(plan))).toMatchSnapshot("pi");
  expect(piRoutes(plan).rules).toContainEqual({ pref: 1100, selector: "fwmark 44288", table: 21000 });
});

test("nobody begins a connection into the LAN from a bond or a line's own interface, but by a forward", () => {
  const inward = (change: Parameters<typeof examplePlan>[0]) =>
    piFirewall(examplePlan(change)).chains.find(({ name }) => name === "inward")!.rules;
  const refused = "ip daddr 192.168.1.0/24 ct state new ct status & dnat == 0 counter drop";
  const goesOn = "ip daddr 192.168.1.0/24 ct state new tcp flags & (fin | syn | rst | ack) == ack accept";
  expect(inward(() => {})).toEqual([`iifname "bond0" ${goesOn}`, `iifname "bond0" ${refused}`]);
  const rules = inward((s) => {
    Object.assign(s.lines[1], { gateway: "10.0.2.1", interface: "eth1" });
    s.lines.push({ ...s.lines[1], name: "third", gateway: "10.0.2.2" });
    s.backups = [{ name: "spare", address: "203.0.114.20", ssh: s.server.ssh }];
    s.forwards = [
      { protocol: "both", ports: "5001-5003", to: "192.168.1.10", toPorts: "6001-6003" },
      { ports: 2222, toPorts: 22 },
    ];
  });
  expect(rules).toEqual([
    'iifname { "bond0", "bond-spare" } ip daddr 192.168.1.10 tcp dport 6001-6003 accept',
    'iifname { "bond0", "bond-spare" } ip daddr 192.168.1.10 udp dport 6001-6003 accept',
    `iifname { "bond0", "bond-spare" } ${goesOn}`,
    `iifname { "bond0", "bond-spare", "eth1" } ${refused}`,
  ]);
});

test("the order of ciphers is advised by the Pi's processor", () => {
  const facts = (aes: string) => new Map([["aes", [aes]]]);
  expect(adviseCiphers("AES-256-GCM", facts("no"))[0]).toContain("[CHACHA20-POLY1305, AES-256-GCM]");
  expect(adviseCiphers("CHACHA20-POLY1305", facts("yes"))[0]).toContain("[AES-256-GCM");
  expect(adviseCiphers("AES-256-GCM", facts("yes"))).toEqual([]);
  expect(adviseCiphers("AES-256-GCM", new Map())).toEqual([]);
});

test("tunnels are taken from the given sources alone, on the ports of either protocol", () => {
  const plan = examplePlan((s) => {
    s.vpn = { sources: ["192.0.2.11", "192.0.2.0/28"] };
    Object.assign(s.lines[1], { protocol: "tcp", port: 443 });
  });
  const chain = serverFirewall(plan).chains.find(({ name }) => name === "sources");
  expect(chain?.rules).toMatchInlineSnapshot(`
    [
      "udp dport { 1194 } ip saddr 192.0.2.11 accept",
      "udp dport { 1194 } ip saddr 192.0.2.0/28 accept",
      "udp dport { 1194 } counter drop",
      "tcp dport { 443 } ip saddr 192.0.2.11 accept",
      "tcp dport { 443 } ip saddr 192.0.2.0/28 accept",
      "tcp dport { 443 } counter drop",
    ]
  `);
  expect(serverFirewall(examplePlan(() => {})).chains.map(({ name }) => name)).not.toContain("sources");
});

test("tunnels are taken from names too, which a timer looks up", () => {
  const plan = examplePlan((s) => (s.vpn = { sources: ["192.0.2.11", "home.example.net"] }));
  const names = namesOf(plan);
  expect(renderFirewall(names, serverFirewall(plan))).toMatchSnapshot();
  expect(sourcesService(plan, names)).toMatchSnapshot();
  expect(
    sourcesService(
      examplePlan((s) => (s.vpn = { sources: ["192.0.2.11"] })),
      names,
    ),
  ).toEqual([]);
});

test("what the site needs is let through in the chains of others that are named", () => {
  const plan = examplePlan((s) => {
    s.server.letThrough = { forward: ["ip filter FORWARD"], input: ["ip filter INPUT"] };
  });
  const exceptions = exceptionsOf(plan.server.letThrough, [plan.server.bond], [], askedOfServer(plan));
  expect(renderFirewallScript(namesOf(plan), exceptions)).toMatchSnapshot();
  expect(exceptionsOf(plan.pi.letThrough, [plan.pi.bond], pastBond(plan), askedOfPi(plan))).toEqual([]);
});

test("rules of ours in a chain are made once, in whatever words nft shows them, and all anew where one is gone", () => {
  const folder = mkdtempSync(join(tmpdir(), "let-through-"));
  const at = (name: string) => join(folder, name);
  // It knows no protocol by its name, as on a host without /etc/protocols.
  const nft = `#!/bin/sh
case "$*" in
  *"list chain"*) cat ${at("chain")} ;;
  "-f -")
    tee -a ${at("told")} | grep '^insert' | sed 's/insert rule inet strict input /    /; s/icmp/1/; s/$/ # handle 7/' >${at("new")}
    mv ${at("new")} ${at("chain")} ;;
esac
`;
  writeFileSync(at("nft"), nft, { mode: 0o755 });
  writeFileSync(at("chain"), "");
  const chain = "inet strict input";
  const rules = ["udp dport 1194 accept", "ip protocol icmp accept"];
  const script = renderFirewallScript(
    namesOf(examplePlan()),
    rules.map((rule) => ({ chain, rule })),
  );
  writeFileSync(at("script"), script, { mode: 0o755 });
  const calls = () => {
    writeFileSync(at("told"), "");
    execFileSync(at("script"), ["let_through"], {
      env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    });
    return readFileSync(at("told"), "utf8");
  };
  const inserted = rules.map((rule) => `insert rule ${chain} ${rule} comment "adsl-bonding-dev"\n`).join("");
  expect(calls()).toBe(inserted);
  expect(calls()).toBe("");
  const left = readFileSync(at("chain"), "utf8").split("\n")[1];
  expect(left).toContain("ip protocol 1 accept");
  writeFileSync(at("chain"), `${left}\n`);
  expect(calls()).toBe(`delete rule ${chain} handle 7\n${inserted}`);
  expect(calls()).toBe("");
  rmSync(folder, { recursive: true });
});

test("what the site asks of the Pi is let in where its own firewall closes: pings, forwards to it, DNS and DHCP", () => {
  const chain = "inet byhand input";
  const rules = (change: Parameters<typeof examplePlan>[0]) => {
    const plan = examplePlan((s) => {
      s.pi.letThrough = { input: [chain] };
      change?.(s);
    });
    const exceptions = exceptionsOf(plan.pi.letThrough, [plan.pi.bond], pastBond(plan), askedOfPi(plan));
    expect(new Set(exceptions.map((each) => each.chain))).toEqual(new Set([chain]));
    return exceptions.map(({ rule }) => rule);
  };
  expect(rules(() => {})).toEqual(['iifname "bond0" ip protocol icmp accept']);
  expect(
    rules((s) => {
      s.forwards = [
        { ports: 8022, toPorts: 22 },
        { ports: 443, to: "192.168.1.20" },
      ];
      s.lan = { dhcp: { from: "192.168.1.100", to: "192.168.1.199" } };
      s.backups = [{ name: "spare", address: "203.0.114.20", ssh: s.server.ssh }];
    }),
  ).toEqual([
    'iifname "bond0" ip protocol icmp accept',
    'iifname "bond0" tcp dport 22 accept',
    'iifname "bond-spare" ip protocol icmp accept',
    'iifname "bond-spare" tcp dport 22 accept',
    'iifname "eth0" ip saddr 192.168.1.0/24 tcp dport 22 accept',
    'iifname "eth0" udp dport 53 accept',
    'iifname "eth0" tcp dport 53 accept',
    'iifname "eth0" udp dport 67 accept',
  ]);
});

test("on the Pi what is forwarded past the bond is let through, too", () => {
  const past = (change: Parameters<typeof examplePlan>[0]) => pastBond(examplePlan(change));
  expect(past(() => {})).toEqual([["eth0", "eth0"]]);
  expect(past((s) => (s.fallback = false))).toEqual([["eth0", "eth0"]]);
  const apart = (s: Parameters<NonNullable<Parameters<typeof examplePlan>[0]>>[0]) => {
    for (const [index, line] of s.lines.entries())
      Object.assign(line, { interface: `eth${index + 1}`, gateway: `10.0.${index}.1` });
  };
  expect(past(apart)).toEqual([
    ["eth0", "eth1"],
    ["eth1", "eth0"],
    ["eth0", "eth2"],
    ["eth2", "eth0"],
  ]);
  const plan = examplePlan((s) => (s.pi.letThrough = { forward: ["ip filter FORWARD"] }));
  const exceptions = exceptionsOf(plan.pi.letThrough, [plan.pi.bond], pastBond(plan), askedOfPi(plan));
  expect(exceptions.map(({ rule }) => rule)).toEqual([
    'iifname "bond0" accept',
    'oifname "bond0" accept',
    'iifname "eth0" oifname "eth0" accept',
  ]);
});

test("a server that is logged in to at another address than its tunnels' is reached at both outside the bond", () => {
  const plan = examplePlan((s) => {
    s.server.ssh.host = "203.0.113.11";
    s.backups = [
      { name: "spare", address: "203.0.114.20", ssh: { ...s.server.ssh, host: "spare.example.net" } },
    ];
  });
  const reached = piRoutes(plan).rules.filter(({ pref }) => pref >= 1110 && pref < 1150);
  expect(reached.map(({ pref, selector }) => `${pref} ${selector}`)).toEqual([
    "1110 to 203.0.113.10",
    "1111 to 203.0.113.10",
    "1112 to 203.0.113.11",
    "1113 to 203.0.113.11",
    "1114 to 203.0.114.20",
    "1115 to 203.0.114.20",
  ]);
  expect(renderFirewall(namesOf(plan), piFirewall(plan))).toContain(
    "ip daddr != { 203.0.113.10, 203.0.113.11, 203.0.114.20 }",
  );
});

test("several servers: what keeps connections to their bonds, on the Pi and on a backup", () => {
  const plan = examplePlan((s) => {
    s.backups = [
      { name: "spare", address: "203.0.114.20", ssh: s.server.ssh, bind: "10.0.0.2" },
      { name: "third", address: "203.0.114.21", ssh: s.server.ssh },
    ];
    s.forwards = [{ ports: 8080, to: "192.168.1.10", toPorts: 80 }];
  });
  const [spare] = plan.backups;
  expect(renderFirewall(namesOf(plan), piFirewall(plan))).toMatchSnapshot("pi's firewall");
  expect(renderRoutesScript(namesOf(plan), piRoutes(plan))).toMatchSnapshot("pi's routes");
  expect(renderFirewall(namesOf(spare!), serverFirewall(spare!))).toMatchSnapshot("spare's firewall");
  expect(lookEnvironment(plan, "pi", true)).toMatchObject({ BONDS: "bond0 bond-spare bond-third" });
});
