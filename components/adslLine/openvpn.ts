import type { Plan, PlannedLine, Tunnel } from "../../site/plan.ts";
import type { Names } from "../names.ts";
import { confinement } from "../unit.ts";

/**
 * One end of a tunnel as OpenVPN reads it. TLS with a certificate made on each host and known to the other
 * by its fingerprint alone (OpenVPN 2.6): no authority, no shared secret.
 */
export function renderTunnel(
  host: "pi" | "server",
  line: PlannedLine,
  tunnel: Tunnel,
  plan: Plan,
  names: Names,
): string {
  const { vpn } = plan;
  const udp = line.protocol === "udp";
  const side =
    host === "pi"
      ? [
          `# By the line's box alone (${line.gateway} on ${line.interface}): the mark chooses its routing table.`,
          `remote ${plan.server.address} ${tunnel.port}`,
          `proto ${udp ? "udp4" : "tcp4-client"}`,
          "nobind",
          `mark ${line.mark}`,
          "tls-client",
          `dev ${tunnel.piTap}`,
          "# A line that comes back is used again at once: the pauses between tries don't grow.",
          "connect-retry 1 1",
          ...(udp ? [] : ["connect-timeout 5"]),
        ]
      : [
          ...(vpn.bind ? [`local ${vpn.bind}`] : []),
          `lport ${tunnel.port}`,
          `proto ${udp ? "udp4" : "tcp4-server"}`,
          "tls-server",
          "# A try that the Pi gave up halfway keeps all later ones out until it is forgotten: soon, not after a minute.",
          `hand-window ${handWindow(plan.keepalive.timeout)}`,
          "dh none",
          `dev ${tunnel.serverTap}`,
          ...(udp
            ? ["# The box may give the Pi's packets another port or address at any time.", "float"]
            : []),
        ];
  const travel = udp
    ? [
        "explicit-exit-notify 1",
        "# Packets of one line stay in order; a lossy line may still deliver late ones.",
        `replay-window ${vpn.replayWindow.packets} ${vpn.replayWindow.seconds}`,
        ...(line.fragment
          ? ["# What is too large for the line is cut before it leaves.", `fragment ${line.mtu} mtu`]
          : []),
      ]
    : ["# Over TCP nothing may wait for more to come.", "socket-flags TCP_NODELAY"];
  return `# The tunnel ${tunnel.name} of site ${plan.site}: ${line.protocol.toUpperCase()} port ${tunnel.port} of the server, over the line ${line.name}.
${side.join("\n")}
dev-type tap
# The tap is opened when the far end has answered, and closed, without persist-tun, when it is silent for
# ${plan.keepalive.timeout} s: so loss in one direction alone takes the slave down at both ends.
up-delay
keepalive ${plan.keepalive.interval} ${plan.keepalive.timeout}
cert ${names.certificate(line.key)}
key ${names.privateKey(line.key)}
config ${names.peer(line.name)}
# The server takes the first of its list that the Pi knows too.
data-ciphers ${vpn.ciphers.join(":")}
tls-version-min 1.3
tls-timeout 1
tun-mtu ${plan.bond.mtu}
mssfix 0
${travel.join("\n")}
persist-key
status /run/${names.tunnelRuntime(tunnel.name)}/status 10
verb ${vpn.verbosity}
`;
}

/** What is known of the far end only after its key was made: its certificate's fingerprint. */
export function renderPeer(fingerprint: string): string {
  return `<peer-fingerprint>
${fingerprint}
</peer-fingerprint>
`;
}

/**
 * The unit of all tunnels of a site; Debian's own openvpn-client@ doesn't restart what dies.
 * @param bonds all bonds that end on the machine
 */
export function renderTunnelTemplate(names: Names, bonds: Pick<Names, "bondUnit" | "bondScript">[]): string {
  const units = bonds.map(({ bondUnit }) => bondUnit.name).join(" ");
  return `[Unit]
Description=adsl-bonding: tunnel %i
After=network-online.target ${units} ${names.routesUnit.name} ${names.gatewaysUnit.name} ${names.firewallUnit.name}
Wants=network-online.target
# With its routes gone for a moment a tunnel would leave by another line's box: it stops before they do.
Requires=${units} ${names.routesUnit.name}
PartOf=${units} ${names.routesUnit.name}
StartLimitIntervalSec=0

[Service]
${bonds.map(({ bondScript }) => `ExecStartPre=${bondScript} slave_of ${names.tunnel("%i")}\n`).join("")}ExecStart=/usr/sbin/openvpn --suppress-timestamps --config ${names.tunnel("%i")}
Restart=always
RestartSec=2
RuntimeDirectory=${names.tunnelRuntime("%i")}
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
# A distribution's own profile for openvpn, as Ubuntu's, knows no configs but those in /etc/openvpn; what stands here confines it.
AppArmorProfile=-unconfined
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
RestrictAddressFamilies=AF_INET AF_NETLINK AF_UNIX
${confinement.join("\n")}

[Install]
WantedBy=multi-user.target
`;
}

/**
 * Seconds in which the server wants a TLS handshake done, the hourly one of a living tunnel too. The Pi gives a try up after the
 * keepalive's time, so that whatever lasts longer is dead; no less than 10 for a line that loses packets, no more than
 * OpenVPN's own 60.
 */
function handWindow(timeout: number): number {
  return Math.min(60, Math.max(10, timeout + 1));
}
