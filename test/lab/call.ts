import { expect } from "vitest";
import { exec } from "../../lab/index.ts";
import { must } from "./site.ts";

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

/** 0 and 1: the options of IP, and among them the byte with the code point. */
const caller = `
  my ($protocol, $host, $port, $byte) = @ARGV;
  my $socket = IO::Socket::INET->new(Proto => $protocol, PeerAddr => $host, PeerPort => $port, Timeout => 4) or exit 1;
  alarm 4;
  $socket->setsockopt(0, 1, pack "i", $byte) if $byte;
  $socket->send("who am I?") if $protocol eq "udp";
  $socket->recv(my $text, 64) // exit 1;
  print $text`;

/** Sends back what it gets, to one caller after the other. */
const echoer = `
  my $socket = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or exit 1;
  my $text;
  while (my $caller = $socket->accept) {
    while (defined $caller->recv($text, 64) && length $text) { $caller->send($text) }
  }`;

/** As somebody who types over SSH: a byte ten times a second, each waited for until it is back, for as long as the file isn't there. */
const talker = `
  my ($host, $port, $file) = @ARGV;
  my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 4) or exit 1;
  my ($said, $text) = (0);
  until (-e $file) {
    alarm 60;
    $socket->send("x");
    defined $socket->recv($text, 1) && $text eq "x" or die "the connection ended after $said bytes: $!";
    $said++;
    select undef, undef, undef, 0.1;
  }
  print $said`;

/** Takes some 60 kB/s of a page, for as long as the file isn't there. */
const taker = `
  my ($host, $file) = @ARGV;
  my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => 80, Timeout => 4) or exit 1;
  print $socket "GET /slow HTTP/1.0\r\n\r\n";
  my $taken = 0;
  until (-e $file) {
    alarm 120;
    my $read = sysread $socket, my $text, 6000 or die "the download ended after $taken bytes: $!";
    $taken += $read;
    select undef, undef, undef, 0.1;
  }
  print $taken`;

/** Answers ten segments of one's own connections on a port with one of the same connection that is far out of its window. */
const stranger = `
  my ($port, $said) = ($ARGV[0], 0);
  socket my $in, 2, 3, 6 or die;
  socket my $out, 2, 3, 255 or die;
  alarm 30;
  while ($said < 10) {
    recv $in, my $packet, 1500, 0;
    my $head = 4 * (ord($packet) & 15);
    my ($from, $to, $seq, $ack, $offset, $flags) = unpack "nnNNCC", substr $packet, $head;
    next unless ($from == $port || $to == $port) && $flags & 8;
    my $next = $seq + length($packet) - $head - 4 * ($offset >> 4);
    my ($source, $target) = (substr($packet, 12, 4), substr($packet, 16, 4));
    my $tcp = pack "nnNNCCnnna", $to, $from, ($ack + 1e8) % 2**32, $next % 2**32, 5 << 4, 0x18, 1024, 0, 0, "?";
    my $sum = unpack "%32n*", $target . $source . pack("xCn", 6, length $tcp) . $tcp . "\\0";
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr $tcp, 16, 2, pack "n", ~$sum & 0xffff;
    my $ip = pack("CCnnnCCna4a4", 0x45, 0, 20 + length $tcp, 0, 0, 64, 6, 0, $target, $source);
    send $out, $ip . $tcp, 0, pack "Sna4x8", 2, 0, $source and $said++;
  }`;

const perl = (script: string, ...words: (string | number)[]) =>
  `perl -MIO::Socket::INET -e '${script}' ${words.join(" ")}`;

/** The command that answers from now on, on each `PROTOCOL:PORT`. */
export function answering(...words: string[]): string {
  return `setsid ${perl(answerer, ...words)} >/dev/null 2>&1 </dev/null &`;
}

/** Has a place answer from now on, on each `PROTOCOL:PORT`. */
export async function answer(place: string, ...words: string[]): Promise<void> {
  await must(place, answering(...words));
}

/** Calls a port; what it is answered with, nothing where it isn't. */
export async function tryCall(
  place: string,
  protocol: "tcp" | "udp",
  host: string,
  port: number,
  dscp = 0,
): Promise<{ answer: string; code: number }> {
  const { stdout, code } = await exec(place, perl(caller, protocol, host, port, 4 * dscp));
  return { answer: stdout, code };
}

/** Has a place send ten segments that belong to none of its connections' windows, over one that talks on a port. */
export async function stray(place: string, port: number): Promise<void> {
  await must(place, perl(stranger, port));
}

/** Something of the client's that runs until it is ended. */
interface Running {
  /** Ends it, which must not have failed; gives the number that it then printed. */
  end: () => Promise<number>;
}

/** Has the client run a script that ends, and prints a number, when the file is there that it gets as its last word. */
async function begin(script: string, file: string, ...words: (string | number)[]): Promise<Running> {
  await must("guest", `rm -f ${file}`);
  const running = exec("client", perl(script, ...words, file), { timeoutSeconds: 3600 });
  return {
    end: async () => {
      await must("guest", `touch ${file}`);
      const { stdout, stderr, code } = await running;
      expect(code, stderr).toBe(0);
      return Number(stdout);
    },
  };
}

/** A download of the client's that takes its time until it is ended: how many bytes came. */
export async function beginDownload(host: string): Promise<Running> {
  await must("guest", "yes letters | head -c 60000000 >/lab/far/slow");
  return begin(taker, "/run/enough-taken", host);
}

/** A connection from the client to a far port that is used until it is ended: how many bytes came back, of it alone. */
export async function beginTalk(host: string, port: number): Promise<Running> {
  await must("far", `setsid ${perl(echoer, port)} >/dev/null 2>&1 </dev/null &`);
  return begin(talker, "/run/enough-said", host, port);
}
