#!/usr/bin/perl
# hangup TABLE SET NETWORK,... ALONE FOLDER TRIAL BOND,MARK...: ends the TCP connections of a bond that is dead, so that whoever has
# one learns of it at once. NETWORKs (a.b.c.d/n) are the site's own.
#
# A bond is dead when it has had no live slave for a second while another one has, or for ALONE seconds (0: never): a moment
# without any line is nobody's end, nor is a change of ours while its file TRIAL is there, however long it takes. Dead is one,
# too, that has had a file in FOLDER for a second: another way was found to be better (detour). Its mark then stands in the
# nftables SET of TABLE, by which the rules answer what a site's machine still sends over such a connection with a reset. One
# that only listens, as a download does, sends nothing: so each is asked once for its state, by a SYN in the far end's name,
# which a TCP answers with an acknowledgement whatever its number (RFC 5961, 4); the reset of that is true to the byte. On HUP the
# marks are set anew: whoever loads the table afresh sends it. It stands on perl-base, which every Debian has, nft and conntrack.
use strict;
use warnings;
use Socket qw(AF_INET SOCK_RAW inet_aton pack_sockaddr_in);

# Seconds without a live slave after which a bond is dead where another one lives, and between two looks.
my ($patience, $pause) = (1, 0.2);

# Seconds since the boot, of a clock that nobody sets. (That of times(2) turns over within months where programs have 32 bits.)
sub now {
  open my $file, "<", "/proc/uptime" or die "/proc/uptime: $!\n";
  return (split " ", <$file>)[0];
}

sub carrier {
  my ($bond) = @_;
  open my $file, "<", "/sys/class/net/$bond/carrier" or return 0;
  return (<$file> // 0) == 1;
}

sub within {
  my ($address, @networks) = @_;
  my $number = unpack "N", inet_aton($address);
  return grep {
    my ($network, $bits) = split m{/};
    my $shift = 32 - $bits;
    ($number >> $shift) == (unpack("N", inet_aton($network)) >> $shift);
  } @networks;
}

# The site's end of each TCP connection with a mark, and the far one: [address, port, far address, far port].
sub connections {
  my ($listing, $mark, @networks) = @_;
  my @found;
  for (@$listing) {
    next unless /\btcp\b.* ESTABLISHED / && /\bmark=$mark\b/;
    my ($source, $target, $from, $to) = /src=([\d.]+) dst=([\d.]+) sport=(\d+) dport=(\d+)/ or next;
    if (within($source, @networks)) { push @found, [$source, $from, $target, $to] }
    elsif (within($target, @networks)) { push @found, [$target, $to, $source, $from] }
  }
  return @found;
}

sub checksum {
  my ($data) = @_;
  my $sum = unpack "%32n*", length($data) % 2 ? "$data\0" : $data;
  $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
  return ~$sum & 0xffff;
}

# A SYN from the far end to the site's (RFC 9293, 3.1); the kernel fills in the IP header's own checksum.
sub question {
  my ($address, $port, $far, $far_port) = @_;
  my ($from, $to) = (inet_aton($far), inet_aton($address));
  my $tcp = pack "nnNNCCnnn", $far_port, $port, int(rand 2**32), 0, 5 << 4, 0x02, 1024, 0, 0;
  substr $tcp, 16, 2, pack("n", checksum($from . $to . pack("xCn", 6, length $tcp) . $tcp));
  return pack("CCnnnCCna4a4", 0x45, 0, 20 + length $tcp, 0, 0, 64, 6, 0, $from, $to) . $tcp;
}

sub hang_up {
  my ($socket, $bond, $mark, @networks) = @_;
  open my $file, "-|", "conntrack -L -p tcp -o extended 2>/dev/null" or die "conntrack: $!\n";
  my @connections = connections([<$file>], $mark, @networks);
  close $file or print "$bond: its connections can't be listed: conntrack -L fails\n";
  for (@connections) {
    send $socket, question(@$_), 0, pack_sockaddr_in(0, inet_aton($_->[0]));
  }
  print "$bond is dead: ", scalar @connections, " connections over it are at their end\n";
}

# Whether a bond is dead, 1 or 0. Its time counts anew where another one begins to live: both may come back at once.
sub dead {
  my ($bond, $lives, $others, $alone, $now) = @_;
  my $wait = $others ? $patience : $alone;
  if ($lives || !$wait) { undef $bond->{since} }
  elsif (!defined $bond->{since} || $bond->{others} != $others) { @$bond{qw(since others)} = ($now, $others) }
  return !$lives && ($bond->{dead} || defined $bond->{since} && $now - $bond->{since} >= $wait) ? 1 : 0;
}

sub main {
  my ($table, $set, $networks, $alone, $folder, $trial, @words) = @_;
  my @networks = split /,/, $networks;
  my @bonds = map { my ($name, $mark) = split /,/; { name => $name, mark => $mark, dead => 0 } } @words;
  socket my $socket, AF_INET, SOCK_RAW, 255 or die "no socket: $!\n";
  my ($ended, $anew) = (0, 0);
  $SIG{TERM} = $SIG{INT} = sub { $ended = 1 };
  $SIG{HUP} = sub { $anew = 1 };
  my $mark = sub { my ($word, $bond) = @_; return system "nft $word element $table $set '{ $bond->{mark} }'" };
  $| = 1;
  until ($ended) {
    my $now = now();
    if ($anew) {
      $anew = 0;
      $mark->("add", $_) for grep { $_->{dead} } @bonds;
    }
    my @live = grep { carrier($_->{name}) && !-e "$folder/$_->{name}" } @bonds;
    for my $bond (@bonds) {
      my $lives = grep { $_ == $bond } @live;
      my $others = @live || -e "$folder/$bond->{name}" ? 1 : 0;
      my $dead = dead($bond, $lives, $others, -e $trial ? 0 : $alone, $now);
      next if $dead == $bond->{dead};
      my $failed = $mark->($dead ? "add" : "delete", $bond);
      next if $failed && $dead;
      $bond->{dead} = $dead;
      if ($dead) { hang_up($socket, $bond->{name}, $bond->{mark}, @networks) }
      else { print "$bond->{name} lives again\n" }
    }
    select undef, undef, undef, $pause;
  }
}

main(@ARGV) unless caller;
1;
