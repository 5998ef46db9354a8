import { readFileSync } from "node:fs";

/**
 * The program with its folders, and those of others in which it writes, below one of the test's.
 * @param below the path of a folder of that name there
 */
export function programBelow(below: (...names: string[]) => string): string {
  const moved = [
    ["/var/lib/adsl-bonding", below("lib")],
    ["/etc/adsl-bonding", below("etc")],
    ["/etc/sysctl\\.d", below("etc", "sysctl\\.d")],
    ["/var/lib/dpkg", below("dpkg")],
    ["/etc/sysctl.d", below("etc", "sysctl.d")],
    ["/etc/systemd/system", below("units")],
    ["run=/run\n", `run=${below("run")}\n`],
  ] as const;
  const text = readFileSync(new URL("../../host/program.sh", import.meta.url), "utf8");
  return moved.reduce((sofar, [from, to]) => sofar.replaceAll(from, to), text);
}
