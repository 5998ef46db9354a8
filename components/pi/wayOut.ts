import type { Plan } from "../../site/plan.ts";

/**
 * The Pi's check of the LAN's way out. Packets with the Pi's LAN address go through the bond towards an address on the internet, and
 * die at the first routers behind the server (their TTL is 2 to 4; the server itself takes the first hop). Whoever answers proves
 * that the server passes the LAN's traffic on under an address of its own, and finds the way back. Nobody's host is asked for it but
 * where none of these routers tells.
 */
export interface WayOut {
  /** Shell functions that the check begins with. */
  functions: string;
  /** What `check count` prints after the number of slaves: whether the way out works. */
  counted: string;
  /** The check's lines that demand it, where it is to work. */
  demanded: string;
}

/** The check's texts; empty ones where the site wants no such check. */
export function renderWayOut({ pi, server, wayOut: towards }: Plan): WayOut {
  if (towards === false) return { functions: "", counted: "", demanded: "" };
  const nobody = [pi.address, pi.bondAddress, pi.peerAddress, server.address]
    .map((own) => `-e ${own}`)
    .join(" ");
  return {
    functions: `
# Whether the LAN's traffic leaves by the server: a packet of the LAN's dies at the first routers behind it, and who answers
# proves it. ${towards} itself is asked only where none of them tells.
ask_behind() { # ask_behind TTL...: all at once, for 2 s
  for hops in "$@"; do ping -n -c 1 -W 2 -t "$hops" -I ${pi.bond} -I ${pi.address} ${towards} 2>&1 & done |
    sed -nE 's/^(From|[0-9]+ bytes from) ([0-9.]+)[: ].*/\\2/p' | grep -qvxF ${nobody}
}
way_out() { ask_behind 2 3 4 || ask_behind 64; }
`,
    counted: '$(way_out && echo " out")',
    demanded: `case $1 in
  all | *" out") way_out || fail "nothing behind the server answers: what comes from the LAN does not leave there, or neither the provider's routers nor ${towards} tell (activation.wayOut in the config)" ;;
esac
`,
  };
}
