import type { StagedFile } from "../host/file.ts";

/** A unit that runs beside bond and tunnels, and the files that it reads, its own first. */
export interface Service {
  unit: string;
  files: StagedFile[];
}

/** What a small program of ours that only talks to the kernel needs, and no more. */
export function sandbox(capabilities: string, families: string): string {
  return `CapabilityBoundingSet=${capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=${families}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
`;
}
