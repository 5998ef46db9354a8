const scale = { k: 1, M: 1_000, G: 1_000_000 };

/**
 * Reads a line's rate, `7232 kbit/s`, `7.2 Mbit/s` or `7232kbit`, in kbit/s; undefined when it is not one.
 * It is the rate that the box shows as synchronised (on ADSL the ATM rate, headers of its cells included).
 */
export function parseRate(text: unknown): number | undefined {
  const match = typeof text === "string" ? /^(\d+(?:\.\d+)?) ?([kMG])bit(?:\/s)?$/.exec(text) : null;
  if (!match) return undefined;
  return Number(match[1]) * scale[match[2] as keyof typeof scale];
}
