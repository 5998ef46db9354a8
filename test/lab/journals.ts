import { beforeEach } from "vitest";
import { exec } from "../../lab/index.ts";

// What fails in the lab is explained by what our units said there, and the lab is gone when somebody reads of it.
beforeEach(({ onTestFailed }) => {
  onTestFailed(async () => {
    for (const host of ["pi", "server"]) {
      const { stdout } = await exec(host, "journalctl -q -o short-precise -n 40 -u 'adsl-*'").catch(
        (error) => ({ stdout: String(error) }),
      );
      console.log(`${host}, at the failure:\n${stdout}`);
    }
  });
});
