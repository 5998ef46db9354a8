import { isAddress, specialRange } from "./address.ts";
import { judged } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import type { Raw } from "./raw.ts";

/** A line's gateway that is whatever DHCP has given the line's own interface. */
export const byDhcp = "dhcp";

/** The box's address, or `dhcp`. */
export const gateway = judged((value) => {
  if (value === byDhcp) return undefined;
  const reason = isAddress(value) ? specialRange(value) : "is neither an IPv4 address nor `dhcp`";
  const mend =
    "Write the box's address, such as 192.168.1.254; or dhcp where the line's own interface gets it so.";
  return reason === undefined ? undefined : { reason, mend };
});

/** Whether a line's box is on the Pi's LAN, and not behind an interface of its own. */
export function isOnLan({ interface: own }: Raw, { interface: onLan = "eth0" }: Raw): boolean {
  return own === undefined || own === onLan;
}

/** The boxes' addresses on the Pi's LAN, line by line; undefined for a line whose box is elsewhere. */
export function boxesOnLan(lines: Raw[], pi: Raw): (string | undefined)[] {
  return lines.map((line) => (isOnLan(line, pi) && isAddress(line.gateway) ? line.gateway : undefined));
}

/** Which line's box on the Pi's LAN has the address, in words; undefined where none has. */
export function boxAt(value: unknown, lines: Raw[], pi: Raw): string | undefined {
  const index = isAddress(value) ? boxesOnLan(lines, pi).indexOf(value) : -1;
  return index < 0 ? undefined : `the box of lines[${index}]`;
}

/** Gateways by DHCP on an interface that can't have them, or where another line has its box too. */
export function dhcpContradictions(lines: Raw[], lan: unknown): Mistake[] {
  return lines.flatMap(({ gateway: box, interface: own }, index) => {
    if (box !== byDhcp) return [];
    const path = `lines[${index}].gateway`;
    if (own === undefined || own === (lan ?? "eth0")) {
      const reason = "is only known on an interface that is the line's own";
      return [{ path, value: box, reason, mend: "Give the line's `interface`, or write the box's address." }];
    }
    // Of two by DHCP the second is told.
    const other = lines.findIndex(
      (each, n) => each.interface === own && (each.gateway === byDhcp ? n < index : n !== index),
    );
    if (other < 0) return [];
    const reason =
      lines[other]!.gateway === byDhcp
        ? `DHCP gives an interface one gateway, which lines[${other}] has already`
        : `lines[${other}] has its box on the same interface, and DHCP may name that very box`;
    const mend = "Give each line an interface of its own, or write both boxes' addresses.";
    return [{ path, value: box, reason, mend }];
  });
}
