import * as pulumi from "@pulumi/pulumi";
import { type StagedFile, stageFile } from "../host/file.ts";
import type { HostUnit } from "../host/generation.ts";
import { answerOf, Host } from "../host/host.ts";
import { everyServer, type Plan, type Tunnel } from "../site/plan.ts";
import { exceptionsOf, type FirewallRules, renderFirewall, renderFirewallScript } from "./firewall.ts";
import { type KeptBond, keeperService } from "./keeper.ts";
import { namesOf } from "./names.ts";
import { type Routes, renderRoutesScript } from "./routes.ts";
import { oneshotUnit, type Service } from "./unit.ts";

/** What both ends need of the distribution: the tunnels, the firewall, the offloads, the keys, the check. */
const commonPackages = ["openvpn", "nftables", "ethtool", "openssl", "iputils-ping", "procps"];

/**
 * So many files are staged on one machine at a time. Pulumi would begin all at once, four for each core of the operator's
 * machine, and sshd drops logins by chance once ten have not authenticated yet (sshd_config's MaxStartups 10:30:100).
 */
const atATime = 5;

/** Characters of a certificate's fingerprint as openssl prints it: 32 bytes as hex, with colons between (SHA-256). */
const fingerprintLength = 95;

/** What tells the Pi from the server: the texts of the files that differ. */
export interface MachineTexts {
  routes: Routes;
  firewall: FirewallRules;
  /** A command that completes the firewall's table just loaded. */
  firewallAlso?: string;
  check: string;
  sysctl: Record<string, string | number>;
  /** What the site asks of the machine itself, in nftables' words. */
  asked: string[];
  /** Units that put elements into its firewall's sets (keeper.ts). */
  fillers: string[];
  /** Interfaces, from one to the other, of what it forwards past the bonds. */
  past: [string, string][];
  /** What it needs of the distribution beyond what both ends do. */
  packages: string[];
}

/** Files that a component has staged on one host, with the commands that did it. */
export interface Staged {
  files: StagedFile[];
  resources: pulumi.Resource[];
  /** What runs beside bond and tunnels. */
  units: HostUnit[];
}

/**
 * One end of the site: its program and packages, its routes, firewall, settings and check, and whatever
 * manages its physical interfaces told to leave ours alone.
 */
export class Machine extends pulumi.ComponentResource {
  readonly host: Host;
  /** All that was staged on this machine, by itself and by the components of lines and bond. */
  readonly staged: Staged = { files: [], resources: [], units: [] };
  /** The plans of all bonds that end here: on a server it is one. */
  readonly bonds: Plan[];
  /** The site's program on it. */
  readonly program: pulumi.Resource;
  private readonly ready: pulumi.Resource[];
  private readonly fingerprints = new Map<string, pulumi.Output<string>>();

  /**
   * @param programs those of all machines. Everything else of any machine needs all of them: a destroy goes by layers of what
   *   needs what, and ends after one in which something failed. So all machines are removed in one, and a dead one
   *   keeps no other from it.
   */
  constructor(
    type: string,
    end: Plan["pi"] | Plan["server"],
    plan: Plan,
    programs: Promise<pulumi.Resource[]>,
    installation: string | undefined,
    texts: MachineTexts,
    options?: pulumi.ComponentResourceOptions,
  ) {
    super(type, end.host, {}, options);
    const { site } = plan;
    const names = namesOf(plan);
    const isPi = end.host === plan.pi.host;
    this.bonds = isPi ? everyServer(plan) : [plan];
    const role = plan.at === "" ? undefined : end.host;
    this.host = new Host({
      name: end.host,
      role,
      leadsToOthers: isPi,
      site,
      address: end.address,
      ssh: end.ssh,
      installation,
    });
    this.program = this.host.install(this);
    const packages = [...commonPackages, ...texts.packages];
    const installed = this.host.call("packages", `packages ${packages.join(" ")}`, {
      parent: this,
      dependsOn: programs,
    });
    this.ready = [this.program, installed];
    const taps = `tap*${isPi ? "" : `-${site}`}`;
    const interfaces = isPi ? this.bonds.map(({ pi }) => pi.bond) : [end.bond];
    const exceptions = exceptionsOf(end.letThrough, interfaces, texts.past, texts.asked);
    this.stage(this, [
      { path: names.routesScript, text: renderRoutesScript(names, texts.routes), mode: "0755" },
      {
        path: names.routesUnit.path,
        text: oneshotUnit({
          description: `routes of site ${site}`,
          start: `${names.routesScript} up`,
          stop: `${names.routesScript} down`,
          needs: this.bonds.map((each) => namesOf(each).bondUnit.name),
          after: ["network-online.target"],
        }),
      },
      { path: names.firewallRules, text: renderFirewall(names, texts.firewall) },
      {
        path: names.firewallScript,
        text: renderFirewallScript(names, exceptions, texts.firewallAlso),
        mode: "0755",
      },
      {
        path: names.firewallUnit.path,
        text: oneshotUnit({
          description: `firewall of site ${site}`,
          start: `${names.firewallScript} up`,
          stop: `${names.firewallScript} down`,
          // A distribution's own ruleset begins with a flush of everything: ours comes after it, and after those in
          // whose chains we may have to let something through.
          after: ["nftables.service", "ufw.service", "docker.service"],
        }),
      },
      { path: names.sysctl, text: renderSysctl(texts.sysctl) },
      { path: names.check, text: texts.check, mode: "0755" },
      { path: names.networkd, text: networkdText },
      { path: names.networkManager, text: networkManagerText(site, [...interfaces, taps]) },
    ]);
    this.serve(
      this,
      keeperService(
        names,
        this.bonds.map((each) => keptBond(each, isPi ? "pi" : "server")),
        exceptions.length > 0,
        texts.fillers,
      ),
    );
    this.registerOutputs();
  }

  /** Stages files on this machine for a component, under which a preview shows them. */
  stage(parent: pulumi.Resource, files: StagedFile[]) {
    for (const file of files) {
      const earlier = this.staged.resources.at(-atATime);
      const dependsOn = earlier ? [...this.ready, earlier] : this.ready;
      this.staged.files.push(file);
      this.staged.resources.push(stageFile(this.host, file, { parent, dependsOn }));
    }
  }

  /** Stages a service's files, and has the activation run it. */
  serve(parent: pulumi.Resource, { unit, files }: Service) {
    this.stage(parent, files);
    this.staged.units.push({ name: unit, reads: files.map(({ path }) => path) });
  }

  /**
   * Makes a key pair on this machine, once for all servers, and tells its certificate's fingerprint. A pair of another name is another
   * resource. Nothing deletes a pair but the host itself, when it has confirmed a generation that does without.
   */
  makeKey(parent: pulumi.Resource, name: string): pulumi.Output<string> {
    const known = this.fingerprints.get(name);
    if (known) return known;
    const key = this.host.call(`key ${name}`, `key ${name}`, {
      parent,
      dependsOn: this.ready,
    });
    this.staged.resources.push(key);
    // Its own characters: a login shell may greet without an end of line.
    const fingerprint = answerOf(key).apply((text) => text.slice(-fingerprintLength));
    this.fingerprints.set(name, fingerprint);
    return fingerprint;
  }
}

function keptBond(plan: Plan, end: "pi" | "server"): KeptBond {
  const names = namesOf(plan);
  const tapOf = ({ piTap, serverTap }: Tunnel) => (end === "pi" ? piTap : serverTap);
  return {
    name: plan[end].bond,
    unit: names.bondUnit.name,
    taps: plan.tunnels.map((tunnel) => ({ name: tapOf(tunnel), unit: names.tunnelUnit(tunnel.name) })),
  };
}

function renderSysctl(values: Record<string, string | number>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join("");
}

/** systemd-networkd, where it runs, otherwise deletes rules and routes that it has not made itself. */
const networkdText = `[Network]
ManageForeignRoutingPolicyRules=no
ManageForeignRoutes=no
`;

function networkManagerText(site: string, devices: string[]): string {
  const list = devices.map((device) => `interface-name:${device}`).join(";");
  return `[device-adsl-${site}]
match-device=${list}
managed=0
`;
}
