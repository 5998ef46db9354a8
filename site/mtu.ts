import type { Raw } from "./raw.ts";

/**
 * What a line puts around each IP packet, in bytes, before it is cut into ATM cells; `cells` is false where
 * there are none. PPPoE over LLC: 8 PPPoE and PPP + 14 Ethernet + 10 LLC/SNAP + 8 AAL5 trailer; PPPoA over
 * VC-multiplexing: 2 PPP + 8 AAL5 (RFC 2684, RFC 2364, RFC 2516; the same sums as tc-cake(8)'s keywords
 * `pppoe-llcsnap` and `pppoa-vcmux`). Ethernet: 14 and 4 of its check sum, with PPPoE 8 more. `mtu` is the largest IP packet
 * the line usually takes.
 */
export const encapsulations = {
  "pppoe-llc": { overhead: 40, cells: true, mtu: 1492 },
  "pppoa-vc": { overhead: 10, cells: true, mtu: 1500 },
  "pppoe-ethernet": { overhead: 26, cells: false, mtu: 1492 },
  ethernet: { overhead: 18, cells: false, mtu: 1500 },
} as const;

export type Encapsulation = keyof typeof encapsulations;

/** A line's encapsulation in a config that may have mistakes; undefined where it names none of ours. */
export function encapsulationOf({ encapsulation = "pppoe-llc" }: Raw): Encapsulation | undefined {
  return Object.keys(encapsulations).find((each) => each === encapsulation) as Encapsulation | undefined;
}

/**
 * What a tunnel puts around an inner IP packet: 14 the tap's Ethernet header, 24 OpenVPN in TLS mode with
 * AES-256-GCM (4 opcode and peer id, 4 packet id, 16 tag), 28 UDP over IPv4.
 */
export const tunnelOverhead = 66;

/** The same at most: where both ends are OpenVPN 2.7 the packet id has 8 bytes (its data format with epochs), and no packet is to be cut. */
export const largestOverhead = tunnelOverhead + 4;

/** What OpenVPN's `fragment` adds to every packet, cut or not, bytes. */
export const fragmentHeader = 4;

/** Bytes of IPv4 and TCP headers with timestamps in a full segment: not payload. */
export const segmentHeaders = 52;

/** Bytes of payload in an ATM cell. */
export const cellPayload = 48;

/** ATM cells that an IP packet of this size costs on a line. */
export function atmCells(ipBytes: number, overhead: number): number {
  return Math.ceil((ipBytes + overhead) / cellPayload);
}

/** Bytes that an IP packet costs on a line: whole cells of 53 where there are any. */
export function lineBytes(encapsulation: Encapsulation, ipBytes: number): number {
  const { overhead, cells } = encapsulations[encapsulation];
  return cells ? atmCells(ipBytes, overhead) * 53 : ipBytes + overhead;
}

/**
 * The MTU inside the tunnels that carries most TCP payload per cell on a line without ever fragmenting:
 * either the line's whole MTU, or the largest packet that fills its cells exactly. Without cells it is the
 * line's MTU less the tunnel's headers.
 *
 * @param lineMtu largest IP packet that the line passes, bytes
 * @param around what the tunnel puts around an inner packet, bytes
 */
export function innerMtu(encapsulation: Encapsulation, lineMtu: number, around = largestOverhead): number {
  const { overhead, cells } = encapsulations[encapsulation];
  const whole = lineMtu - around;
  if (!cells) return whole;
  const exact = Math.floor((lineMtu + overhead) / cellPayload) * cellPayload - overhead - around;
  const payloadPerCell = (mtu: number) => (mtu - segmentHeaders) / atmCells(mtu + around, overhead);
  return payloadPerCell(exact) >= payloadPerCell(whole) ? exact : whole;
}
