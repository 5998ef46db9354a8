import { execFile } from "node:child_process";
import { parseArgs, promisify } from "node:util";
import { runCommand } from "./command.ts";
import { CommandError, selectedStack } from "./config.ts";

const usage = `npm run forget -- HOST            takes a host that is gone for good (pi, server, or a backup's name) out of the state, with what
                                  stood on it: destroy, or an up with another host in its place, no longer asks for it
npm run forget -- HOST STACK      out of another stack's state than the selected one's
Nothing is done on any host.`;

const root = new URL("..", import.meta.url).pathname;

/** What of the state is read here. */
interface State {
  deployment: { resources?: { urn: string; inputs?: { create?: string } }[] };
}

function pulumi(args: string[]): Promise<string> {
  const env = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  return promisify(execFile)("pulumi", [...args, "--non-interactive"], {
    cwd: root,
    env,
    maxBuffer: 2 ** 27,
  }).then(
    ({ stdout }) => stdout,
    (error: { stderr?: string; message: string }) => {
      throw new CommandError(`pulumi ${args[0]} ${args[1]}: ${error.stderr?.trim() || error.message}`);
    },
  );
}

async function main(): Promise<void> {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [host] = positionals;
  if (!host) throw new CommandError(`which host?\n${usage}`);
  const stack = positionals[1] ?? (await selectedStack(root));
  const state: State = JSON.parse(await pulumi(["stack", "export", "--stack", stack]));
  // All that is on a host depends on its program (host/host.ts).
  const programs = new Map(
    (state.deployment.resources ?? []).flatMap((resource) => {
      const owner = /::([^:\s]+) program( \(.*)?$/.exec(resource.urn)?.[1];
      return owner ? [[owner, resource]] : [];
    }),
  );
  const program = programs.get(host);
  if (!program) {
    throw new CommandError(
      `the stack ${stack} holds nothing of ${host}, but of ${[...programs.keys()].join(", ") || "no host"}`,
    );
  }
  await pulumi(["state", "delete", program.urn, "--target-dependents", "--yes", "--stack", stack]);
  const command = /adsl-bonding-[a-z0-9]+/.exec(program.inputs?.create ?? "")?.[0];
  console.log(
    `${host} is forgotten, with all that needs it. Should it come back: sudo ${command} remove, there, takes away what stands on it.`,
  );
}

await runCommand("forget", usage, main);
