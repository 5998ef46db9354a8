#!/bin/sh
# Tells who else offers addresses on the LAN, `offers=ADDRESS` each: a DHCP discovery that is answered within 3 s, by
# anybody but this host. Nothing is taken of what is offered. Other scripts that tell facts come after this one.
#
# In its environment: LAN, the interface; OWN, this host's address on it.
: "${LAN:?}" "${OWN:?}"

# The packet is RFC 2131's, with the broadcast flag; its client is nobody, so that no lease of this host is touched.
# shellcheck disable=SC2016 # the variables are Perl's
perl -e '
  use Socket;
  my ($name, $own) = @ARGV;
  socket(my $socket, AF_INET, SOCK_DGRAM, 17) or exit;
  setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
  setsockopt($socket, SOL_SOCKET, SO_BROADCAST, 1);
  setsockopt($socket, SOL_SOCKET, 25, "$name\0") or exit; # SO_BINDTODEVICE
  bind($socket, pack_sockaddr_in(68, INADDR_ANY)) or exit;
  my $id = int(rand(2 ** 32));
  my $client = pack("H12 x10", "02adb0000001");
  my $discover = pack("C4 N n2 x16", 1, 1, 6, 0, $id, 0, 0x8000) . $client . pack("x192 N", 0x63825363) . pack("C*", 53, 1, 1, 255);
  my %told; my $end = time + 3; alarm 4;
  send($socket, $discover . "\0" x 60, 0, pack_sockaddr_in(67, INADDR_BROADCAST));
  while (time < $end) {
    my $ready = ""; vec($ready, fileno($socket), 1) = 1;
    next unless select($ready, undef, undef, 0.5);
    defined recv($socket, my $text, 2048, 0) or next;
    next unless length $text > 240 && unpack("N", substr($text, 4, 4)) == $id && ord($text) == 2;
    my $options = substr($text, 240);
    while ($options =~ /^\0*([^\0\xff])(.)/s) {
      my ($code, $length) = (ord $1, ord $2);
      $options =~ s/^\0*..//s;
      my $server = $code == 54 ? inet_ntoa(substr($options, 0, 4)) : $own;
      print "offers=$server\n" unless $server eq $own || $told{$server}++;
      $options = substr($options, $length);
    }
  }' "$LAN" "$OWN" </dev/null 2>/dev/null
