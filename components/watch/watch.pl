#!/usr/bin/perl
# watch [--silence TABLE] SERVER[,SERVER...] PROBES LOSS CLEAN LINE...: takes a line out of the bond that loses part of its
# packets, and uses it again when it no longer does. Each LINE is NAME,MARK,TAP[,TAP...].
#
# PROBES empty pings a second go to SERVER over each line, outside the tunnels: by their mark they leave by the line's own
# box, so that they tell of a line whether its tunnels are used or not. Where it answers by none, the next SERVER is asked.
# A line of which LOSS per cent are lost over 10 s goes out, if another is better; after CLEAN seconds without loss it is
# back. While it is out its taps have no carrier on this end: no ARP probe and no packet leaves by them, and so the far
# end's bond leaves them too. Where there are no ARP probes its mark stands in the set `lossy` of our firewall's TABLE, so
# that nothing of its tunnels leaves: the far end's keepalive then takes them for dead. What still comes by them is taken
# until then. On HUP the marks are set anew: whoever loads the table afresh sends it.
# It stands on what every Debian has: perl-base, without Time::HiRes.
use strict;
use warnings;
use Socket qw(AF_INET SOCK_RAW SOL_SOCKET MSG_DONTWAIT inet_aton pack_sockaddr_in unpack_sockaddr_in);

# Seconds over which loss is counted, and after which a probe counts as lost: a full box may hold it for that long.
my ($window, $patience) = (10, 2);

# Seconds without any answer after which another server is asked, and after which it is told that none is to be had though lines
# have tunnels: a server, or its provider, may drop pings.
my ($elsewhere, $blind) = (5, 60);

# A sample of a line that loses just LOSS per cent may show a little less: a line is bad from a sixth less. It is
# dirty from a quarter of that: any line may lose a packet. One that was silent for two seconds was dead.
sub rules {
  my ($probes, $loss, $clean) = @_;
  my $count = $window * $probes;
  my $bad = $count * $loss / 100 * 5 / 6;
  return { step => 1 / $probes, count => $count, bad => $bad, dirty => $bad / 4, dead => 2 * $probes, clean => $clean };
}

# A line begins as one that is used and has lost nothing.
sub line {
  my ($name, $mark, @taps) = @_;
  my %calm = (outcomes => [], lost => 0, silent => 0, dirty => -1e9, revived => [-1e9, -1e9], out => 0, given => 0, down => 0);
  return { name => $name, mark => $mark, taps => \@taps, %calm };
}

# Notes what became of the probes sent at one moment, one for each line. Where all were lost it was not the lines, and of none
# is anything known: what was clean before is no cleaner for that. Says whether any was heard.
sub note {
  my ($lines, $arrived, $now, $rules) = @_;
  if (!grep { $_ } @$arrived) {
    $_->{dirty} += $rules->{step} for @$lines;
    return 0;
  }
  for my $n (0 .. $#$lines) {
    my $line = $lines->[$n];
    if (!$arrived->[$n]) {
      $line->{silent}++;
      next;
    }
    # It speaks again. If it was dead the bond has seen that by itself, and uses it again at once; but not for the third
    # time within CLEAN seconds, nor where it died while it was out: then all was loss.
    my $dead = $line->{silent} >= $rules->{dead};
    my $excused = $dead && !$line->{out} && $now - $line->{revived}[0] >= $rules->{clean};
    count($line, 1, $now, $rules) for 1 .. ($excused ? 0 : $line->{silent});
    count($line, 0, $now, $rules);
    $line->{revived} = [$line->{revived}[1], $now] if $dead;
    $line->{silent} = 0;
  }
  return 1;
}

sub count {
  my ($line, $lost, $now, $rules) = @_;
  my $outcomes = $line->{outcomes};
  push @$outcomes, $lost;
  $line->{lost} += $lost;
  $line->{lost} -= shift @$outcomes if @$outcomes > $rules->{count};
  $line->{dirty} = $now if $lost && $line->{lost} >= $rules->{dirty};
}

# Which lines go out or come back at a moment; where none is better, a bad one stays: something has to carry the traffic. None is
# better whose slaves the bond has found dead, which it sees seconds before the probes do. One that was only given back is judged as
# one that is out.
sub judge {
  my ($lines, $now, $rules) = @_;
  my @changed;
  for my $line (@$lines) {
    my $good = sub { !$_[0]{down} && $_[0]{lost} < $rules->{bad} && $_[0]{silent} < $rules->{dead} };
    my $better = grep { $_ != $line && !$_->{out} && $good->($_) } @$lines;
    my $clean = $now - $line->{dirty} >= $rules->{clean} && $line->{silent} < $rules->{dead};
    my $out = $better && ($line->{out} || $line->{given} ? !$clean : $line->{lost} >= $rules->{bad}) ? 1 : 0;
    $line->{given} = 0 if $better;
    next if $out == $line->{out};
    @$line{qw(out given)} = ($out, !$better);
    push @changed, $line;
    my $found = "$line->{lost} of its last " . @{ $line->{outcomes} } . " probes lost";
    print "$line->{name} is ", $out ? "out" : "used again", ": $found\n";
  }
  return @changed;
}

# Seconds since the boot, of a clock that nobody sets. (That of times(2) turns over within months where programs have 32 bits.)
sub now {
  open my $file, "<", "/proc/uptime" or die "/proc/uptime: $!\n";
  return (split " ", <$file>)[0];
}

# An ICMP echo request (RFC 792) without data.
sub echo {
  my ($id, $sequence) = @_;
  my $sum = 0x0800 + $id + $sequence;
  $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
  return pack "CCnnn", 8, 0, ~$sum & 0xffff, $id, $sequence;
}

# The table of the set of silent lines' marks; undefined where the far end has ARP probes.
our $table;

# Gives the lines' taps their carrier, or takes it. A tap that no tunnel holds can have none, and gets one with a tunnel.
sub apply {
  for my $line (@_) {
    my ($carrier, $element) = $line->{out} ? ("off", "add") : ("on", "delete");
    system "ip link set dev $_ carrier $carrier 2>/dev/null" for @{ $line->{taps} };
    system "nft $element element inet $table lossy '{ $line->{mark} }' 2>/dev/null" if defined $table;
  }
}

# Whether the kernel says so of any tap of a line, in a file below the tap's own in /sys.
sub any_tap {
  my ($line, $name, $says) = @_;
  for my $tap (@{ $line->{taps} }) {
    open my $file, "<", "/sys/class/net/$tap/$name" or next;
    return 1 if (<$file> // "") eq "$says\n";
  }
  return 0;
}

# A tunnel that was opened anew has brought its carrier with it.
sub has_carrier { return any_tap($_[0], "carrier", 1) }

# Whether no tap of a line is a live slave.
sub is_down { return !any_tap($_[0], "bonding_slave/mii_status", "up") }

# Uses all lines again where none of those in use is up: of a server that is dead nothing is heard, and its backup is to be
# reached by whatever there is.
sub give_back {
  my ($lines) = @_;
  my @out = grep { $_->{out} } @$lines;
  return if grep { !$_->{out} && !$_->{down} } @$lines;
  print "$_->{name} is used again: no other line is up\n" for @out;
  @$_{qw(out given)} = (0, 1) for @out;
  return @out;
}

# Tells once whether loss can be seen, and whenever that changes.
sub tell_sight {
  my ($sight, $heard, $server, $lines, $now) = @_;
  $sight->{heard} = $now if $heard || !defined $sight->{heard};
  return if !$heard && ($now - $sight->{heard} < $blind || !grep { !$_->{out} && has_carrier($_) } @$lines);
  return if defined $sight->{seen} && $sight->{seen} == $heard;
  $sight->{seen} = $heard;
  print $heard ? "$server answers probes: loss is seen\n" : "no server answers a probe by any line: loss is not seen\n";
}

sub main {
  (undef, $table) = splice @_, 0, 2 if $_[0] eq "--silence";
  my ($servers, $probes, $loss, $clean, @words) = @_;
  my ($server, @others) = split /,/, $servers;
  my @lines = map { line(split /,/) } @words;
  my $rules = rules($probes, $loss, $clean);
  my ($icmp, $so_mark) = (1, 36);
  socket my $socket, AF_INET, SOCK_RAW, $icmp or die "no socket: $!\n";
  my $late = $patience * $probes;
  my $ring = 2 * $late;
  my ($sequence, $ended, $anew, $unheard, %sight, @answered) = (0, 0, 0, 0);
  $SIG{TERM} = $SIG{INT} = sub { $ended = 1 };
  $SIG{HUP} = sub { $anew = 1 };
  $| = 1;
  apply(@lines);
  my $next = now();
  until ($ended) {
    my $to = pack_sockaddr_in(0, inet_aton($server));
    for my $n (0 .. $#lines) {
      setsockopt $socket, SOL_SOCKET, $so_mark, pack("i", $lines[$n]{mark}) or die "no mark: $!\n";
      # A line without a way out is one that does not answer.
      send $socket, echo(($$ + $n) & 0xffff, $sequence & 0xffff), 0, $to;
      $answered[$n][$sequence % $ring] = 0;
    }
    # Whoever was held up goes on from now: what was not sent was not lost.
    my $now = now();
    $next = ($next > $now - 1 ? $next : $now) + 1 / $probes;
    while (!$ended && (my $left = $next - now()) > 0) {
      my $ready = "";
      vec($ready, fileno($socket), 1) = 1;
      last if select($ready, undef, undef, $left) <= 0;
      my $from = recv $socket, my $packet, 128, MSG_DONTWAIT;
      next if !defined $from || (unpack_sockaddr_in($from))[1] ne inet_aton($server);
      my ($type, undef, undef, $id, $number) = unpack "CCnnn", substr $packet, 4 * (ord($packet) & 15);
      my ($n, $ago) = (($id - $$) & 0xffff, ($sequence - $number) & 0xffff);
      $answered[$n][($sequence - $ago) % $ring] = 1 if $type == 0 && $n <= $#lines && $ago <= $late;
    }
    if ($sequence >= $late) {
      my $sent = $now - $patience;
      my $heard = note(\@lines, [map { $_->[($sequence - $late) % $ring] } @answered], $sent, $rules);
      $_->{down} = is_down($_) for @lines;
      apply($heard ? judge(\@lines, $sent, $rules) : give_back(\@lines));
      tell_sight(\%sight, $heard, $server, \@lines, $now);
      $unheard = $heard ? 0 : $unheard + 1;
      if ($unheard >= $elsewhere * $probes) {
        push @others, $server;
        ($server, $unheard) = (shift @others, 0);
      }
    }
    my $all = $anew;
    $anew = 0;
    apply(grep { $_->{out} && ($all || has_carrier($_)) } @lines);
    $sequence++;
  }
  $_->{out} = 0 for @lines;
  apply(@lines);
}

main(@ARGV) unless caller;
1;
