/** A part of the config before the schema has read it: anything may be missing or of a wrong kind. */
export type Raw = Record<string, unknown>;

/** The value as a part of the config; without fields when it is none. */
export function asRecord(value: unknown): Raw {
  return typeof value === "object" && value !== null ? (value as Raw) : {};
}

/** A list's entries as parts of the config; none where it is no list. */
export function asRecords(value: unknown): Raw[] {
  return Array.isArray(value) ? value.map(asRecord) : [];
}
