import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { keeperService } from "../../components/keeper.ts";
import { namesOf } from "../../components/names.ts";

const folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

test.each(["ip", "nft"])(
  "a keeper whose monitor by %s has ended ends, and does not go on half deaf",
  (ended) => {
    const { files } = keeperService(namesOf({ site: "dev", at: "" }), [], false, []);
    const keeper = write("keeper", String(files[1]!.text));
    for (const name of ["systemctl", "sysctl"]) write(name, "#!/bin/sh\n");
    for (const name of ["ip", "nft"]) {
      const does = name === ended ? "sleep 1" : `echo $$ >${folder}/listens; exec sleep 60`;
      write(name, `#!/bin/sh\ncase "$*" in *monitor*) ${does} ;; esac\n`);
    }
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
    const { error } = spawnSync(keeper, { env, stdio: "ignore", timeout: 10_000 });
    // As systemd ends what is left of a unit.
    process.kill(Number(readFileSync(join(folder, "listens"), "utf8")));
    expect(error).toBeUndefined();
  },
);
