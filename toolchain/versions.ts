// The one place that pins versions is package.json (exact numbers, no ranges). Everything else is derived from it here,
// or, where another file has to repeat a number (Go's go.mod), checked against it.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** The versions that the parts of the toolchain must have. */
export interface Versions {
  /** The Pulumi CLI, its Node.js language host and the package @pulumi/pulumi: always one number. */
  pulumi: string;
  /** The command plugin and the package @pulumi/command. */
  command: string;
  /** The OVH plugin and the package @ovhcloud/pulumi-ovh. */
  ovh: string;
}

/** Takes the versions from package.json's text. Throws one error that names everything that doesn't fit together. */
export function readVersions(packageJson: string, goMod: string): Versions {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(packageJson);
  const packages: Record<string, string | undefined> = { ...dependencies, ...devDependencies };
  const mistakes: string[] = [];
  const pinned = (name: string) => {
    const version = packages[name] ?? "";
    if (!/^\d+\.\d+\.\d+$/.test(version)) {
      mistakes.push(`package.json: ${name} must be pinned to one exact version, but is "${version}"`);
    }
    return version;
  };
  const versions = {
    pulumi: pinned("@pulumi/pulumi"),
    command: pinned("@pulumi/command"),
    ovh: pinned("@ovhcloud/pulumi-ovh"),
  };
  if (pinned("pulumi") !== versions.pulumi) {
    mistakes.push(
      `package.json: pulumi must be ${versions.pulumi}, as @pulumi/pulumi, but is ${packages.pulumi}`,
    );
  }
  for (const module of ["pkg", "sdk"]) {
    const found = new RegExp(`github\\.com/pulumi/pulumi/${module}/v3 v(\\S+)`).exec(goMod)?.[1];
    if (found !== versions.pulumi) {
      mistakes.push(`toolchain/go/go.mod: ${module}/v3 must be v${versions.pulumi}, but is v${found}`);
    }
  }
  if (mistakes.length > 0) throw new Error(mistakes.join("\n"));
  return versions;
}

/** The versions of this checkout. */
export function projectVersions(): Versions {
  const text = (path: string) => readFileSync(`${root}/${path}`, "utf8");
  return readVersions(text("package.json"), text("toolchain/go/go.mod"));
}
