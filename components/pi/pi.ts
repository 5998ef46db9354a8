import type * as pulumi from "@pulumi/pulumi";
import type { Plan } from "../../site/plan.ts";
import { renderCheck } from "../bond/script.ts";
import { Machine } from "../machine.ts";
import { piFirewall } from "./firewall.ts";
import { renderPiRoutes } from "./routes.ts";

/** The small Linux router at home: it chooses each tunnel's box, and is the LAN's gateway. */
export class Pi extends Machine {
  constructor(plan: Plan, options?: pulumi.ComponentResourceOptions) {
    const { pi } = plan;
    const texts = {
      routes: renderPiRoutes(plan),
      firewall: piFirewall(plan),
      check: renderCheck(
        pi,
        `ip -4 route get 192.0.2.1 | grep -qw "dev ${pi.bond}" || fail "traffic does not leave through ${pi.bond}"
way="and traffic leaves through ${pi.bond}"`,
      ),
      sysctl: piSysctl(plan),
      // Not "dnsmasq": that one starts a service of its own.
      packages: plan.lan ? ["dnsmasq-base"] : [],
    };
    super("adsl-bonding:components:Pi", pi, plan, texts, options);
  }
}

function piSysctl({ pi }: Plan): Record<string, string | number> {
  // The kernel's own separator for names that hold dots (VLANs).
  const device = pi.interface.replaceAll(".", "/");
  return {
    "net.ipv4.ip_forward": 1,
    // The boxes stand on the LAN: without this the Pi would tell LAN hosts to go to them directly.
    "net.ipv4.conf.all.send_redirects": 0,
    [`net.ipv4.conf.${device}.send_redirects`]: 0,
    [`net.ipv4.conf.${device}.accept_redirects`]: 0,
  };
}
