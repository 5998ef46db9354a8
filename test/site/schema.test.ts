import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../site/mistake.ts";
import { planSite } from "../../site/plan.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

/** The error that a changed example ends in; fails the test when there is none. */
// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function mistakesOf(change: (site: any) => void) {
  try {
    parseSite(exampleSite(change));
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("the config was taken");
}

test("the example is a right config, and defaults are filled in", () => {
  const site = parseSite(exampleSite());
  expect(site.lines[0]).toMatchObject({ down: 7232, up: 896, encapsulation: "pppoe-llc", tunnels: 1 });
  expect(site.bond).toEqual({
    network: "172.16.16.0/30",
    interface: "bond0",
    mode: "balance-rr",
    arpInterval: 100,
    arpMissed: 2,
  });
  expect(site.vpn.firstPort).toBe(1194);
  expect(site.activation.confirmWithin).toBe(90);
  expect(site.qos).toEqual({ enabled: true, share: 0.995 });
  expect(site.watch).toEqual({ enabled: true, loss: 20, clean: 60 });
  expect(site.pi.ssh.port).toBe(22);
});

test("all mistakes come at once, of single fields and of fields together", () => {
  const { message, mistakes } = mistakesOf((site) => {
    site.lines[0].gateway = "192.168.2.240";
    site.lines[0].down = "0 kbit/s";
    site.lines.push({ ...site.lines[1], name: "third" });
    site.bond = { network: "192.168.0.0/16" };
  });
  expect(mistakes.map(({ path }) => path).sort()).toEqual([
    "bond.network",
    "lines[0].down",
    "lines[0].gateway",
    "lines[2].gateway",
  ]);
  expect(message).toMatchInlineSnapshot(`
    "the site's config has 4 mistakes; nothing was touched:
      lines[0].down = "0 kbit/s": is no rate that a line can have
          Write the rate that the box shows, with its unit, such as 7232 kbit/s or 7.2 Mbit/s.
      lines[0].gateway = "192.168.2.240": is outside the Pi's LAN 192.168.1.0/24
          Give the box's address on that LAN, or correct pi.address; a box on another network needs the line's own \`interface\`.
      lines[2].gateway = "192.168.1.254": lines[1] goes through the same box (192.168.1.254 on eth0)
          Give each line the address of its own box: two tunnels through one box share one line.
      bond.network = "192.168.0.0/16": overlaps the Pi's LAN 192.168.1.0/24
          Choose a private network that is free at both ends, such as 172.16.16.0/30."
  `);
});

function backup(network: string | undefined) {
  const { ssh } = exampleSite().server;
  return { name: "spare", address: "203.0.114.20", ssh, ...(network && { network }) };
}

describe("each wrong value is told with its path", () => {
  // biome-ignore lint/suspicious/noExplicitAny: see exampleSite
  const wrong: [string, string, (site: any) => void][] = [
    ["a rate without a unit", "lines[0].down", (s) => (s.lines[0].down = 7232)],
    ["a rate with another unit", "lines[0].up", (s) => (s.lines[0].up = "100 KB/s")],
    ["the Pi's address without its prefix", "pi.address", (s) => (s.pi.address = "192.168.1.252")],
    ["a server that is this machine", "server.address", (s) => (s.server.address = "127.0.0.1")],
    ["a bind to nowhere", "vpn.bind", (s) => (s.vpn = { bind: "0.0.0.0" })],
    [
      "a tunnel on the server's SSH port",
      "lines[0].port",
      (s) => Object.assign(s.lines[0], { protocol: "tcp", port: 22 }),
    ],
    ["an interface that is called as a tap", "pi.interface", (s) => (s.pi.interface = "tap1")],
    ["all interfaces for one", "pi.interface", (s) => (s.pi.interface = "all")],
    ["a bond that is a VLAN", "bond.interface", (s) => (s.bond = { interface: "bond.0" })],
    ["half an encapsulation", "lines[0].encapsulation", (s) => (s.lines[0].encapsulation = "pppoe")],
    ["a line's name in quotes of true", "fallback", (s) => (s.fallback = "true")],
    ["an option of ssh for a host", "pi.ssh.host", (s) => (s.pi.ssh.host = "-oProxyCommand=true")],
    ["a login with its host", "pi.ssh.user", (s) => (s.pi.ssh.user = "pi@192.168.1.252")],
    ["a word for a section", "watch", (s) => (s.watch = true)],
    ["a section with nothing in it", "vpn", (s) => (s.vpn = null)],
    ["one line without its dash", "lines", (s) => (s.lines = s.lines[0])],
    ["IPv6 where IPv4 is meant", "server.address", (s) => (s.server.address = "2001:db8::1")],
    ["a name where an address is meant", "server.address", (s) => (s.server.address = "server.example")],
    ["a field that does not exist", "lines[0].speed", (s) => (s.lines[0].speed = 50)],
    ["a missing host key", "server.ssh.hostKey", (s) => delete s.server.ssh.hostKey],
    ["an RSA host key", "pi.ssh.hostKey", (s) => (s.pi.ssh.hostKey = "ssh-rsa AAAA")],
    ["no line at all", "lines", (s) => (s.lines = [])],
    ["nine lines", "lines", (s) => (s.lines = Array(9).fill(s.lines[0]))],
    ["two lines of one name", "lines[1].name", (s) => (s.lines[1].name = "ovh")],
    ["the Pi as its own gateway", "lines[0].gateway", (s) => (s.lines[0].gateway = "192.168.1.252")],
    ["a broadcast address", "lines[0].gateway", (s) => (s.lines[0].gateway = "192.168.1.255")],
    ["a server on the LAN", "server.address", (s) => (s.server.address = "192.168.1.7")],
    ["a bond network for one host", "bond.network", (s) => (s.bond = { network: "172.16.16.0/31" })],
    ["a site name too long for interfaces", "name", (s) => (s.name = "countryhouse")],
    ["a port beyond the last", "vpn.firstPort", (s) => (s.vpn = { firstPort: 65535 })],
    [
      "a keepalive that closes at once",
      "vpn.keepalive.timeout",
      (s) => (s.vpn = { keepalive: { interval: 5, timeout: 5 } }),
    ],
    ["the how-to's number of a mode", "bond.mode", (s) => (s.bond = { mode: 0 })],
    ["a mode that tunnels can't have", "bond.mode", (s) => (s.bond = { mode: "802.3ad" })],
    [
      "a hash policy that doesn't exist",
      "bond.hashPolicy",
      (s) => (s.bond = { mode: "balance-xor", hashPolicy: "layer3" }),
    ],
    ["a hash without balance-xor", "bond.hashPolicy", (s) => (s.bond = { hashPolicy: "layer3+4" })],
    ["ARP in active-backup", "bond.arpMissed", (s) => (s.bond = { mode: "active-backup", arpMissed: 3 })],
    [
      "several tunnels of a line in active-backup",
      "lines[1].tunnels",
      (s) => {
        s.bond = { mode: "active-backup" };
        s.lines[1].tunnels = 2;
      },
    ],
    ["no missed probe at all", "bond.arpMissed", (s) => (s.bond = { arpMissed: 0 })],
    ["an MTU that lines don't pass", "bond.mtu", (s) => (s.bond = { mtu: 1500 })],
    ["an MTU with its unit", "bond.mtu", (s) => (s.bond = { mtu: "1400 bytes" })],
    ["a protocol of IPv6", "lines[0].protocol", (s) => (s.lines[0].protocol = "udp6")],
    [
      "fragments over TCP",
      "lines[0].fragment",
      (s) => Object.assign(s.lines[0], { protocol: "tcp", fragment: true }),
    ],
    ["a yes in quotes", "lines[0].fragment", (s) => (s.lines[0].fragment = "yes")],
    ["a port that another line has", "lines[1].port", (s) => (s.lines[1].port = 1194)],
    ["counted ports that meet one by hand", "vpn.firstPort", (s) => (s.lines[0].port = 1195)],
    [
      "a line's port beyond the last",
      "lines[0].port",
      (s) => Object.assign(s.lines[0], { port: 65535, tunnels: 2 }),
    ],
    ["a source by a name without a dot", "vpn.sources[0]", (s) => (s.vpn = { sources: ["box"] })],
    ["a source half written", "vpn.sources[0]", (s) => (s.vpn = { sources: ["192.0.2"] })],
    [
      "a chain without its table",
      "server.letThrough.forward[0]",
      (s) => (s.server.letThrough = { forward: ["FORWARD"] }),
    ],
    [
      "a chain of our own",
      "pi.letThrough.forward[0]",
      (s) => (s.pi.letThrough = { forward: ["inet adsl_bonding_dev forward"] }),
    ],
    ["a bind to a name", "vpn.bind", (s) => (s.vpn = { bind: "eth0" })],
    ["the how-to's cipher", "vpn.ciphers[0]", (s) => (s.vpn = { ciphers: ["AES-256-CBC"] })],
    [
      "a cipher twice",
      "vpn.ciphers[2]",
      (s) => (s.vpn = { ciphers: ["AES-256-GCM", "CHACHA20-POLY1305", "AES-256-GCM"] }),
    ],
    ["no cipher", "vpn.ciphers", (s) => (s.vpn = { ciphers: [] })],
    ["a queue of no packets", "vpn.txqueuelen", (s) => (s.vpn = { txqueuelen: 0 })],
    [
      "a window of a word",
      "vpn.replayWindow.packets",
      (s) => (s.vpn = { replayWindow: { packets: "512 15" } }),
    ],
    ["a level OpenVPN doesn't have", "vpn.verbosity", (s) => (s.vpn = { verbosity: 12 })],
    ["DHCP on the LAN", "lines[0].gateway", (s) => (s.lines[0].gateway = "dhcp")],
    ["DHCP in capitals", "lines[0].gateway", (s) => (s.lines[0].gateway = "DHCP")],
    [
      "two lines by DHCP on one interface",
      "lines[1].gateway",
      (s) => {
        for (const line of s.lines) Object.assign(line, { gateway: "dhcp", interface: "eth1" });
      },
    ],
    ["an interface with a blank", "lines[1].interface", (s) => (s.lines[1].interface = "eth 1")],
    ["a bond named as a tap", "bond.interface", (s) => (s.bond = { interface: "tap0" })],
    ["a latency with its unit", "lines[0].latency", (s) => (s.lines[0].latency = "50 ms")],
    ["a latency of one line alone", "lines[1].latency", (s) => delete s.lines[1].latency],
    ["a share in per cent", "qos.share", (s) => (s.qos = { share: 95 })],
    ["a word for a choice", "qos.enabled", (s) => (s.qos = { enabled: "off" })],
    ["a loss as a fraction", "watch.loss", (s) => (s.watch = { loss: 0.2 })],
    ["no time to be clean", "watch.clean", (s) => (s.watch = { clean: 0 })],
    [
      "more tunnels than the line can be watched on",
      "lines[0].up",
      (s) => Object.assign(s.lines[0], { up: "128 kbit/s", tunnels: 4 }),
    ],
    ...(
      [
        ["a forward's port in words", "ports", { ports: "http" }],
        ["a range with a colon", "ports", { ports: "27000:27015" }],
        ["a port beyond the last", "ports", { ports: "65000-65536" }],
        ["a range backwards", "ports", { ports: "90-80" }],
        ["a protocol that has no ports", "protocol", { ports: 80, protocol: "icmp" }],
        ["a forward to another network", "to", { ports: 80, to: "192.168.2.10" }],
        ["a forward to a box", "to", { ports: 80, to: "192.168.1.240" }],
        ["a forward to the broadcast address", "to", { ports: 80, to: "192.168.1.255" }],
        ["a forward to a name", "to", { ports: 80, to: "nas" }],
        ["a range to one port", "toPorts", { ports: "80-81", toPorts: 8080 }],
        ["another range backwards", "toPorts", { ports: "80-81", toPorts: "8081-8080" }],
        ["the server's SSH port", "ports", { ports: "20-30" }],
        ["a tunnel's port", "ports", { ports: "1195-1200", protocol: "both" }],
      ] as const
    ).map(([what, field, forward]): (typeof wrong)[number] => [
      what,
      `forwards[0].${field}`,
      (s) => (s.forwards = [forward]),
    ]),
    [
      "another SSH port of the server",
      "forwards[0].ports",
      (s) => {
        s.server.ssh.port = 2222;
        s.forwards = [{ ports: 2222 }];
      },
    ],
    [
      "the port of a tunnel over TCP",
      "forwards[0].ports",
      (s) => {
        Object.assign(s.lines[1], { protocol: "tcp", port: 443 });
        s.forwards = [{ ports: 443 }];
      },
    ],
    [
      "two forwards of one port",
      "forwards[1].ports",
      (s) =>
        (s.forwards = [
          { ports: "80-90", protocol: "both" },
          { ports: 85, to: "192.168.1.10" },
        ]),
    ],
    ...(
      [
        ["a line for the Pi itself, elsewhere", "192.168.1.252"],
        ["a box that is no machine", "0.0.0.0"],
        ["a box that is the Pi itself", "127.0.0.1"],
        ["a box that is many", "224.0.0.1"],
        ["a box that is all", "255.255.255.255"],
        ["a box inside the bond's network", "172.16.16.1"],
      ] as const
    ).map(([what, gateway]): (typeof wrong)[number] => [
      what,
      "lines[0].gateway",
      (s) => Object.assign(s.lines[0], { interface: "eth1", gateway }),
    ]),
    ...(
      [
        ["a bond of this machine", "127.16.0.0/30"],
        ["a bond of many", "224.0.0.0/30"],
        ["a bond of one cable", "169.254.16.0/30"],
        ["somebody's network for the bond", "8.8.8.0/30"],
        ["a network that is only partly private", "172.16.0.0/11"],
        ["an end's address for the bond's network", "172.16.16.1/30"],
      ] as const
    ).map(([what, network]): (typeof wrong)[number] => [what, "bond.network", (s) => (s.bond = { network })]),
    ...["127.0.0.1/24", "224.0.0.5/24", "169.254.1.1/16", "192.168.1.252/7"].map(
      (address): (typeof wrong)[number] => [
        `a Pi that is ${address}`,
        "pi.address",
        (s) => (s.pi.address = address),
      ],
    ),
    ["an address that nobody may use", "server.address", (s) => (s.server.address = "240.0.0.1")],
    [
      "a server inside a backup's network",
      "server.address",
      (s) => {
        s.server.address = "10.9.0.1";
        s.backups = [backup("10.9.0.0/30")];
      },
    ],
    ["a bind on the LAN", "vpn.bind", (s) => (s.vpn = { bind: "192.168.1.7" })],
    ["a bind inside the bond", "vpn.bind", (s) => (s.vpn = { bind: "172.16.16.1" })],
    [
      "a backup's bind on the LAN",
      "backups[0].bind",
      (s) => (s.backups = [{ ...backup("10.9.0.0/30"), bind: "192.168.1.7" }]),
    ],
    [
      "a backup's network with an end's address",
      "backups[0].network",
      (s) => (s.backups = [backup("10.9.0.1/30")]),
    ],
    [
      "a backup's network that comes to lie beyond the private ones",
      "backups[0].network",
      (s) => {
        s.bond = { network: "172.31.255.252/30" };
        s.backups = [backup(undefined)];
      },
    ],
    ["a rate beyond any line's", "lines[0].down", (s) => (s.lines[0].down = "7232 Gbit/s")],
    [
      "tunnels from anywhere, by a list",
      "vpn.sources[1]",
      (s) => (s.vpn = { sources: ["192.0.2.1", "0.0.0.0/0"] }),
    ],
    ["a source that is the server", "vpn.sources[0]", (s) => (s.vpn = { sources: ["127.0.0.1"] })],
    [
      "a resolver that is no machine",
      "lan.dns.upstream[0]",
      (s) => (s.lan = { dns: { upstream: ["0.0.0.0"] } }),
    ],
    [
      "DHCP beside a box that is written, on one interface",
      "lines[1].gateway",
      (s) => {
        Object.assign(s.lines[0], { gateway: "192.168.2.1", interface: "eth1" });
        Object.assign(s.lines[1], { gateway: "dhcp", interface: "eth1" });
      },
    ],
    [
      "next to nothing beside the watch",
      "lines[0].up",
      (s) => {
        s.bond = { arpInterval: 1000 };
        s.lines[0].up = "8 kbit/s";
      },
    ],
    ["half a second to confirm", "activation.confirmWithin", (s) => (s.activation = { confirmWithin: 0.5 })],
    ["a name for the way out", "activation.wayOut", (s) => (s.activation = { wayOut: "example.net" })],
    ["true for the way out", "activation.wayOut", (s) => (s.activation = { wayOut: true })],
    ["a way out on the LAN", "activation.wayOut", (s) => (s.activation = { wayOut: "192.168.1.254" })],
    [
      "a part of the LAN by a host in it",
      "bypass[0].hosts[0]",
      (s) => (s.bypass = [{ line: "ovh", hosts: ["192.168.1.20/24"] }]),
    ],
    [
      "a network by a host in it",
      "bypass[0].to[0]",
      (s) => (s.bypass = [{ line: "ovh", to: ["198.51.100.7/8"] }]),
    ],
    [
      "a source's network by a host in it",
      "vpn.sources[0]",
      (s) => (s.vpn = { sources: ["203.0.113.77/8"] }),
    ],
    ["a source on the LAN", "vpn.sources[0]", (s) => (s.vpn = { sources: ["192.168.1.240"] })],
    ["a bypass of ordinary packets", "bypass[0]", (s) => (s.bypass = [{ line: "ovh", dscp: "cs0" }])],
    ["a point between thousands", "lines[0].down", (s) => (s.lines[0].down = "7.232 kbit/s")],
    ["a comma for a point", "lines[0].down", (s) => (s.lines[0].down = "7,2 Mbit/s")],
    ["an ADSL line as fast as fibre", "lines[0].down", (s) => (s.lines[0].down = "7232 Mbit/s")],
    [
      "a chain of another hook",
      "server.letThrough.forward[0]",
      (s) => (s.server.letThrough = { forward: ["ip filter INPUT"] }),
    ],
    [
      "the hook of the other field",
      "server.letThrough.input[0]",
      (s) => (s.server.letThrough = { input: ["ip filter FORWARD"] }),
    ],
    ["an address with a number too large", "pi.ssh.host", (s) => (s.pi.ssh.host = "192.168.1.256")],
    [
      "a public key's file",
      "pi.ssh.privateKeyFile",
      (s) => (s.pi.ssh.privateKeyFile = "~/.ssh/id_ed25519.pub"),
    ],
    ["the Pi's login at the server", "pi.ssh.host", (s) => (s.pi.ssh.host = "203.0.113.10")],
    [
      "a bind to a backup",
      "vpn.bind",
      (s) => {
        s.backups = [backup(undefined)];
        s.vpn = { bind: "203.0.114.20" };
      },
    ],
    [
      "the server as a box",
      "lines[0].gateway",
      (s) => Object.assign(s.lines[0], { interface: "eth1", gateway: "203.0.113.10" }),
    ],
    [
      "a box elsewhere as a resolver",
      "lan.dns.upstream[0]",
      (s) => {
        Object.assign(s.lines[0], { interface: "eth1", gateway: "10.0.0.1" });
        s.lan = { dns: { upstream: ["10.0.0.1"] } };
      },
    ],
    ["a private way out", "activation.wayOut", (s) => (s.activation = { wayOut: "10.0.0.1" })],
    ["a way out that is the server", "activation.wayOut", (s) => (s.activation = { wayOut: "203.0.113.10" })],
  ];
  test.each(wrong)("%s", (_, path, change) => {
    const { mistakes } = mistakesOf(change);
    expect(mistakes.map((mistake) => mistake.path)).toContain(path);
    for (const { reason, mend } of mistakes) {
      expect(reason.length).toBeGreaterThan(8);
      expect(mend).toMatch(/^[A-Z].*\.$/);
    }
  });
});

test("a box on an interface of its own may have an address of the LAN's, which is somebody else's there", () => {
  const site = exampleSite((s) => {
    Object.assign(s.lines[0], { interface: "eth1", gateway: "192.168.1.10" });
    s.forwards = [{ ports: 80, to: "192.168.1.10" }];
    s.lan = { dhcp: { from: "192.168.1.5", to: "192.168.1.20" } };
  });
  expect(() => parseSite(site)).not.toThrow();
});

test("two hosts behind one address are told apart by the ports of their logins", () => {
  const site = exampleSite((s) => Object.assign(s.pi.ssh, { host: "203.0.113.10", port: 2222 }));
  expect(() => parseSite(site)).not.toThrow();
});

test("one mistake is told once, and its mend can be followed", () => {
  const told = (change: Parameters<typeof mistakesOf>[0]) =>
    mistakesOf(change).mistakes.map(({ path, mend }) => `${path}: ${mend}`);
  expect(told((s) => (s.bond = { arpInterval: 0.1 }))).toHaveLength(1);
  expect(told((s) => (s.lines[0].tunnels = 100))).toHaveLength(1);
  expect(told((s) => (s.vpn = { keepalive: { interval: 600 } }))).toHaveLength(1);
  expect(told((s) => (s.pi.interface = "bond0"))[0]).toMatch(/such as bond1\.$/);
  expect(told((s) => (s.backups = [backup("172.16.16.0/30")]))[0]).toMatch(/such as 10\.83\.83\.0\/30\.$/);
  expect(told((s) => (s.vpn = { bind: "0.0.0.0" }))[0]).toContain("Leave it out");
});

test("rates are read with capitals and blanks as people write them", () => {
  const { lines } = parseSite(
    exampleSite((s) => Object.assign(s.lines[0], { down: "7.2 MBit/s", up: "896  Kbit/s " })),
  );
  expect([lines[0]!.down, lines[0]!.up]).toEqual([7200, 896]);
});

test("what stands in a section is not shown, for a secret may", () => {
  const { message } = mistakesOf((s) => (s.servers = { ovh: { applicationSecret: "hidden" } }));
  expect(message).toMatch(/servers = \{\.\.\.\}: no such field exists/);
  const misplaced = mistakesOf((s) => {
    s.server.applicationSecret = "hidden";
    s.server.ovh = "hidden";
    s.server.consumerKey = 5678;
    s.pi.ssh.privateKeyFile = "-----BEGIN OPENSSH PRIVATE KEY-----\nhidden";
  });
  expect(misplaced.mistakes.length).toBeGreaterThanOrEqual(3);
  expect(misplaced.message).not.toMatch(/hidden|5678/);
  expect(message).not.toContain("hidden");
});

test.each([[undefined], [null], ["a text"], [[]], [{}], [{ lines: "two", pi: 7 }]])(
  "%j is an error of ours",
  (raw) => {
    expect(() => parseSite(raw)).toThrow(ConfigError);
  },
);

test("a box on another network needs its own interface, and then may have any address", () => {
  const site = parseSite(
    exampleSite((s) => Object.assign(s.lines[1], { gateway: "10.0.0.1", interface: "eth1" })),
  );
  expect(site.lines[1]).toMatchObject({ gateway: "10.0.0.1", interface: "eth1" });
});

test("two boxes may have the same address on interfaces of their own", () => {
  const site = parseSite(
    exampleSite((s) => Object.assign(s.lines[1], { gateway: "192.168.1.240", interface: "eth0.35" })),
  );
  expect(site.lines.map(({ gateway }) => gateway)).toEqual(["192.168.1.240", "192.168.1.240"]);
});

test("whatever stands in a forward, it is taken or told", () => {
  const port = fc.oneof(
    fc.nat(70_000),
    fc.tuple(fc.nat(70_000), fc.nat(70_000)).map((two) => two.join("-")),
  );
  const forward = fc.record(
    {
      ports: fc.oneof(port, fc.anything()),
      protocol: fc.oneof(fc.constantFrom("tcp", "udp", "both", "constructor"), fc.anything()),
      to: fc.oneof(fc.ipV4(), fc.constantFrom("192.168.1.10", "192.168.1.252"), fc.anything()),
      toPorts: fc.oneof(port, fc.anything()),
    },
    { requiredKeys: [] },
  );
  const property = fc.property(fc.array(fc.oneof(forward, fc.anything())), (forwards) => {
    try {
      for (const { ports, toPorts } of planSite(parseSite(exampleSite((s) => (s.forwards = forwards))))
        .forwards) {
        expect(toPorts.last - toPorts.first).toBe(ports.last - ports.first);
        expect(ports.last).toBeGreaterThanOrEqual(ports.first);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test("forwards that only seem to clash are taken", () => {
  const site = parseSite(
    exampleSite((s) => {
      s.server.ssh.port = 2222;
      // SSH is TCP, the tunnels are UDP, and the two ranges touch without overlapping.
      s.forwards = [
        { ports: 22 },
        { ports: 1194 },
        { ports: 2222, protocol: "udp" },
        { ports: "80-90" },
        { ports: "91-99", to: s.pi.address.split("/")[0] },
        { ports: 53, protocol: "tcp" },
        { ports: 53, protocol: "udp" },
      ];
    }),
  );
  expect(site.forwards[3]).toEqual({ protocol: "tcp", ports: { first: 80, last: 90 } });
});

// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
test.each<[string, (site: any) => void, string]>([
  [
    "a point for thousands of Mbit",
    (s) => Object.assign(s.lines[1], { encapsulation: "ethernet", down: "1.000 Mbit/s" }),
    'lines[1].down = "1.000 Mbit/s": has a point that may stand for thousands\n      Write 1000 Mbit/s',
  ],
  [
    "a blank for thousands",
    (s) => (s.lines[0].down = "7 232 kbit/s"),
    'lines[0].down = "7 232 kbit/s": has a blank in its number',
  ],
  ["a rate as the box shows it", (s) => (s.lines[0].down = 7232), "lines[0].down = 7232: has no unit"],
  [
    "the how-to's own unit",
    (s) => (s.lines[0].up = "896 Kbps"),
    'lines[0].up = "896 Kbps": has a unit that is not taken\n      Write kbit/s or Mbit/s: kb/s and kbps mostly mean kbit/s',
  ],
  ["half a unit", (s) => (s.lines[0].down = "8M"), 'lines[0].down = "8M": has a unit that is not taken'],
  [
    "an MTU that a line passes only without OpenVPN 2.7's headers",
    (s) => {
      s.lines[1].fragment = true;
      s.bond = { mtu: 1492 - 66 };
    },
    "bond.mtu = 1426: makes packets of 1496 bytes, more than the 1492 that lines[0] passes\n      Write 1422 or less",
  ],
  [
    "the least MTU over a line that passes no more itself",
    (s) => {
      s.lines[0].mtu = 576;
      s.bond = { mtu: 576 };
    },
    "the 576 that lines[0] passes\n      Take it out, or give lines[0] `fragment: true`.",
  ],
  [
    "sources that are the LAN's",
    (s) => (s.vpn = { sources: ["192.168.0.0/16"] }),
    'vpn.sources[0] = "192.168.0.0/16": shares addresses with 192.168.1.0/24, a network of the site itself',
  ],
  [
    "a login through the bond",
    (s) => (s.pi.ssh.host = "172.16.16.2"),
    'pi.ssh.host = "172.16.16.2": stands inside 172.16.16.0/30, a network of the site itself',
  ],
  [
    "a login at no machine",
    (s) => (s.pi.ssh.host = "0.0.0.0"),
    'pi.ssh.host = "0.0.0.0": stands for no machine at all',
  ],
  [
    "brackets around a host",
    (s) => (s.pi.ssh.host = "[2001:db8::1]"),
    "stands in brackets\n      Write 2001:db8::1.",
  ],
  [
    "a key's file by a word of the shell's",
    (s) => (s.pi.ssh.privateKeyFile = "$HOME/.ssh/id_ed25519"),
    "such as ~/.ssh/id_ed25519",
  ],
  [
    "all traffic past the bond, by everybody's names",
    (s) => (s.bypass = [{ line: "ovh", hosts: ["192.168.1.0/24", "pi"] }]),
    "bypass[0] = {...}: chooses nothing, and so would take all traffic past the bond",
  ],
  [
    "a LAN's own address for a host",
    (s) => (s.bypass = [{ line: "ovh", hosts: ["192.168.1.0"] }]),
    'bypass[0].hosts[0] = "192.168.1.0": is no host\'s address in 192.168.1.0/24',
  ],
  [
    "a line of the site in another spelling",
    (s) => (s.bypass = [{ line: "Orange", ports: 80 }]),
    'bypass[0].line = "Orange": is no line of the site\n      Write one of ovh, orange.',
  ],
  [
    "a resolver that is the server",
    (s) => (s.lan = { dns: { upstream: [s.server.address] } }),
    "is a server of the site: what goes to it leaves by one box",
  ],
  [
    "a resolver on the LAN",
    (s) => (s.lan = { dns: { upstream: ["192.168.1.10"] } }),
    "stands on the LAN, and would ask by the Pi in its turn",
  ],
  [
    "a way out that ends where the server is logged in to",
    (s) => {
      s.server.ssh.host = "198.51.100.9";
      s.activation = { wayOut: "198.51.100.9" };
    },
    'activation.wayOut = "198.51.100.9": is a server of the site itself',
  ],
  [
    "a gateway that is the server's second address",
    (s) => {
      s.vpn = { bind: "203.0.114.20" };
      Object.assign(s.lines[0], { interface: "eth1", gateway: "203.0.114.20" });
    },
    'lines[0].gateway = "203.0.114.20": is a server of the site',
  ],
  [
    "ports that stand backwards on one side",
    (s) => (s.forwards = [{ ports: "80-90", toPorts: "8090-8080" }]),
    '1 mistake; nothing was touched:\n  forwards[0].toPorts = "8090-8080": ends before it begins',
  ],
  [
    "capitals, and a port of SSH's behind them",
    (s) => (s.forwards = [{ ports: 22, protocol: "TCP" }]),
    "the server's SSH port 22",
  ],
  [
    "a field that is nearly there",
    (s) => Object.assign(s.pi, { adress: "192.168.1.252/24" }),
    "fields here are address, interface, ssh, letThrough.",
  ],
  [
    "a field of a list's entry that is nearly there",
    (s) => Object.assign(s.lines[1], { gatway: "192.168.1.253" }),
    "fields here are name, gateway, interface, down, up,",
  ],
  [
    "a port beside the host",
    (s) => (s.pi.ssh.host = "192.168.1.252:2222"),
    'pi.ssh.host = "192.168.1.252:2222": holds the port too\n      Write 192.168.1.252, and the rest in `port` beside it.',
  ],
  [
    "user and port beside the host",
    (s) => (s.server.ssh.host = "me@[2001:db8::1]:22"),
    "holds the user and the port too\n      Write 2001:db8::1, and the rest in `user` and `port` beside it.",
  ],
  [
    "an end's address for the network",
    (s) => (s.bond = { network: "172.16.16.1/30" }),
    "counted from the network's first\n      Write 172.16.16.0/30.",
  ],
  [
    "a needed section that is empty",
    (s) => (s.pi = null),
    "pi = null: has nothing below it\n      Write its fields",
  ],
  [
    "a needed list that is empty",
    (s) => (s.lines = null),
    "lines = null: has nothing below it\n      Write its entries",
  ],
  [
    "a section that can be left out",
    (s) => (s.bond = null),
    "bond = null: has nothing below it\n      Take it out, or",
  ],
  [
    "nothing behind a dash",
    (s) => s.lines.push(null),
    "lines[2] = null: has nothing below it\n      Take it out, or",
  ],
  [
    "nine lines",
    (s) => (s.lines = Array(9).fill(s.lines[0])),
    "holds 9 entries, and can hold 8\n      Leave 8 at most.",
  ],
  [
    "nine resolvers",
    (s) => (s.lan = { dns: { upstream: Array(9).fill("9.9.9.9") } }),
    "lan.dns.upstream = [...]: holds 9 entries, and can hold 8",
  ],
  [
    "a user beside the host",
    (s) => (s.pi.ssh.host = "me@192.168.1.252"),
    "holds the user too\n      Write 192.168.1.252, and the rest in `user` beside it.",
  ],
  [
    "a range of the answering machine's that ends beyond the last port",
    (s) => (s.forwards = [{ ports: "1000-1009", toPorts: "65530-65539" }]),
    'forwards[0].toPorts = "65530-65539": is neither a port, 1 to 65535, nor a range of them',
  ],
  [
    "a LAN that the default network lies in",
    (s) => {
      s.pi.address = "172.16.0.9/16";
      s.lines[0].gateway = "172.16.0.1";
      s.lines[1].gateway = "172.16.0.2";
    },
    "bond.network is missing: without it the bond's network is 172.16.16.0/30, which overlaps the Pi's LAN 172.16.0.0/16",
  ],
  [
    "a port that the default meets",
    (s) => (s.lines[0].port = 1195),
    "vpn.firstPort is missing: is 1194 without it, which gives a tunnel of lines[1] the port 1195",
  ],
  [
    "an interval that the default does not outlast",
    (s) => (s.vpn = { keepalive: { interval: 5 } }),
    "vpn.keepalive.timeout is missing: without it 4 s are meant, which is not longer than the interval of 5 s",
  ],
  [
    "a card that is called as the bond would be",
    (s) => (s.lines[0].interface = "bond0"),
    "bond.interface is missing: without it the bond is bond0, and another interface is called so",
  ],
  ["a field without a name", (s) => (s.bond = { "": 5 }), 'bond."" = (not shown): no such field exists'],
  ["no line", (s) => (s.lines = []), "lines = []: must hold a line\n      Write one to eight lines"],
  ["a choice of every address", (s) => (s.bypass = [{ line: "ovh", to: ["0.0.0.0/0"] }]), "Take `to` out"],
])("%s is told with what to write", (_, change, text) => {
  const { message, mistakes } = mistakesOf(change);
  expect(message).toContain(text);
  expect(new Set(mistakes.map(({ path }) => path)).size).toBe(mistakes.length);
});

test.each(["all", "default", "lo", "bonding_masters"])("no interface is called %s", (name) => {
  const { mistakes } = mistakesOf((s) => {
    s.bond = { interface: name };
    s.pi.interface = name;
    s.lines[0].interface = name;
  });
  const reason = "is a name that Linux keeps for its own use";
  expect(mistakes.map((mistake) => [mistake.path, mistake.reason]).sort()).toEqual([
    ["bond.interface", reason],
    ["lines[0].interface", reason],
    ["pi.interface", reason],
  ]);
});

test("a text where a list is wanted is one mistake, however long it is", () => {
  const { mistakes } = mistakesOf((s) => (s.lines = "my two lines, ovh and orange"));
  expect(mistakes).toMatchObject([{ path: "lines", reason: "must be a list" }]);
});

test("a private key in a wrong place is not shown", () => {
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhidden";
  const { message } = mistakesOf((s) => {
    s.server.ssh.hostKey = key;
    s.pi.ssh.user = "b3BlbnNzaC1rZXktdjEAAAAA hidden";
    s.lines[0].name = key;
    s.pi.ssh.host = "me:hidden@192.168.1.252";
    s.fallback = "nowhere";
  });
  expect(message).toContain("server.ssh.hostKey = (not shown)");
  expect(message).not.toContain("hidden");
});

test("a password in a login is not shown, however it is written", () => {
  for (const ssh of [
    { host: "root:p@ss@pi.example.net" },
    { host: "root:p@ss@pi/" },
    { user: "root:p@ss" },
  ]) {
    const { message } = mistakesOf((site) => Object.assign(site.pi.ssh, ssh));
    expect(message).toContain("(not shown)");
    expect(message).not.toContain("p@ss");
  }
});

test("what is not as usual, and can be, is taken", () => {
  parseSite(
    exampleSite((s) => {
      s.pi.ssh.host = "2001:db8::1";
      s.bond = { network: "100.64.0.0/24" };
      // The box of a card of its own may have a link-local address, or one of the LAN's.
      Object.assign(s.lines[0], { interface: "eth1", gateway: "169.254.1.1" });
      Object.assign(s.lines[1], {
        interface: "eth2",
        gateway: "192.168.1.1",
        down: "10 Gbit/s",
        encapsulation: "ethernet",
      });
      s.bypass = [{ line: "ovh", to: ["0.0.0.0/1", "128.0.0.0/1"] }];
      // dnscrypt-proxy, say, on the Pi itself.
      s.lan = { dns: { upstream: ["10.1.2.3", "127.0.2.1"] } };
    }),
  );
});

test("without ARP probes and queues, active-backup takes lines that others would fill with them", () => {
  const slow = (mode: string) =>
    exampleSite((s) => {
      s.bond = { mode };
      s.lines[0].up = "16 kbit/s";
    });
  expect(planSite(parseSite(slow("active-backup"))).lines[0]!.up).toBe(16);
  expect(() => parseSite(slow("balance-xor"))).toThrow("lines[0].up");
});
