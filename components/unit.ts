import type { StagedFile } from "../host/file.ts";

/** A unit that runs beside bond and tunnels, and the files that it reads, its own first. */
export interface Service {
  unit: string;
  files: StagedFile[];
}

/** What is needed to describe a unit that runs a script once at its start and once at its end. */
interface Oneshot {
  description: string;
  start: string;
  stop: string;
  /** Units that must run before this one, and with which it stops. */
  needs?: string[];
  /** Units or targets that must have come before, but need not. */
  after?: string[];
}

/** The text of a systemd unit that is active from its start script's end to its stop script's. */
export function oneshotUnit({ description, start, stop, needs = [], after = [] }: Oneshot): string {
  const order = [...needs, ...after].join(" ");
  return [
    "[Unit]",
    `Description=adsl-bonding: ${description}`,
    ...(order ? [`After=${order}`] : []),
    ...(needs.length > 0 ? [`Requires=${needs.join(" ")}`, `PartOf=${needs.join(" ")}`] : []),
    // However often somebody takes away what it makes.
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    "Type=oneshot",
    "RemainAfterExit=yes",
    // Without one a script that hangs would hang whatever starts it, going back too.
    "TimeoutStartSec=120",
    `ExecStart=${start}`,
    `ExecStop=${stop}`,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}

/** What no program that we run has any need of, in systemd's words. */
export const confinement = [
  "RestrictNamespaces=yes",
  "RestrictRealtime=yes",
  "RestrictSUIDSGID=yes",
  "LockPersonality=yes",
  "MemoryDenyWriteExecute=yes",
  "SystemCallArchitectures=native",
  "SystemCallFilter=@system-service",
];

/** What is needed to describe a unit that goes on running. */
interface Daemon {
  description: string;
  /** The lines that say what runs: `ExecStart=` and its like. */
  runs: string[];
  /** Units with which it starts and stops. */
  needs?: string[];
  /** Targets that it wants, and comes after. */
  wants?: string[];
  /** The capabilities that it is left with. */
  capabilities: string;
  /** The kinds of sockets that it may open. */
  families: string;
  /** The one folder that it may write to. Default: none. */
  writes?: string;
  /** Whether it may set sysctls. Default: no. */
  setsSysctls?: boolean;
}

/** The text of a systemd unit that is started again whenever it ends, and may do no more than it must. */
export function daemonUnit(daemon: Daemon): string {
  const { description, runs, needs = [], wants = [], capabilities, families, writes, setsSysctls } = daemon;
  return [
    "[Unit]",
    `Description=adsl-bonding: ${description}`,
    `After=${[...needs, ...wants].join(" ")}`,
    ...(needs.length > 0 ? [`Requires=${needs.join(" ")}`, `PartOf=${needs.join(" ")}`] : []),
    ...(wants.length > 0 ? [`Wants=${wants.join(" ")}`] : []),
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    ...runs,
    "Restart=always",
    "RestartSec=2",
    `CapabilityBoundingSet=${capabilities}`,
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    ...(writes ? [`ReadWritePaths=${writes}`] : []),
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    ...(setsSysctls ? [] : ["ProtectKernelTunables=yes"]),
    `RestrictAddressFamilies=${families}`,
    ...confinement,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}
