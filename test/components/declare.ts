import * as pulumi from "@pulumi/pulumi";
import { vi } from "vitest";
import { exampleSite } from "../example.ts";

/** A command as the program declared it under mocks. */
export interface Declared {
  name: string;
  inputs: { create: string; delete?: string; stdin?: string; connection: Record<string, unknown> };
}

/** Everything that one run of the program declared. */
export interface Declaration {
  commands: Declared[];
  components: { type: string; name: string }[];
  outputs: Record<string, unknown>;
  /** What each resource needs, by name: its parent, and what it depends on. */
  needs: Map<string, Set<string>>;
}

/**
 * Runs the program under Pulumi's mocks, as a preview (what commands print is unknown then) or an update.
 * The hosts are not looked at: what they would answer is given, and so is what OVH would.
 */
export async function declare(
  // biome-ignore lint/suspicious/noExplicitAny: see exampleSite
  change: (site: any) => void = () => {},
  {
    preview = false,
    drift = { pi: "", server: "" },
    installation = { pi: "", server: "" },
    answer = {},
    /** What else the project's config holds beside the site. */
    beside = {},
    /** Runs in the stack after the program. */
    afterwards = () => {},
  } = {},
): Promise<Declaration> {
  const commands: Declared[] = [];
  const components: Declaration["components"] = [];
  vi.resetModules();
  const found = {
    pi: { drift: drift.pi, installation: installation.pi },
    server: { drift: drift.server, installation: installation.server },
  };
  vi.doMock("../../components/preflight/preflight.ts", () => ({ inspectHosts: async () => found }));
  await pulumi.runtime.setMocks(
    {
      newResource({ type, name, inputs }) {
        if (type !== "command:remote:Command") {
          if (type !== pulumi.runtime.rootPulumiStackTypeName) components.push({ type, name });
          return { id: name, state: inputs };
        }
        // As the engine does; its mocks don't.
        if (commands.some((other) => other.name === name)) throw new Error(`there are two commands ${name}`);
        commands.push({
          name,
          inputs: { ...inputs, connection: inputs.connection?.value ?? inputs.connection },
        });
        // As of a host whose login shell greets.
        const stdout = `Welcome!\nstdout of ${name}`;
        return { id: name, state: preview ? inputs : { ...inputs, stdout, stderr: "" } };
      },
      call: () => answer,
    },
    "adsl-bonding",
    "dev",
    preview,
  );
  const needs = recordNeeds();
  pulumi.runtime.setAllConfig({ "adsl-bonding:site": JSON.stringify(exampleSite(change)), ...beside });
  let program: Record<string, unknown> = {};
  let failure: unknown;
  // As the engine does: under a root of the stack, which is where the guard stands. An error that ends the program
  // would there end the process.
  await pulumi.runtime.runInPulumiStack(async () => {
    await import("../../index.ts").then(
      (exported) => {
        program = exported;
        afterwards();
      },
      (error) => {
        failure = error;
      },
    );
  });
  if (failure) throw failure;
  const outputs: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(program)) {
    outputs[name] = await settled(pulumi.output(value as pulumi.Input<unknown>));
  }
  // A resource registers in turns of the event loop after the program's own last line.
  for (let count = -1; count !== commands.length; ) {
    count = commands.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { commands, components, outputs, needs };
}

/** What the program tells the engine of each resource; the mocks themselves are not told. */
function recordNeeds(): Declaration["needs"] {
  const needs: Declaration["needs"] = new Map();
  const monitor = pulumi.runtime.getMonitor() as unknown as Record<
    "registerResource",
    (request: Registration, ...rest: unknown[]) => unknown
  >;
  const register = monitor.registerResource.bind(monitor);
  const nameOf = (urn: string) => urn.split("::").at(-1)!;
  monitor.registerResource = (request, ...rest) => {
    const urns = [request.getParent(), ...request.getDependenciesList()].filter((urn) => urn !== "");
    needs.set(request.getName(), new Set(urns.map(nameOf)));
    return register(request, ...rest);
  };
  return needs;
}

/** Of the message RegisterResourceRequest (Pulumi's proto/pulumi/resource.proto), what is read here. */
interface Registration {
  getName(): string;
  getParent(): string;
  getDependenciesList(): string[];
}

function settled(output: pulumi.Output<unknown>): Promise<unknown> {
  return (output as unknown as { promise(): Promise<unknown> }).promise();
}
