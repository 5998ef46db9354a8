import { isOvhSecret } from "./ovh.ts";

/** One thing that is wrong in a site's config, told so that a person can mend it. */
export interface Mistake {
  /** Where it stands, as in the YAML: `lines[1].gateway`. */
  path: string;
  /** What was found there; undefined when nothing was. */
  value: unknown;
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

function describeMistake({ path, value, reason, mend }: Mistake): string {
  const shown = isOvhSecret(path) ? "(not shown)" : JSON.stringify(value);
  const found = value === undefined ? "is missing" : `= ${shown}`;
  return `  ${path || "site"} ${found}: ${reason}\n      ${mend}`;
}
