import { leavesDirectly } from "../../site/bypass.ts";
import { encapsulations } from "../../site/mtu.ts";
import type { Plan } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { directCounter } from "../pi/boxes.ts";

/** What the Pi's shaper counts of the traffic that leaves past the bond. */
export interface Counting {
  table: string;
  /** Reading the counters empties them: the main bond's shaper alone does, and tells those of the other bonds by a file. */
  who: "alone" | "tells" | "is told";
  /** The file's folder in /run. */
  folder: string;
  /** By counter: what a packet costs besides its own bytes, and what a byte then comes to on the line. */
  costs: { counter: string; packet: number; byte: string }[];
  /** What is taken from a tap's rate, in the shell's words: its tunnel's part of what its line carries directly. */
  share(tap: string): string;
}

/** Undefined where nothing ever leaves past the bond. */
export function planCounting({ at, backups, lines, direct }: Plan, names: Names): Counting | undefined {
  if (!leavesDirectly(direct)) return undefined;
  return {
    table: names.nftTable,
    who: at !== "" ? "is told" : backups.length > 0 ? "tells" : "alone",
    folder: names.directRuntime,
    costs: lines.map(({ name, encapsulation }) => {
      const { overhead, cells } = encapsulations[encapsulation];
      // A packet's last cell is half empty on average.
      return {
        counter: directCounter(name),
        packet: overhead + (cells ? 24 : 0),
        byte: cells ? "53/48" : "1",
      };
    }),
    share(tap) {
      const line = lines.find(({ tunnelPlans }) => tunnelPlans.some(({ piTap }) => piTap === tap))!;
      const tunnels = line.tunnelPlans.length;
      const counter = directCounter(line.name);
      return tunnels === 1 ? `$${counter}` : `$((${counter} / ${tunnels}))`;
    },
  };
}

/** However much leaves by a box directly, a tenth of the line stays the tunnels'. */
export const leaveRoom = `  least=$((rate / 10))
  rate=$((rate - less))
  [ "$rate" -ge "$least" ] || rate=$least
`;

/** Sets, for each counter, a variable of its name to what the line carried since the last count, bit/s in steps of 16000. */
export function renderCount({ table, who, folder, costs }: Counting): string {
  const file = `/run/${folder}/rates`;
  if (who === "is told") {
    const none = costs.map(({ counter }) => `${counter}=0`).join(" ");
    return `# What leaves by each box past the tunnels, bit/s of its line, as the main bond's shaper has counted it.
count() {
  { read -r direct <${file}; } 2>/dev/null || direct="${none}"
  eval "$direct"
}

`;
  }
  const rates = costs.map(
    ({ counter, packet, byte }) =>
      `      printf "${counter}=%d ", int((bytes["${counter}"] + ${packet} * packets["${counter}"]) * ${byte} * 8 / seconds / 16000 + 0.5) * 16000`,
  );
  return `# What left by each box past the tunnels since the last count, bit/s of its line, in steps that make no trifle a change.
count() {
  read -r now _ </proc/uptime
  direct=$(nft reset counters table inet ${table} 2>/dev/null | awk -v now="$now" -v last="\${last:-0}" '
    $1 == "counter" { name = $2 }
    $1 == "packets" { packets[name] = $2; bytes[name] = $4 }
    END {
      seconds = now - last < 0.5 ? 0.5 : now - last
${rates.join("\n")}
    }')
  last=$now
  eval "$direct"
${who === "tells" ? `  echo "$direct" >${file}.new\n  mv ${file}.new ${file}\n` : ""}}

`;
}
