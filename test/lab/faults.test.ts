import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, kill, reboot, restore, slow, start } from "../../lab/index.ts";
import { beginTrain, endTrain, far, longestOf, now } from "./direct.ts";
import { deployedSite, must, nothingMissing, slavesSettle } from "./site.ts";

// Faults of a running site, each under a ping train of a LAN client to a far host: what it saw, and how both hosts ended.

let generation: string;
const table: string[] = [];

beforeAll(async () => {
  await deployedSite();
  generation = await running("pi");
});

afterAll(async () => {
  for (const line of ["ovh", "orange"]) await restore(line);
  await must("guest", "systemctl stop flow 2>/dev/null; rm -f /lab/far/endless");
  const columns =
    "fault | longest gap, s | pings lost | longest standstill of a download, s | whole again after, s";
  console.log([columns, ...table].join("\n"));
});

/** The id of the generation that a host runs, and nothing it is trying. */
function running(host: string): Promise<string> {
  const folder = "/var/lib/adsl-bonding/dev";
  return must(host, `test ! -e ${folder}/trying && sed -n 's/^generation //p' ${folder}/current`);
}

/** A fault's own train, fifty pings a second. */
async function beginFault(): Promise<void> {
  // A line that dies for the third time within a minute has to stay well for one: here each fault is the first.
  await must("pi", "systemctl restart adsl-dev-watch");
  await beginTrain(0.02);
}

/** More than any download brings while a fault lasts. */
const endless = 200_000_000;

/** A download by the client, and what came of it so far, five times a second. */
async function beginDownload(): Promise<void> {
  // A shell that looks at the connection as it is, from within its own name space: systemd would take its $ for its own.
  const script = `busybox wget -q -O /dev/null http://${far}/endless &
    while sleep 0.2; do
      ss -Htin state established dst ${far} dport = :80 | sed -n "s/.*bytes_received:\\([0-9]*\\).*/$(date +%s.%N) \\1/p"
    done >/run/flow`;
  await must("guest", `[ -e /lab/far/endless ] || truncate -s ${endless} /lab/far/endless`);
  await must("guest", "systemctl stop flow 2>/dev/null; cat >/run/flow.sh", 60, script);
  await must(
    "guest",
    "systemd-run -q --collect --unit flow nsenter --net=/run/netns/client sh /run/flow.sh && sleep 3",
  );
}

/** Ends the download; the longest time in which it brought nothing, s, until now. */
async function endDownload(): Promise<number> {
  const end = await now();
  const output = await must("guest", "systemctl stop flow; cat /run/flow");
  const samples = [...output.matchAll(/^([\d.]+) (\d+)$/gm)].map(([, at, bytes]) => [
    Number(at),
    Number(bytes),
  ]);
  expect(samples.length, output.slice(-500)).toBeGreaterThan(20);
  const rises = samples.filter(([, bytes], n) => n === 0 || bytes! > samples[n - 1]![1]!).map(([at]) => at!);
  return longestOf([...rises, end]);
}

/** Waits until all slaves are up at both ends, and nothing is missing on either host. */
async function becomesWhole(seconds: number): Promise<void> {
  // What died a moment ago may not have been missed yet.
  await wait(1);
  await slavesSettle(2, seconds);
  await nothingMissing(seconds);
}

/** One fault: what happens, the longest gap that a LAN client may see, s, and for how long the site may be less than whole, s. */
interface Fault {
  what: string;
  happens: () => Promise<unknown>;
  gap: number;
  whole: number;
  /** For how long a download that runs may bring nothing, s; it must go on after. Without it none is tried. */
  standstill?: number;
}

const wait = (seconds: number) => must("guest", `sleep ${seconds}`);
const every = (words: string) => `for pid in $(pgrep -f '${words}'); do kill -9 $pid; done`;

/** Where a host's disk is written to. */
const disk = "/etc /usr /var /root";

const followers = "/etc/adsl-bonding/dev/(watch|shaper|gateways|keeper|detour)";

/** A machine forgets the connections that it tracks: by the tool that stands on the Pi alone. */
const forgetConnections = (place: string) =>
  must("guest", `nsenter --net=/run/netns/${place} chroot /run/hosts/pi/root conntrack -F`);

/** A fault of a line that lasts eight seconds. */
const passing = (begin: () => Promise<unknown>, end: () => Promise<unknown>) => async () => {
  await begin();
  await wait(8);
  await end();
};

/** An interface is down for as long: the words that set it there, without the last. */
const unplugged = (place: string, words: string) =>
  passing(
    () => must(place, `${words} down`),
    () => must(place, `${words} up`),
  );

/** A tunnel's OpenVPN does nothing for as long. */
const stuck = (host: string, line: string) =>
  passing(
    () => must(host, `pkill -STOP -f '^/usr/sbin/openvpn .*tunnel-${line}'`),
    () => must(host, `pkill -CONT -f '^/usr/sbin/openvpn .*tunnel-${line}'`),
  );

const faults: Fault[] = [
  {
    what: "a line is cut",
    happens: passing(
      () => cut("ovh"),
      () => restore("ovh"),
    ),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a line brings nothing, but still takes",
    happens: passing(
      () => cut("ovh", "in"),
      () => restore("ovh"),
    ),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a line takes nothing, but still brings",
    happens: passing(
      () => cut("orange", "out"),
      () => restore("orange"),
    ),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a box is off",
    happens: unplugged("ovh", "ip link set eth0"),
    gap: 1,
    whole: 30,
    standstill: 3,
  },
  {
    what: "the box that is the Pi's own gateway is off",
    happens: unplugged("orange", "ip link set eth0"),
    gap: 1,
    whole: 30,
    standstill: 3,
  },
  {
    what: "both boxes forget what they translated",
    happens: async () => {
      for (const box of ["ovh", "orange"]) await forgetConnections(box);
    },
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a box hangs: it answers the LAN, and passes nothing on",
    happens: passing(
      () => must("ovh", "sysctl -qw net.ipv4.ip_forward=0"),
      () => must("ovh", "sysctl -qw net.ipv4.ip_forward=1"),
    ),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a line gets another public address",
    happens: async () => {
      // As a provider does who parts the line every night; the box forgets what it translated to the old one.
      await must("internet", "ip address add 192.0.2.1 peer 192.0.2.21 dev wan-ovh");
      const parted = "ip address del 192.0.2.11 peer 192.0.2.1 dev wan";
      const again = "ip address add 192.0.2.21 peer 192.0.2.1 dev wan && ip route add default via 192.0.2.1";
      await must("ovh", `${parted} && sleep 1 && ${again}`);
    },
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a line comes and goes, a second each",
    happens: async () => {
      for (let times = 0; times < 5; times++) {
        await cut("ovh");
        await wait(1);
        await restore("ovh");
        await wait(1);
      }
    },
    gap: 1,
    // One that died for the third time within a minute has to stay well for one.
    whole: 90,
    standstill: 5,
  },
  {
    what: "a line becomes slow: 500 ms there and back",
    happens: passing(
      () => slow("ovh", { rtt: 500 }),
      () => restore("ovh"),
    ),
    gap: 1,
    whole: 20,
    standstill: 5,
  },
  {
    what: "all lines are dead for a while",
    happens: passing(
      async () => {
        await cut("ovh");
        await cut("orange");
      },
      async () => {
        await restore("ovh");
        await restore("orange");
      },
    ),
    gap: 15,
    whole: 20,
    standstill: 25,
  },
  {
    what: "a tunnel's OpenVPN dies on the Pi",
    happens: () => must("pi", every("^/usr/sbin/openvpn .*tunnel-ovh")),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "all OpenVPN die on the server",
    happens: () => must("server", every("^/usr/sbin/openvpn ")),
    gap: 10,
    whole: 30,
    standstill: 15,
  },
  {
    what: "a tunnel's OpenVPN is stuck on the Pi",
    happens: stuck("pi", "ovh"),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a tunnel's OpenVPN is stuck on the server",
    happens: stuck("server", "orange"),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "a tunnel's port is shut on the server's way",
    happens: passing(
      () =>
        must(
          "internet",
          "nft 'table ip shut { chain f { type filter hook forward priority 0; udp dport 1194 drop; udp sport 1194 drop; }; }'",
        ),
      () => must("internet", "nft delete table ip shut"),
    ),
    gap: 1,
    whole: 20,
    standstill: 3,
  },
  {
    what: "all connections that the server tracks are forgotten",
    happens: () => forgetConnections("server"),
    gap: 1,
    whole: 10,
    standstill: 3,
  },
  {
    what: "all connections that the Pi tracks are forgotten",
    happens: () => forgetConnections("pi"),
    gap: 1,
    whole: 10,
    standstill: 3,
  },
  {
    what: "the Pi loses its own default route and all its neighbours",
    happens: passing(
      () => must("pi", "ip route del default; ip neigh flush all"),
      () => must("pi", "ip route add default via 192.168.1.254"),
    ),
    gap: 1,
    whole: 10,
    standstill: 3,
  },
  {
    // As an SD card at its end has it.
    what: "the Pi's disk can't be written any more, and what the tunnels and the lines are followed by dies",
    happens: passing(
      async () => {
        await must("pi", `for d in ${disk}; do mount --bind $d $d; mount -o remount,bind,ro $d; done`);
        await must("pi", "! touch /etc/x /var/lib/x 2>/dev/null");
        await must("pi", `${every("^/usr/sbin/openvpn ")}; ${every(followers)}`);
      },
      () => must("pi", `for d in ${disk}; do umount -l $d; done`),
    ),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody deletes a tap on the Pi",
    happens: () => must("pi", "ip link del tap0"),
    gap: 2,
    whole: 30,
  },
  {
    what: "somebody deletes a tap on the server",
    happens: () => must("server", "ip link del tap1-dev"),
    gap: 2,
    whole: 30,
  },
  {
    what: "somebody deletes the bond on the Pi",
    happens: () => must("pi", "ip link del bond0"),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody deletes the bond on the server",
    happens: () => must("server", "ip link del bond-dev"),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody takes a tap out of the bond",
    happens: () => must("pi", "ip link set tap1 nomaster"),
    gap: 2,
    whole: 30,
  },
  {
    what: "somebody sets the bond down on the Pi",
    happens: () => must("pi", "ip link set bond0 down"),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody sets the bond down on the server",
    happens: () => must("server", "ip link set bond-dev down"),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody gives a tap on the server another MAC address",
    happens: () => must("server", "ip link set tap0-dev address 02:00:00:00:00:01"),
    gap: 1,
    whole: 10,
  },
  {
    // It gives the taps addresses of their own only when they are slaves.
    what: "the bond is made anew on the server while udev hangs",
    happens: () => {
      const udev = (signal: string) => `pkill -${signal} -x systemd-udevd`;
      return must("server", `${udev("STOP")}; systemctl restart adsl-dev-bond; ${udev("CONT")}`);
    },
    gap: 5,
    whole: 30,
  },
  {
    what: "somebody sets a tap down on the Pi",
    happens: () => must("pi", "ip link set tap0 down"),
    gap: 2,
    whole: 30,
  },
  {
    what: "somebody takes the bond's address away on the Pi",
    happens: () => must("pi", "ip address flush dev bond0"),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody takes the bond's address away on the server",
    happens: () => must("server", "ip address flush dev bond-dev"),
    gap: 10,
    whole: 30,
  },
  {
    what: "somebody flushes all firewall rules on the server",
    happens: () => must("server", "nft flush ruleset"),
    gap: 2,
    whole: 10,
  },
  {
    what: "somebody flushes all firewall rules on the Pi",
    happens: () => must("pi", "nft flush ruleset"),
    gap: 2,
    whole: 10,
  },
  {
    what: "somebody switches forwarding off on the server",
    happens: () => must("server", "sysctl -qw net.ipv4.ip_forward=0"),
    gap: 2,
    whole: 10,
  },
  {
    what: "somebody switches forwarding off on the Pi",
    happens: () => must("pi", "sysctl -qw net.ipv4.ip_forward=0"),
    gap: 2,
    whole: 10,
  },
  {
    what: "the Pi's LAN cable is out",
    happens: unplugged("guest", "ip link set lan-pi"),
    gap: 15,
    whole: 30,
  },
  {
    what: "the server's cable is out",
    happens: unplugged("guest", "ip -n internet link set core-server"),
    gap: 5,
    whole: 30,
  },
  {
    what: "systemd is executed anew on both hosts, and their journals are killed",
    happens: async () => {
      for (const host of ["pi", "server"])
        await must(host, "systemctl daemon-reexec; pkill -9 -x systemd-journal");
    },
    gap: 1,
    whole: 20,
  },
  {
    what: "the Pi's network is restarted",
    happens: () => must("pi", "systemctl restart networking"),
    gap: 15,
    whole: 30,
  },
  {
    what: "the server's network is restarted",
    happens: () => must("server", "systemctl restart systemd-networkd"),
    gap: 5,
    whole: 30,
  },
  {
    what: "all that follows the lines on the Pi is killed",
    happens: () => must("pi", every(followers)),
    gap: 1,
    whole: 20,
  },
  { what: "the Pi restarts", happens: () => reboot("pi"), gap: 60, whole: 90 },
  { what: "the server restarts", happens: () => reboot("server"), gap: 60, whole: 90 },
  {
    what: "the Pi's power is cut",
    happens: async () => {
      await kill("pi");
      await start("pi");
    },
    gap: 60,
    whole: 90,
  },
  {
    what: "the server's power is cut",
    happens: async () => {
      await kill("server");
      await start("server");
    },
    gap: 60,
    whole: 90,
  },
];

// By a loop: vitest would shorten the names.
for (const { what, happens, gap, whole, standstill } of faults) {
  test(what, async () => {
    if (standstill) await beginDownload();
    await beginFault();
    await happens();
    const over = await now();
    await becomesWhole(whole);
    const again = (await now()) - over;
    const seen = await endTrain();
    const stood = standstill ? await endDownload() : 0;
    const shown = standstill ? stood.toFixed(1) : "-";
    table.push([what, seen.gap.toFixed(2), seen.lost, shown, again.toFixed(1)].join(" | "));
    expect(seen.gap).toBeLessThan(gap);
    expect(stood).toBeLessThan(standstill ?? 1);
    expect(await externalAddress()).toBe("203.0.113.10");
    for (const host of ["pi", "server"]) expect(await running(host), host).toBe(generation);
  });
}

test("the Pi starts with a clock that is years behind, and learns the time later", async () => {
  const [uptime, time] = (await must("guest", "cut -d . -f 1 /proc/uptime; date +%s"))
    .split("\n")
    .map(Number);
  // Hosts of the lab have one clock, that of their kernel: certificates and keys are older than it on both.
  await must("guest", "date -s '-3 years'");
  try {
    await kill("pi");
    await start("pi");
    await becomesWhole(90);
    // Their certificates are not valid yet.
    const from = await must(
      "pi",
      'date +%s -d "$(openssl x509 -noout -startdate -in /etc/adsl-bonding/dev/keys/ovh.crt | cut -d = -f 2)"',
    );
    expect(Number(from)).toBeGreaterThan((await now()) + 86400);
    expect(await externalAddress()).toBe("203.0.113.10");
  } finally {
    await must("guest", `date -s @$(($(cut -d . -f 1 /proc/uptime) - ${uptime} + ${time}))`);
  }
  await becomesWhole(30);
  await must("pi", every("^/usr/sbin/openvpn .*tunnel-ovh"));
  await becomesWhole(30);
  for (const host of ["pi", "server"]) expect(await running(host), host).toBe(generation);
});
