import { afterAll, beforeAll, expect, test } from "vitest";
import { cut, exec, type Measured, measure, ping, restore } from "../../lab/index.ts";
import { answer, tryCall } from "./call.ts";
import { far, longestGap, now, openBox, seenBy, train, tunnelsAgain, withoutTunnels } from "./direct.ts";
import { eventually, must, mustUp, pristineSite, queueRate, slavesSettle } from "./site.ts";

const client = "192.168.1.10";
const expedited = 46;
const elsewhere = "198.51.100.9";

beforeAll(async () => {
  const stack = await pristineSite();
  await stack.configure((site) => {
    site.bypass = [
      { line: "orange", protocol: "udp", ports: "27000-27010", hosts: [client] },
      { line: "ovh", protocol: "tcp", ports: [8443], to: ["198.51.100.0/29"], hosts: ["pi"] },
      { line: "ovh", dscp: "ef", hosts: ["192.168.1.8/29"] },
      { line: "ovh", ports: [5201, 8088] },
    ];
  });
  await mustUp(stack);
  await slavesSettle(2);
  await must("far", `ip address replace ${elsewhere}/24 dev eth0`);
  await answer("far", "udp:27001", "udp:27011", "tcp:27001", "tcp:8443", "tcp:8444", "udp:9000");
});

afterAll(async () => {
  await restore("ovh");
  await exec("far", `ip address del ${elsewhere}/24 dev eth0`);
});

/** Under which address the far machine sees who calls it. */
async function seen(
  place: string,
  protocol: "tcp" | "udp",
  port: number,
  dscp?: number,
  by = far,
): Promise<string> {
  return (await tryCall(place, protocol, by, port, dscp)).answer.split(" ")[1] ?? "nobody";
}

test("a LAN host's game leaves by the named line, and everything else by the server", async () => {
  expect(await seen("client", "udp", 27001)).toBe(seenBy.orange);
  expect(await seen("client", "udp", 27011)).toBe(seenBy.server);
  expect(await seen("client", "tcp", 27001)).toBe(seenBy.server);
  // The operator's machine is no chosen host.
  expect(await seen("guest", "udp", 27001)).toBe(seenBy.server);
});

test("so does what the Pi itself sends, and what has the chosen code point", async () => {
  expect(await seen("pi", "tcp", 8443)).toBe(seenBy.ovh);
  // An address of the same machine that is in none of the chosen networks.
  expect(await seen("pi", "tcp", 8443, undefined, elsewhere)).toBe(seenBy.server);
  expect(await seen("pi", "tcp", 8444)).toBe(seenBy.server);
  expect(await seen("client", "tcp", 8443)).toBe(seenBy.server);
  expect(await seen("client", "udp", 9000, expedited)).toBe(seenBy.ovh);
  expect(await seen("client", "udp", 9000)).toBe(seenBy.server);
  // The operator's machine is outside the hosts' network.
  expect(await seen("guest", "udp", 9000, expedited)).toBe(seenBy.server);
});

test("a connection that enters by a box is answered through it, whatever main's default route says", async () => {
  for (const line of ["ovh", "orange"] as const) {
    await openBox(line);
    expect((await tryCall("far", "tcp", seenBy[line], 2222)).answer).toContain("SSH-2.0");
  }
  // Most of all when the server is away: this is then the only way in.
  await withoutTunnels(0);
  for (const line of ["ovh", "orange"] as const) {
    expect((await tryCall("far", "tcp", seenBy[line], 2222)).answer).toContain("SSH-2.0");
  }
  await tunnelsAgain();
});

test("when the line dies its traffic goes on by the next one, and comes back", async () => {
  const pings = train(30, `-Q ${4 * expedited}`);
  await must("guest", "sleep 4");
  const cutAt = await now();
  await cut("ovh");
  await slavesSettle(1);
  await must("guest", "sleep 2");
  expect(await seen("client", "udp", 9000, expedited)).toBe(seenBy.orange);
  const restoredAt = await now();
  await restore("ovh");
  await slavesSettle(2, 60);
  await must("guest", "sleep 2");
  expect(await seen("client", "udp", 9000, expedited)).toBe(seenBy.ovh);
  const output = await pings;
  const gaps = [longestGap(output, cutAt - 1, restoredAt), longestGap(output, restoredAt)];
  console.log(`longest gaps: ${gaps[0]!.toFixed(2)} s at the cut, ${gaps[1]!.toFixed(2)} s at the return`);
  expect(gaps[0]).toBeLessThan(1.5);
  expect(gaps[1]).toBeLessThan(1.5);
});

const listener = `
  my $socket = IO::Socket::INET->new(LocalPort => 8088, Listen => 1, ReuseAddr => 1) or exit 1;
  my $caller = $socket->accept;
  1 while sysread $caller, my $text, 64`;

/** Sends a byte ten times a second, and tells after how long the connection ended, and how. */
const talker = `
  my $socket = IO::Socket::INET->new(PeerAddr => "${far}", PeerPort => 8088) or die "no connection";
  $SIG{PIPE} = "IGNORE";
  $| = 1;
  for (1 .. 400) {
    select undef, undef, undef, 0.1;
    next if defined syswrite $socket, "x";
    print "ended: $!\\n"; exit;
  }
  print "lasted"`;

test("a TCP connection on the line that died is reset by the far end once it speaks, and does not hang", async () => {
  await must("far", `setsid perl -MIO::Socket::INET -e '${listener}' >/dev/null 2>&1 </dev/null &`);
  await must("guest", "sleep 1");
  const talk = exec("client", `perl -MIO::Socket::INET -e '${talker}'; date +%s.%N`, { timeoutSeconds: 60 });
  await must("guest", "sleep 3");
  const cutAt = await now();
  await cut("ovh");
  const [how, at] = (await talk).stdout.trim().split("\n");
  await restore("ovh");
  await slavesSettle(2, 60);
  console.log(`TCP: ${how} ${(Number(at) - cutAt).toFixed(1)} s after the cut`);
  expect(how).toMatch(/^ended: (Connection reset|Broken pipe)/);
  expect(Number(at) - cutAt).toBeLessThan(5);
});

test("what leaves directly counts against its line: pings through the bond stay short beside an upload", async () => {
  const whole = await queueRate("pi", "bond0");
  const idle = await ping("client", far);
  const upload = async (): Promise<Measured & { rate: number }> => {
    const stream = exec("client", `iperf3 -c ${far} -u -b 300k -l 1000 -t 24`, { timeoutSeconds: 60 });
    await must("guest", "sleep 4");
    const during = await queueRate("pi", "bond0");
    const measured = await measure({ via: "bond", direction: "up", bytes: 900_000, ping: true });
    expect((await stream).code).toBe(0);
    return { ...measured, rate: during };
  };
  const counted = await upload();
  await eventually("pi", `tc qdisc show dev bond0 root | grep -q 'bandwidth ${whole}Kbit'`, 10);
  // The same with the queues left at what the lines carry alone.
  await must("pi", "systemctl kill -s STOP adsl-dev-shaper");
  const uncounted = await upload();
  await must("pi", "systemctl kill -s CONT adsl-dev-shaper");
  for (const [what, { rate: set, mbits, ping: beside }] of Object.entries({ counted, uncounted })) {
    console.log(
      `${what}: queue at ${set} of ${whole} kbit/s, upload ${mbits.toFixed(2)} Mbit/s, ping ${idle.avgMs} ms idle, ${beside!.avgMs} / ${beside!.maxMs} ms beside`,
    );
  }
  // 37.5 packets a second of 23 cells are 366 kbit/s of ovh, and each slave is given the same.
  expect(whole - counted.rate).toBeGreaterThan(500);
  expect(whole - counted.rate).toBeLessThan(800);
  expect(uncounted.rate).toBe(whole);
  expect(counted.ping!.avgMs).toBeLessThan(idle.avgMs + 40);
  expect(counted.ping!.avgMs).toBeLessThan(0.7 * uncounted.ping!.avgMs);
});
