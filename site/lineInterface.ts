import { isAddress } from "./address.ts";
import { told } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import type { Raw } from "./raw.ts";

/** A line's gateway that is whatever DHCP has given the line's own interface. */
export const byDhcp = "dhcp";

/** The box's address, or `dhcp`. */
export const gateway = told(
  (value) => value === byDhcp || isAddress(value),
  "is neither an IPv4 address nor `dhcp`",
  "Write the box's address, such as 192.168.1.254; or dhcp where the line's own interface gets it so.",
);

/** Gateways by DHCP on an interface that can't have them, or that two lines share. */
export function dhcpContradictions(lines: Raw[], lan: unknown): Mistake[] {
  const first = new Map<unknown, number>();
  return lines.flatMap(({ gateway: box, interface: own }, index) => {
    if (box !== byDhcp) return [];
    const path = `lines[${index}].gateway`;
    if (own === undefined || own === (lan ?? "eth0")) {
      const reason = "is only known on an interface that is the line's own";
      return [{ path, value: box, reason, mend: "Give the line's `interface`, or write the box's address." }];
    }
    const other = first.get(own);
    if (other === undefined) {
      first.set(own, index);
      return [];
    }
    const reason = `DHCP gives ${String(own)} one gateway, which lines[${other}] has already`;
    return [{ path, value: box, reason, mend: "Give each line an interface of its own." }];
  });
}
