import { ConfigError } from "../site/mistake.ts";
import { CommandError } from "./config.ts";

/**
 * Runs a command of ours. `--help` shows its usage; what is wrong with its words, or with the config, is told in one sentence, and
 * it ends with 2.
 */
export async function runCommand(name: string, usage: string, main: () => Promise<void>): Promise<void> {
  if (process.argv.slice(2).some((word) => word === "--help" || word === "-h")) {
    console.log(usage);
    return;
  }
  try {
    await main();
  } catch (error) {
    const words = String((error as { code?: string }).code).startsWith("ERR_PARSE_ARGS");
    if (!words && !(error instanceof CommandError) && !(error instanceof ConfigError)) throw error;
    console.error(`${name}: ${(error as Error).message}${words ? `\n${usage}` : ""}`);
    process.exitCode = 2;
  }
}
