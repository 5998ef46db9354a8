#!/bin/sh
# Functions of look.sh about ports, and others' firewalls: whether others have them, and whether the tunnels' packets will get
# through, before there is a tunnel. The server listens on the tunnels' ports, and the Pi asks each of them through the line
# that its tunnel is to use. Both ends stand on what every Debian has: perl-base and iproute2.

# holder PROTOCOL PORT ADDRESS INTERFACE: who has a port that is to be ours, a program's name, or another site's; nothing where
# it is free, or ours already. Without an address, or an interface, all are meant.
holder() {
  ss -Hlnp "--$1" "sport = :$2" | while read -r _ _ _ at _ users; do
    at=${at%:*} device=
    case $at in
      \[*) continue ;; # IPv6 alone
      *%*) device=${at#*%} ;;
    esac
    case ${at%%\%*} in
      '*' | 0.0.0.0) ;;
      *) [ -z "$3" ] || [ "${at%%\%*}" = "$3" ] || continue ;;
    esac
    [ -z "$device" ] || [ -z "$4" ] || [ "$device" = "$4" ] || continue
    pid=${users#*pid=} name=${users#*\"}
    # Several dnsmasq share that port, each for networks of its own (SO_REUSEPORT).
    [ "$2 ${name%%\"*}" != "67 dnsmasq" ] || continue
    unit=$(cat "/proc/${pid%%,*}/cgroup" 2>/dev/null)
    case $unit in
      *"/adsl-$SITE-"*) continue ;;
      */adsl-*-tunnel@*) unit=${unit##*/adsl-} && echo "the site ${unit%%-*}" ;;
      *) [ -n "$users" ] && echo "${name%%\"*}" || echo "another program" ;;
    esac
    break
  done
}

# few_logins PORT...: of a ruleset, as nft or iptables lists it, the first rule that lets but so many call one of these ports
# within a time, or at once, as ufw's `limit` does; nothing where there is none, or it counts by the second.
few_logins() {
  ports=$(echo "$*" | tr ' ' '|')
  grep -E "dports?[^0-9]+([0-9,: -]*[^0-9])?($ports)([^0-9]|\$)" |
    grep -wE 'recent|hashlimit|connlimit|limit|meter|ct count' | grep -vwiE 'log|[0-9]+/sec(ond)?' |
    sed 's/^[[:space:]]*//; 1q'
}

# reached CHAIN: of a table, as `nft -s list table` shows it, the rules of a chain, and of all that these lead to, with the sets
# and maps by which they may go.
reached() {
  awk -v first="$1" '
    $1 == "chain" { chain = $2; next }
    $1 == "set" || $1 == "map" { chain = ""; named = 1 }
    $1 == "}" { chain = ""; named = 0; next }
    named { sets = sets $0 "\n" }
    chain != "" && $1 != "type" { rules[chain] = rules[chain] $0 "\n" }
    END {
      seen[chains[n = 1] = first]
      for (i = 1; i <= n; i++) {
        text = (i == 1 ? sets : "") rules[chains[i]]
        printf "%s", text
        while (match(text, /(jump|goto) [^[:space:],;}]+/)) {
          next_one = substr(text, RSTART + 5, RLENGTH - 5)
          text = substr(text, RSTART + RLENGTH)
          if (!(next_one in seen)) seen[chains[++n] = next_one]
        }
      }
    }'
}

# closes CHAIN: whether a chain of a table, shown so, drops what none of its rules takes: by its policy, or by a last rule, be it
# another chain's that it leads to, from which nothing comes back.
closes() {
  awk -v chain="$1" '
    $1 == "chain" { name = $2; next }
    $1 == "}" { name = ""; next }
    $1 == "type" { policy[name] = /policy drop/; next }
    name != "" {
      gsub(/(^|[[:space:]])(log( (prefix|level|group|snaplen|queue-threshold) ("[^"]*"|[^ ]+)| flags (all|skuid|ether|ip options|tcp [^ ]+))*|counter( name [^ ]+| packets [0-9]+ bytes [0-9]+)?|comment "[^"]*")/, "")
      gsub(/^[[:space:]]+|[[:space:]]+$/, "")
      if ($0 != "") last[name] = $0
      if (/(^| )return$/) returns[name] = 1
    }
    END {
      if (policy[chain]) exit 0
      for (depth = 0; depth < 16 && last[chain] ~ /^(jump|goto) [^ ]+$/; depth++) {
        chain = substr(last[chain], 6)
        if (returns[chain]) exit 1
      }
      exit last[chain] !~ /^(drop|reject( .*)?|xt target "(DROP|REJECT)")$/
    }'
}

# listen FILE PROTOCOL,PORT,ADDRESS...: answers on all of these ports for 60 s, in the background, and tells each. FILE keeps
# its process' number.
listen() {
  # A listener of a look just before, by a preview say, may still be there.
  earlier=$(cat "$1" 2>/dev/null)
  if [ -n "$earlier" ] && grep -qs adsl-bonding-probe "/proc/$earlier/cmdline"; then
    kill "$earlier"
    sleep 0.2
  fi
  # shellcheck disable=SC2016 # the variables are Perl's
  perl -MIO::Socket::INET -e '
    my ($file, @ports) = @ARGV;
    my %sockets;
    $| = 1;
    for (@ports) {
      my ($protocol, $port, $address) = split /,/;
      my @tcp = $protocol eq "tcp" ? (Listen => 16, ReuseAddr => 1) : ();
      my $socket = IO::Socket::INET->new(Proto => $protocol, LocalPort => $port, LocalAddr => $address || "0.0.0.0", @tcp) or next;
      $sockets{fileno $socket} = $socket;
      print "listening=$protocol $port\n";
    }
    exit unless %sockets;
    $0 = "adsl-bonding-probe";
    defined(my $child = fork) or exit;
    if ($child) {
      open my $number, ">", $file;
      print $number "$child\n";
      exit;
    }
    # Whoever is logged in would wait for its end.
    open STDOUT, ">", "/dev/null";
    open STDERR, ">", "/dev/null";
    $SIG{PIPE} = "IGNORE";
    # The Pi asks when all servers were looked at, one that answers late or never among them.
    alarm 60;
    my $all = "";
    vec($all, $_, 1) = 1 for keys %sockets;
    for (;;) {
      select(my $ready = $all, undef, undef, undef);
      for (grep { vec $ready, $_, 1 } keys %sockets) {
        my $socket = $sockets{$_};
        if ($socket->socktype == SOCK_STREAM) {
          my $caller = $socket->accept or next;
          syswrite $caller, "adsl-bonding";
        } elsif (defined $socket->recv(my $text, 64)) {
          $socket->send($text);
        }
      }
    }' "$@" </dev/null 2>/dev/null
}

# ask LINE,GATEWAY,FROM,TO,PROTOCOL,SERVER,PORT...: tells which of them got no answer, after 4 s at most, all tried at once. Each
# leaves by a port from FROM to TO, for which there must be a route: where that went by a mark, strict reverse-path filtering
# would drop the answers. No answer of anybody else's, as of a provider that takes all TCP for itself, is taken for one.
ask() {
  # shellcheck disable=SC2016
  perl -MSocket -MIO::Handle -MPOSIX=times -e '
    my ($udp, $tcp, $word) = (17, 6, "adsl-bonding");
    my %tries;
    my $nth = 0;
    for (@ARGV) {
      my ($line, $gateway, $from, $to, $protocol, $server, $port) = split /,/;
      my $stream = $protocol eq "tcp";
      my $name = "$line $protocol $server $port $gateway";
      socket my $socket, PF_INET, $stream ? SOCK_STREAM : SOCK_DGRAM, $stream ? $tcp : $udp or die "no socket: $!\n";
      $from++ until bind $socket, pack_sockaddr_in($from, INADDR_ANY) or $from > $to;
      # Nothing of it stays behind at either end.
      setsockopt $socket, SOL_SOCKET, SO_LINGER, pack("ii", 1, 0) if $stream;
      $socket->blocking(0);
      $tries{fileno $socket} = { name => $name, nth => $nth++, socket => $socket, stream => $stream };
      connect $socket, pack_sockaddr_in($port, inet_aton($server));
    }
    sub now { (times)[0] / POSIX::sysconf(POSIX::_SC_CLK_TCK()) }
    my ($begin, %silent) = now();
    for my $round (1 .. 4) {
      for (values %tries) { syswrite $_->{socket}, $word unless $_->{stream} }
      while (%tries && (my $left = $begin + $round - now()) > 0) {
        my $ready = "";
        vec($ready, $_, 1) = 1 for keys %tries;
        last if select($ready, undef, undef, $left) <= 0;
        for (grep { vec $ready, $_, 1 } keys %tries) {
          my $count = sysread $tries{$_}{socket}, my $text, 64;
          my $try = $tries{$_};
          # UDP that is refused may still be answered to the next question.
          next if !$try->{stream} && !$count;
          $silent{$try->{nth}} = $try->{name} unless ($text // "") eq $word;
          delete $tries{$_};
        }
      }
    }
    $silent{$_->{nth}} = $_->{name} for values %tries;
    print "silent=$silent{$_}\n" for sort { $a <=> $b } keys %silent;' "$@" </dev/null
}
