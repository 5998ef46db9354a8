import type * as pulumi from "@pulumi/pulumi";
import type { Plan } from "../../site/plan.ts";
import { renderCheck } from "../bond/script.ts";
import { Machine } from "../machine.ts";
import { namesOf } from "../names.ts";
import { askedOfServer, serverFirewall } from "./firewall.ts";
import { serverRoutes } from "./routes.ts";
import { sourcesLoad, sourcesService } from "./sources.ts";

/** The rented machine with the good connection: all of the site's traffic leaves under its address. */
export class RemoteServer extends Machine {
  constructor(
    plan: Plan,
    programs: Promise<pulumi.Resource[]>,
    installation?: string,
    options?: pulumi.ComponentResourceOptions,
  ) {
    const names = namesOf(plan);
    const { server, vpn } = plan;
    const texts = {
      routes: serverRoutes(plan),
      firewall: serverFirewall(plan),
      firewallAlso: sourcesLoad(plan, names),
      check: renderCheck(plan.server, plan, {
        demands: `[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || fail "net.ipv4.ip_forward is off"
# Without an address to bind to it masquerades, with that of its own way out; a NAT before it translates to the public one.
under=${server.address}
${vpn.bind ? "" : `[ -z "$(ip -4 -o addr show to ${server.address})" ] || under=$(ip -4 route get 192.0.2.1 | sed -nE 's/.* src ([0-9.]+).*/\\1/p')\n`}way="and the site is seen under $under"`,
      }),
      sysctl: {
        "net.ipv4.ip_forward": 1,
        // The kernel sends redirects where either "all" or the interface says so; others keep their own say.
        "net.ipv4.conf.all.send_redirects": 0,
        // The kernel itself sets it whenever ip_forward changes: named, it comes back as it was.
        "net.ipv4.conf.all.accept_redirects": 0,
      },
      asked: askedOfServer(plan),
      fillers: [],
      past: [],
      packages: [],
    };
    super("adsl-bonding:components:RemoteServer", plan.server, plan, programs, installation, texts, options);
    for (const service of sourcesService(plan, names)) this.serve(this, service);
  }
}
