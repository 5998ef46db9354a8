import { expect, test } from "vitest";
import { parseSite } from "../../site/schema.ts";
import { warningsOf } from "../../site/warnings.ts";
import { exampleSite } from "../example.ts";

/** The warnings of a changed example, which has no mistakes. */
// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
function warnings(change: (site: any) => void): string[] {
  const site = exampleSite(change);
  parseSite(site);
  return warningsOf(site);
}

test("a way to the Pi by a server of its own site is warned of: it ends with the bond", () => {
  const by = (host: string) =>
    warnings((s) => {
      s.backups = [
        { name: "spare", address: "203.0.114.20", ssh: { ...s.server.ssh, host: "spare.example" } },
      ];
      const { user, hostKey } = s.server.ssh;
      s.pi.ssh.jump = { host, user, hostKey };
    });
  for (const server of ["203.0.113.10", "203.0.114.20", "spare.example"]) {
    expect(by(server)).toEqual([expect.stringMatching(/^pi\.ssh\.jump\.host is .*destroy/)]);
  }
  expect(by("198.51.100.9")).toEqual([]);
});

test("nothing is warned of in the example, nor of what is left out in any mode", () => {
  expect(warningsOf(exampleSite())).toEqual([]);
  for (const mode of ["balance-rr", "balance-xor", "active-backup"]) {
    const plain = warnings((s) => {
      s.bond = { mode };
      for (const line of s.lines) delete line.latency;
    });
    expect(plain).toEqual([]);
  }
});

const latencies = "lines[0].latency, lines[1].latency: without effect in the mode";

// biome-ignore lint/suspicious/noExplicitAny: see exampleSite
test.each<[string, string[], (site: any) => void]>([
  [
    "a hash of what all packets share",
    ["bond.hashPolicy is layer2: it goes by the two ends' MAC addresses", `${latencies} balance-xor`],
    (s) => (s.bond = { mode: "balance-xor", hashPolicy: "layer2" }),
  ],
  [
    "a forward to an address that is lent",
    ["forwards[0].to is 192.168.1.150, which lan.dhcp may lend"],
    (s) => {
      s.forwards = [{ ports: 80, to: "192.168.1.150" }];
      s.lan = { dhcp: { from: "192.168.1.100", to: "192.168.1.199" } };
    },
  ],
  [
    "rates the wrong way round",
    ["lines[1].up is 7072 kbit/s, more than its down, 832 kbit/s"],
    (s) => Object.assign(s.lines[1], { down: "832 kbit/s", up: "7072 kbit/s" }),
  ],
  [
    "a line that holds the others back more than it brings",
    [
      "lines[0].down is 60 kbit/s: every tunnel carries as many packets as the slowest one can, so the bond carries 120 kbit/s down, less than lines[1] alone with its 7072 kbit/s",
      "lines[0].up is 60 kbit/s",
    ],
    (s) => Object.assign(s.lines[0], { down: "60 kbit/s", up: "60 kbit/s" }),
  ],
  [
    "a slow line beside one that has more tunnels",
    [],
    (s) => {
      Object.assign(s.lines[0], { down: "1000 kbit/s", up: "200 kbit/s" });
      s.lines[1].tunnels = 7;
    },
  ],
  [
    "a prefix too short for a LAN",
    ["pi.address is 192.168.1.252/8: the LAN 192.0.0.0/8 holds addresses that are others' on the internet"],
    (s) => {
      s.pi.address = "192.168.1.252/8";
    },
  ],
  [
    "a server's inner address",
    ["server.address is 10.8.0.1, which nobody has on the internet"],
    (s) => {
      s.server.address = "10.8.0.1";
    },
  ],
  [
    "a bypass of a host whose address is lent",
    ["bypass[0].hosts[0] is 192.168.1.120, which lan.dhcp may lend to another machine"],
    (s) => {
      s.lan = { dhcp: { from: "192.168.1.100", to: "192.168.1.199" } };
      s.bypass = [{ line: "ovh", hosts: ["192.168.1.120"] }];
    },
  ],
  [
    "entries of a bypass behind one that chooses all of theirs",
    [
      "bypass[1]: without effect behind bypass[0], which chooses all of that already",
      "bypass[2]: without effect behind bypass[0]",
      "bypass[4]: without effect behind bypass[3]",
      "bypass[6]: without effect behind bypass[5]",
      "bypass[8]: without effect behind bypass[7]",
    ],
    (s) => {
      s.bypass = [
        { line: "ovh", ports: ["1000-2000", "2001-3000"] },
        { line: "orange", protocol: "tcp", ports: "1500-2500", hosts: ["pi"] },
        { line: "orange", ports: [1000, 3000], dscp: "ef", to: ["198.51.100.7"] },
        { line: "orange", hosts: ["192.168.1.32/28", "pi"] },
        { line: "ovh", hosts: ["192.168.1.252", "192.168.1.33"], protocol: "udp" },
        { line: "ovh", to: ["198.51.100.0/24", "192.0.2.9"] },
        { line: "ovh", to: ["198.51.100.64/26", "192.0.2.9/32"] },
        { line: "ovh", dscp: "cs5" },
        { line: "ovh", dscp: 40, hosts: ["192.168.1.10"] },
      ];
    },
  ],
  [
    "entries of a bypass behind narrower ones, or beside them",
    [],
    (s) => {
      const web = { line: "ovh", protocol: "tcp", ports: [80, "443-450"], to: ["198.51.100.0/24"], dscp: 8 };
      s.bypass = [
        { ...web, hosts: ["192.168.1.32/28"] },
        { ...web, hosts: ["192.168.1.32/27"] },
        { ...web, hosts: ["pi"] },
        { ...web, ports: "449-451" },
        { ...web, protocol: "both" },
        { ...web, to: ["198.51.100.0/24", "198.51.101.1"] },
        { ...web, dscp: 10 },
        { ...web, dscp: undefined },
        { ...web, to: undefined },
        { ...web, ports: undefined },
        { ...web, ports: undefined, protocol: undefined },
      ];
    },
  ],
  [
    "the share of a queue that is off",
    ["qos.share: without effect while qos.enabled is false. Take one of the two out."],
    (s) => (s.qos = { enabled: false, share: 0.9 }),
  ],
  [
    "the loss of a watch that is off",
    ["watch.loss: without effect while watch.enabled is false"],
    (s) => (s.watch = { enabled: false, loss: 30 }),
  ],
  [
    "a line alone, with what compares it to others",
    [
      "watch.loss: without effect on a site of one line",
      "lines[0].latency: without effect on a site of one line",
    ],
    (s) => {
      s.lines.pop();
      s.watch = { loss: 30 };
    },
  ],
  [
    "a window for what TCP has put in order",
    ["vpn.replayWindow.packets: without effect where all lines go by TCP"],
    (s) => {
      for (const line of s.lines) line.protocol = "tcp";
      s.vpn = { replayWindow: { packets: 1024 } };
    },
  ],
  [
    "what is off in a mode that has none",
    [latencies],
    (s) => {
      s.bond = { mode: "active-backup" };
      s.qos = { enabled: false };
      s.watch = { enabled: false };
    },
  ],
  [
    "a window for one line that goes by UDP",
    [],
    (s) => {
      s.lines[0].protocol = "tcp";
      s.vpn = { replayWindow: { packets: 1024 } };
    },
  ],
])("%s is warned of", (_, expected, change) => {
  const given = warnings(change);
  expect(given).toHaveLength(expected.length);
  expected.forEach((text, index) => void expect(given[index]).toContain(text));
});
