import { everyServer, type Plan } from "../../site/plan.ts";
import { shaperModules } from "../shaper/script.ts";
import { bondNetworks } from "./networks.ts";
import { tunnelPorts } from "./ports.ts";

/** What look.sh told of a host, by its keys. */
export type Facts = Map<string, string[]>;

/**
 * The ports of one server that its lines are to be tried with, as look.sh on the Pi takes them: those that it listens on.
 * @param facts what the look at the server told
 */
export function triesOf({ lines, server }: Plan, facts: Facts): string[] {
  const listening = facts.get("listening") ?? [];
  return lines.flatMap(({ name, protocol, tunnelPlans }) =>
    tunnelPlans
      .filter(({ port }) => listening.includes(`${protocol} ${port}`))
      .map(({ port }) => [name, protocol, server.address, port].join()),
  );
}

/**
 * look.sh's environment for one end.
 * @param probe whether the lines are to be tried
 * @param tries on the Pi, what with
 */
export function lookEnvironment(
  plan: Plan,
  end: "pi" | "server",
  probe: boolean,
  tries: string[] = [],
): Record<string, string> {
  const bonds = end === "pi" ? everyServer(plan) : [plan];
  return {
    SITE: plan.site,
    ROLE: end,
    BONDS: bonds.map((each) => each[end].bond).join(" "),
    PORTS: (end === "pi" ? lanPorts(plan) : serverPorts(plan)).map((words) => words.join()).join(" "),
    TRIES: tries.join(" "),
    NETWORKS: end === "pi" ? "" : bondNetworks(plan).join(" "),
    LINES: plan.lines.map((line) => [line.name, line.gateway, line.interface].join()).join(" "),
    LET: [...plan[end].letThrough.forward, ...plan[end].letThrough.input]
      .map((chain) => chain.replaceAll(" ", ","))
      .join(" "),
    MODULES: ["bonding", "tun", "nf_tables", ...shaperModules(plan)].join(" "),
    PROBE: probe ? "yes" : "no",
  };
}

function serverPorts(plan: Plan) {
  return tunnelPorts(plan).map(({ protocol, port }) => [protocol, port, plan.vpn.bind ?? "", ""]);
}

/** What dnsmasq answers on. */
function lanPorts({ lan, pi }: Plan) {
  if (!lan) return [];
  return [
    ...["udp", "tcp"].map((protocol) => [protocol, 53, pi.address, pi.interface]),
    ...(lan.dhcp ? [["udp", 67, "", pi.interface]] : []),
  ];
}
