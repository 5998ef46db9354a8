import { defineConfig } from "vitest/config";

// unit: seconds, needs nothing. shell: every script by shellcheck. cuts: minutes, the hosts' program cut off at its every step. plugin: the command plugin against a real sshd. lab: scenarios on real hosts.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/{site,host,components,commands,toolchain}/**/*.test.ts"],
          exclude: ["test/host/{cuts,shell}.test.ts"],
          // They take no time of note; a busy machine may.
          testTimeout: 60_000,
        },
      },
      { test: { name: "shell", include: ["test/host/shell.test.ts"], testTimeout: 120_000 } },
      { test: { name: "cuts", include: ["test/host/cuts.test.ts"], testTimeout: 600_000 } },
      { test: { name: "plugin", include: ["test/plugin/**/*.test.ts"], testTimeout: 120_000 } },
      {
        test: {
          name: "lab",
          include: ["test/lab/**/*.test.ts"],
          setupFiles: ["test/lab/journals.ts"],
          // One lab, one scenario at a time; each bounds its own waits.
          fileParallelism: false,
          maxWorkers: 1,
          testTimeout: 2_400_000,
          hookTimeout: 2_400_000,
        },
      },
    ],
  },
});
