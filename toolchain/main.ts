// npm run toolchain: installs what is missing of the toolchain, and prints what there is.
import { ensureToolchain } from "./install.ts";

const started = Date.now();
try {
  const { pulumiHome, parts } = await ensureToolchain();
  const rows = parts.map(({ name, version, source, seconds, path }) => [
    name,
    version,
    source,
    seconds > 0 ? `${seconds} s` : "-",
    path,
  ]);
  rows.unshift(
    ["PART", "VERSION", "SOURCE", "TOOK", "PATH"],
    ["Node.js", process.versions.node, "npm", "-", process.execPath],
  );
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    );
  console.log(
    `\nPulumi's home is ${pulumiHome}. Ready after ${Math.round((Date.now() - started) / 1000)} s.`,
  );
} catch (error) {
  console.error(`toolchain: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
