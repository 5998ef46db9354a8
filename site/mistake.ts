import { isOvhSecret } from "./ovh.ts";

/** One thing that is wrong in a site's config, told so that a person can mend it. */
export interface Mistake {
  /** Where it stands, as in the YAML: `lines[1].gateway`. */
  path: string;
  /** What was found there; undefined when nothing was. */
  value: unknown;
  /** Whether it may be a secret that a person has put into a wrong place. */
  hidden?: boolean;
  /** Why it can't be. */
  reason: string;
  /** What to write instead. */
  mend: string;
}

/** All the mistakes of one config, in one error. */
export class ConfigError extends Error {
  readonly mistakes: readonly Mistake[];

  constructor(mistakes: readonly Mistake[]) {
    const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
    super(
      [`the site's config has ${count}; nothing was touched:`, ...mistakes.map(describeMistake)].join("\n"),
    );
    this.name = "ConfigError";
    this.mistakes = mistakes;
  }
}

function describeMistake({ path, value, hidden, reason, mend }: Mistake): string {
  const secret =
    (hidden && ["string", "number"].includes(typeof value)) || isOvhSecret(path) || isPrivateKey(value);
  const found = value === undefined ? "is missing" : `= ${secret ? "(not shown)" : shown(value)}`;
  return `  ${path || "site"} ${found}: ${reason}\n      ${mend}`;
}

/** A value as the config has it; of a section or a list no more than that it is one: there may be a secret in it. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return value.length > 0 ? "[...]" : "[]";
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0 ? "{...}" : "{}";
  const text = JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** An SSH key stands where it does not belong: its first lines, or the first letters of what they hold. */
function isPrivateKey(value: unknown): boolean {
  return typeof value === "string" && /PRIVATE KEY|b3BlbnNzaC1rZXk/.test(value);
}
