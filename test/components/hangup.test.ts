import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("../../components/hangup/hangup.pl", import.meta.url));

function run(script: string): string {
  return execFileSync("perl", ["-w", "-e", `require $ARGV[0];\n${script}`, program], { encoding: "utf8" });
}

/** Lines of /proc/net/nf_conntrack: one from the LAN, a call from outside, one of another bond, one that is over, one of UDP. */
const listing = `
ipv4     2 tcp      6 431999 ESTABLISHED src=192.168.1.10 dst=198.51.100.7 sport=40000 dport=80 src=198.51.100.7 dst=192.168.1.10 sport=80 dport=40000 [ASSURED] mark=44288 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=198.51.100.7 dst=192.168.1.10 sport=50000 dport=80 src=192.168.1.10 dst=198.51.100.7 sport=80 dport=50000 [ASSURED] mark=44288 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=192.168.1.10 dst=198.51.100.7 sport=40001 dport=80 src=198.51.100.7 dst=192.168.1.10 sport=80 dport=40001 [ASSURED] mark=442880 zone=0 use=2
ipv4     2 tcp      6 9 CLOSE src=192.168.1.10 dst=198.51.100.7 sport=40002 dport=80 src=198.51.100.7 dst=192.168.1.10 sport=80 dport=40002 [ASSURED] mark=44288 zone=0 use=2
ipv4     2 udp      17 29 src=192.168.1.10 dst=198.51.100.7 sport=40003 dport=53 src=198.51.100.7 dst=192.168.1.10 sport=53 dport=40003 mark=44288 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=172.16.16.2 dst=198.51.100.7 sport=40004 dport=80 src=198.51.100.7 dst=172.16.16.2 sport=80 dport=40004 [ASSURED] mark=44288 zone=0 use=2
`;

test("the connections of a bond are found, with the site's end first, whoever began them", () => {
  const found = run(`
    my @listing = split /^/m, q(${listing});
    print "@$_\\n" for connections(\\@listing, 44288, "192.168.1.0/24", "172.16.16.0/30");`);
  expect(found.trim().split("\n")).toEqual([
    "192.168.1.10 40000 198.51.100.7 80",
    "192.168.1.10 80 198.51.100.7 50000",
    "172.16.16.2 40004 198.51.100.7 80",
  ]);
});

test("the question is a SYN from the far end, with a right checksum", () => {
  // Summed up with its pseudo header a right segment comes to nothing (RFC 9293, 3.1).
  const told = run(`
    my $packet = question("192.168.1.10", 40000, "198.51.100.7", 80);
    my ($source, $target, $tcp) = unpack "x12 a4 a4 a*", $packet;
    my ($from, $to, undef, undef, undef, $flags) = unpack "nnNNCC", $tcp;
    print join(" ", length $packet, join(".", unpack "C4", $source), $from, join(".", unpack "C4", $target), $to, $flags,
      checksum($source . $target . pack("xCn", 6, length $tcp) . $tcp));`);
  expect(told).toBe("40 198.51.100.7 80 192.168.1.10 40000 2 0");
});

test("a bond is dead a second after another one lives, and after its own time where none does", () => {
  /** At each time, s, whether the bond and another one live: when it is dead. */
  const told = (alone: number, ...course: [at: number, lives: 0 | 1, others: 0 | 1][]) =>
    run(`
      my $bond = { dead => 0 };
      for (${course.map((each) => `[${each}]`).join()}) {
        my ($at, $lives, $others) = @$_;
        $bond->{dead} = dead($bond, $lives, $others, ${alone}, $at);
        print "$at " if $bond->{dead};
      }`)
      .split(" ")
      .filter((at) => at !== "")
      .map(Number);
  expect(told(0, [0, 0, 1], [0.9, 0, 1], [1, 0, 1], [2, 0, 0], [3, 1, 0], [3.1, 0, 1])).toEqual([1, 2]);
  expect(told(15, [0, 0, 0], [14.9, 0, 0], [15, 0, 0], [16, 1, 0])).toEqual([15]);
  // All were dead, and the other is back a moment earlier.
  expect(told(15, [0, 0, 0], [8, 0, 1], [8.5, 0, 1], [8.9, 1, 1])).toEqual([]);
  expect(told(0, [0, 0, 0], [1000, 0, 0])).toEqual([]);
});
