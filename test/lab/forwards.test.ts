import { beforeAll, expect, test } from "vitest";
import { exec } from "../../lab/index.ts";
import { must, mustUp, pristineSite, slavesSettle } from "./site.ts";

const server = "203.0.113.10";
const pi = "192.168.1.252";
const client = "192.168.1.10";
const far = "198.51.100.7";

/** Answers on each `PROTOCOL:PORT` with the port and the address that the caller is seen with. */
const answerer = `
  for (@ARGV) {
    my ($protocol, $port) = split /:/;
    next if fork;
    my $socket = IO::Socket::INET->new(Proto => $protocol, LocalPort => $port,
      $protocol eq "tcp" ? (Listen => 5, ReuseAddr => 1) : ()) or exit 1;
    if ($protocol eq "udp") {
      while (defined $socket->recv(my $text, 64)) { $socket->send("$port " . $socket->peerhost) }
    }
    while (my $caller = $socket->accept) { print $caller "$port " . $caller->peerhost; close $caller }
  }`;

const caller = `
  my ($protocol, $host, $port) = @ARGV;
  my $socket = IO::Socket::INET->new(Proto => $protocol, PeerAddr => $host, PeerPort => $port, Timeout => 4) or exit 1;
  alarm 4;
  $socket->send("who am I?") if $protocol eq "udp";
  $socket->recv(my $text, 64);
  print $text`;

const perl = (script: string, ...words: (string | number)[]) =>
  `perl -MIO::Socket::INET -e '${script}' ${words.join(" ")}`;

/** What a call to the server's address is answered with; nothing where it isn't. */
async function call(place: string, protocol: "tcp" | "udp", port: number): Promise<string> {
  return (await exec(place, perl(caller, protocol, server, port))).stdout;
}

beforeAll(async () => {
  const stack = await pristineSite();
  await stack.configure((site) => {
    site.forwards = [
      { ports: 8080, to: client, toPorts: 80 },
      { protocol: "both", ports: "27000-27002", to: client },
      { ports: "5001-5003", to: client, toPorts: "6001-6003" },
      { protocol: "both", ports: 2200 },
    ];
  });
  await mustUp(stack);
  await slavesSettle(2);
  const answer = (place: string, ...words: string[]) =>
    must(place, `setsid ${perl(answerer, ...words)} >/dev/null 2>&1 </dev/null &`);
  await answer("client", "tcp:80", "tcp:27001", "udp:27001", "udp:27003", "tcp:27003", "tcp:6002");
  await answer("pi", "tcp:2200", "udp:2200");
});

test("a LAN host answers on ports, ranges and other ports, and sees the caller's own address", async () => {
  expect(await call("far", "tcp", 8080)).toBe(`80 ${far}`);
  expect(await call("far", "tcp", 27001)).toBe(`27001 ${far}`);
  expect(await call("far", "udp", 27001)).toBe(`27001 ${far}`);
  expect(await call("far", "tcp", 5002)).toBe(`6002 ${far}`);
});

test("the Pi itself answers, by TCP and UDP", async () => {
  expect(await call("far", "tcp", 2200)).toBe(`2200 ${far}`);
  expect(await call("far", "udp", 2200)).toBe(`2200 ${far}`);
});

test("a port beside a range, or of the other protocol, stays shut", async () => {
  for (const protocol of ["tcp", "udp"] as const) expect(await call("far", protocol, 27003)).toBe("");
  expect(await call("far", "udp", 8080)).toBe("");
});

test("LAN hosts reach the same ports by the server's address, without leaving the LAN", async () => {
  expect(await call("guest", "tcp", 8080)).toBe(`80 ${pi}`);
  expect(await call("guest", "udp", 27001)).toBe(`27001 ${pi}`);
  expect(await call("client", "tcp", 8080)).toBe(`80 ${pi}`);
  expect(await call("client", "tcp", 2200)).toBe(`2200 ${client}`);
});

test("answers leave by the bond, though the Pi knows another way to the caller", async () => {
  await must("pi", `ip route add ${far} via 192.168.1.254`);
  expect(await call("far", "tcp", 8080)).toBe(`80 ${far}`);
  expect(await call("far", "tcp", 2200)).toBe(`2200 ${far}`);
  await must("pi", `ip route del ${far}`);
});
