import { everyServer, type Plan } from "../../site/plan.ts";
import { namesOf } from "../names.ts";

/** What the Pi's check says of the LAN's way out. */
export interface WayOut {
  /** Shell functions that the check begins with. */
  functions: string;
  /** What `check count` prints after the number of slaves: whether the way out works. */
  counted: string;
  /** The check's lines that demand it, where it is to work, and set $way. */
  demanded: string;
}

/**
 * A shell function that asks for a proof that traffic gets out. Packets towards an address on the internet die at the first routers on
 * their way (their TTL is 2 to 4: the server itself, or the box, takes the first hop). Whoever answers proves that packets are passed on
 * under an address that the answer finds back to. Nobody's host is asked for it but where none of these routers tells.
 * @param near the shell's words for who else proves nothing, as grep's options
 */
export function behind(plan: Plan, near = ""): string {
  const ends = everyServer(plan).flatMap(({ pi, server }) => [
    pi.address,
    pi.bondAddress,
    pi.peerAddress,
    server.address,
  ]);
  const nobody = [...new Set(ends)].map((own) => `-e ${own}`).join(" ");
  return `
# Whether anybody further on tells of packets that leave as HOW says, in ping's words, and die after TTL hops; all at once, for 2 s or $patience.
behind() { # behind HOW TTL...
  asked=$1
  shift
  # shellcheck disable=SC2086 # they are words
  for hops in "$@"; do ping -4 -n -c 1 -W "\${patience:-2}" -t "$hops" $asked ${plan.wayOut} 2>&1 & done |
    sed -nE 's/^(From|[0-9]+ bytes from) ([0-9.]+)[: ].*/\\2/p' | grep -qvxF ${nobody}${near}
}
`;
}

/**
 * The Pi's check of the LAN's way out: packets with the Pi's LAN address are sent through the bond. Where the site's traffic was led round
 * a server that passes nothing on (components/detour), it may stay so if it did before.
 */
export function renderWayOut(plan: Plan): WayOut {
  const { pi, wayOut } = plan;
  const how = bound(pi.bond, plan);
  const leaves = `ip -4 route get 192.0.2.1 | grep -qw "dev ${pi.bond}"`;
  const way = `way="and traffic leaves through ${pi.bond}"`;
  const astray = `fail "traffic does not leave through ${pi.bond}"`;
  if (wayOut === false) return { functions: "", counted: "", demanded: `${leaves} || ${astray}\n${way}` };
  return {
    functions: `${behind(plan)}
# Once more: routers tell of a packet a second or so, and others ask them, too.
way_out() { behind "${how}" 2 3 4 || behind "${how}" 64 || { sleep 1 && behind "${how}" 2 3 4; }; }
`,
    // Where no slave is up nothing is known of it: then it is demanded, for the far end may be another one, made anew.
    counted: '$({ [ "$up" = 0 ] || way_out; } && echo " out")',
    demanded: `${way}
case $1 in
  all | *" out") way_out || fail "nothing behind the server answers: what comes from the LAN does not leave there, or neither the provider's routers nor ${wayOut} tell (activation.wayOut in the config)" ;;
  *) [ ! -e ${namesOf(plan).detourFolder}/${pi.bond} ] || way="but nothing behind the server answers, and traffic goes another way" ;;
esac
case $way in and*) ${leaves} || ${astray} ;; esac`,
  };
}

/** Ping's words for what goes through a bond as the LAN's does. */
export function bound(bond: string, { pi }: Pick<Plan, "pi">): string {
  return `-I ${bond} -I ${pi.address}`;
}
