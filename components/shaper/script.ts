import type { End, Plan } from "../../site/plan.ts";
import { hasQueues, type Shaping, type TapShare } from "../../site/shaping.ts";
import type { Names } from "../names.ts";
import { daemonUnit } from "../unit.ts";
import { type Counting, leaveRoom, renderCount } from "./direct.ts";

/**
 * The script that sets one end's queues and keeps them right: one cake on the bond at what its live slaves
 * carry, and the delays that make lines of unequal latency equal. It stands on the bond itself, not on each tap:
 * packets then leave in order and evenly, and the lines' own queues stay empty. Only where a bond gives its slaves
 * no equal shares does each tap have its own.
 */
export function renderShaper(
  end: End,
  { at }: Shaping,
  taps: TapShare[],
  host: "pi" | "server",
  counting?: Counting,
): string {
  const { bond } = end;
  const delays = areUnequal(taps);
  const onTaps = at === "eachSlave";
  // The far side of the bond is the site's LAN on the server, and the LAN's hosts are the senders on the Pi.
  const fairness = host === "pi" ? "dual-srchost" : "dual-dsthost";
  const known = ({ tap, rate, oneWay, framing }: TapShare) =>
    [
      `rate=${rate}`,
      ...(delays ? [`half=${oneWay}`] : []),
      ...(onTaps ? [`framing='${framing}'`] : []),
      ...(counting ? [`less=${counting.share(tap)}`] : []),
    ].join(" ");
  // What the queues were set for: the slaves, and what each line carries besides.
  const state = counting ? '"$* $direct"' : '"$*"';
  const slaves = taps.map(({ tap }) => tap);
  return `#!/bin/sh
# The queues of ${bond}, for as long as this runs: they follow the slaves as these die and come back.
# Called by systemd: watch, and off at the end.
set -eu

# What each tunnel carries away from here, bit/s${delays ? "; half of its line's round trip, µs" : ""}.
tunnel() {
  case $1 in
${taps.map((share) => `    ${share.tap}) ${known(share)} ;;`).join("\n")}
  esac
${counting ? leaveRoom : ""}}

${counting ? renderCount(counting) : ""}# The queues for these slaves, if they are not set already.${taps[0]!.framing ? why : ""}
shape() {
  [ ${state} != "$shaped" ] || return 0
${onTaps ? renderCakes(fairness, counting !== undefined) : renderCake(bond, taps, fairness, counting !== undefined)}  shaped=${counting ? state : "$*"}
}

${at === "activeSlave" ? followActive(bond) : followAll(slaves)}
watch() {
  shaped=
${counting ? "  count\n" : ""}  shape ${(at === "activeSlave" ? slaves.slice(0, 1) : slaves).join(" ")}
  # The kernel tells each change of a slave at once; the look every few seconds is for what may have been missed.
  {
    ip monitor link &
    while sleep ${counting ? 1 : 5}; do echo look; done
  } | while read -r ${counting ? countedLook : "_; do follow; done"}
}

off() {
  for device in ${[...(onTaps ? [] : [bond]), ...(delays || onTaps ? slaves : [])].join(" ")}; do
    tc qdisc del dev "$device" root 2>/dev/null || true
  done
}

"$1"
`;
}

const followAll = (
  slaves: string[],
) => `# The slaves that are up now. Where none is, nothing leaves, and the queues stay as they are.
follow() {
  set --
  for tap in ${slaves.join(" ")}; do
    { read -r status <"/sys/class/net/$tap/bonding_slave/mii_status"; } 2>/dev/null || continue
    [ "$status" != up ] || set -- "$@" "$tap"
  done
  [ $# -eq 0 ] || shape "$@"
}
`;

const followActive = (
  bond: string,
) => `# The slave that carries all now. Where none does, nothing leaves, and the queue stays as it is.
follow() {
  active=$(cat /sys/class/net/${bond}/bonding/active_slave 2>/dev/null)
  [ -z "$active" ] || shape "$active"
}
`;

const countedLook = `event; do
    [ "$event" != look ] || count
    follow
  done`;

/** Whether some taps have to wait for others. */
function areUnequal(taps: TapShare[]): boolean {
  return taps.some(({ oneWay }) => oneWay !== taps[0]!.oneWay);
}

/** The kernel's modules for the queues that the site wants. */
export function shaperModules({ shaping }: Plan): string[] {
  if (!shaping) return [];
  return [...(hasQueues(shaping) ? ["sch_cake"] : []), ...(areUnequal(shaping.pi) ? ["sch_netem"] : [])];
}

const why = ` A third of a second is what TCP takes over such lines;
# acknowledgements that a later one makes needless don't fill a slow uplink.`;
const manners = (fairness: string) => `diffserv4 ${fairness} ack-filter rtt 300ms`;

/**
 * The queue of the bond, where any is wanted, and the delays.
 * @param often whether the queue is set so often that its journal is to tell other slaves alone
 */
function renderCake(bond: string, taps: TapShare[], fairness: string, often: boolean): string {
  const { framing } = taps[0]!;
  const delays = areUnequal(taps);
  const cake = `  # Each of several is given the same in turn, so the slowest sets the pace.
  tc qdisc replace dev ${bond} root cake bandwidth $(($# * slowest))bit ${framing} \\
    ${manners(fairness)}
  ${untold(often)}echo "$*: $(($# * slowest / 1000)) kbit/s"
${often ? told : ""}`;
  return `  slowest=''${delays ? " longest=0" : ""}
  for tap; do
    tunnel "$tap"
    [ "\${slowest:-$rate}" -lt "$rate" ] || slowest=$rate
${delays ? '    [ "$longest" -ge "$half" ] || longest=$half\n' : ""}  done
${framing ? cake : ""}${delays ? renderDelays : ""}`;
}

/** A queue for each slave. */
function renderCakes(fairness: string, often: boolean): string {
  return `  for tap; do
    tunnel "$tap"
    tc qdisc replace dev "$tap" root cake bandwidth "\${rate}bit" $framing \\
      ${manners(fairness)}
    ${untold(often)}echo "$tap: $((rate / 1000)) kbit/s"
  done
${often ? told : ""}`;
}

const untold = (often: boolean) => (often ? `[ "$*" = "\${told:-}" ] || ` : "");
const told = "  told=$*\n";

/** The limit is far above what a line carries in its delay: this queue is never to drop. */
const renderDelays = `  for tap; do
    tunnel "$tap"
    tc qdisc replace dev "$tap" root netem limit 10000 delay $((longest - half))us
  done
`;

/** The unit that runs it. It may set queues, and nothing else. */
export function renderShaperUnit(names: Names, site: string, counting?: Counting): string {
  return daemonUnit({
    description: `queues of site ${site}`,
    needs: [names.bondUnit.name],
    runs: [
      "Type=exec",
      ...(counting?.who === "tells" ? [`RuntimeDirectory=${counting.folder}`] : []),
      `ExecStart=${names.shaperScript} watch`,
      `ExecStopPost=${names.shaperScript} off`,
    ],
    capabilities: "CAP_NET_ADMIN",
    families: "AF_NETLINK AF_UNIX",
  });
}
