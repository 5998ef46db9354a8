import type * as pulumi from "@pulumi/pulumi";
import { everyServer, type Plan } from "../../site/plan.ts";
import { countSlaves, renderCheck } from "../bond/script.ts";
import { Machine } from "../machine.ts";
import { namesOf } from "../names.ts";
import { pastBond } from "./boxes.ts";
import { canStray } from "./connections.ts";
import { askedOfPi, piFirewall } from "./firewall.ts";
import { gatewaysUnitText, renderGateways } from "./gateways.ts";
import { piRoutes } from "./routes.ts";
import { renderWayOut } from "./wayOut.ts";

/** The small Linux router at home: it chooses each tunnel's box, and is the LAN's gateway. */
export class Pi extends Machine {
  constructor(
    plan: Plan,
    programs: Promise<pulumi.Resource[]>,
    installation?: string,
    options?: pulumi.ComponentResourceOptions,
  ) {
    const { pi } = plan;
    const names = namesOf(plan);
    const wayOut = renderWayOut(plan);
    const texts = {
      routes: piRoutes(plan),
      firewall: piFirewall(plan),
      // The boxes' hardware addresses, which gateways.service would otherwise find again only when something moves.
      firewallAlso: `${names.gatewaysScript} set`,
      check: renderCheck(pi, plan, {
        functions: wayOut.functions,
        counted: wayOut.counted,
        bonds: everyServer(plan).map((each) => each.pi.bond),
        demands: `${backupsWork(plan)}${wayOut.demanded}`,
      }),
      sysctl: piSysctl(plan),
      asked: askedOfPi(plan),
      fillers: [
        ...(canStray(plan) ? [names.hangupUnit.name] : []),
        ...(plan.watch?.silence ? [names.watchUnit.name] : []),
      ],
      past: pastBond(plan),
      // hangup.pl lists connections by it; and not "dnsmasq": that one starts a service of its own.
      packages: [...(canStray(plan) ? ["conntrack"] : []), ...(plan.lan ? ["dnsmasq-base"] : [])],
    };
    super("adsl-bonding:components:Pi", pi, plan, programs, installation, texts, options);
    this.serve(this, {
      unit: names.gatewaysUnit.name,
      files: [
        { path: names.gatewaysUnit.path, text: gatewaysUnitText(names) },
        { path: names.gatewaysScript, text: renderGateways(plan, names), mode: "0755" },
      ],
    });
  }
}

/** The check's lines about the bonds to backup servers. */
function backupsWork({ site, backups }: Plan): string {
  if (backups.length === 0) return "";
  const { detourFolder } = namesOf({ site, at: "" });
  return `backup() { # backup BOND FAR-END LEVEL: it has the same lines, and so as many of them must work
  up_there=$(${countSlaves("$1")})
  [ "$up_there" -ge "$needed" ] || fail "$up_there slaves of $1 are up; $needed are needed"
  ping -n -q -c 2 -i 0.3 -W 2 -I "$1" "$2" >/dev/null || fail "the far end $2 does not answer through $1"
  [ "$3" != all ] || [ ! -e "${detourFolder}/$1" ] || fail "nothing behind the server of $1 answers"
}
${backups.map((each) => `backup ${each.pi.bond} ${each.pi.peerAddress} "$1"\n`).join("")}`;
}

function piSysctl({ pi, lines }: Plan): Record<string, string | number> {
  const devices = new Set([pi.interface, ...lines.map((line) => line.interface)]);
  return {
    "net.ipv4.ip_forward": 1,
    // What is called by a box answers by it from its first packet on, even where no other route leads to the caller.
    "net.ipv4.tcp_fwmark_accept": 1,
    "net.ipv4.fwmark_reflect": 1,
    // The boxes stand on the LAN: without this the Pi would tell LAN hosts to go to them directly. The kernel sends
    // where either "all" or the interface says so; "default" is what an interface yet to come begins with.
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.conf.default.accept_redirects": 0,
    ...Object.assign({}, ...[...devices].map(deviceSysctl)),
  };
}

function deviceSysctl(name: string): Record<string, number> {
  // The kernel's own separator for names that hold dots (VLANs).
  const device = `net.ipv4.conf.${name.replaceAll(".", "/")}`;
  return {
    [`${device}.send_redirects`]: 0,
    [`${device}.accept_redirects`]: 0,
    // Loose: what a line brings comes from addresses that main would look for elsewhere. It wins over a strict "all".
    [`${device}.rp_filter`]: 2,
    // A mark of ours may be all that leads back to who calls by a box.
    [`${device}.src_valid_mark`]: 1,
  };
}
