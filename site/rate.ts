const scale = { k: 1, m: 1_000, g: 1_000_000 };

/** Beyond it the unit is wrong, kbit/s. */
export const highestRate = 10_000_000;

/**
 * Reads a line's rate, `7232 kbit/s`, `7.2 Mbit/s` or `7232kbit`, in kbit/s, capitals or not; undefined when it is not one.
 * It is the rate that the box shows as synchronised (on ADSL the ATM rate, headers of its cells included).
 */
export function parseRate(text: unknown): number | undefined {
  const match = typeof text === "string" ? /^(\d+(?:\.\d+)?)\s*([kmg])bit(?:\/s)?$/i.exec(text.trim()) : null;
  if (!match) return undefined;
  return Number(match[1]) * scale[match[2]!.toLowerCase() as keyof typeof scale];
}
