// The stand-in for Pulumi's Node.js language host, for machines that can't download the official one.
// The engine starts it beside a program, asks it to run the program, and ends it. All it does is translate that request
// into the command line of @pulumi/pulumi's own runner (cmd/run), as the official host does: what the program does,
// logs and registers goes straight from there to the engine.
//
// It is installed as one file outside the project, so everything of Pulumi's comes from the project's node_modules.
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";

// biome-ignore lint/suspicious/noExplicitAny: the generated protocol modules have no common static type.
type Message = any;
type Reply = (error: Error | null, response?: Message) => void;
type Call = { request: Message };

const engine = process.argv.slice(2).findLast((argument) => !argument.startsWith("-")) ?? "";

// The engine starts its language hosts in the project's folder.
const sdk = createRequire(join(process.cwd(), "package.json")).resolve("@pulumi/pulumi/package.json");
const load = createRequire(sdk);
const grpc = load("@grpc/grpc-js");
const proto = load("./proto/language_pb.js");
const plugin = load("./proto/plugin_pb.js");
const { LanguageRuntimeService } = load("./proto/language_grpc_pb.js");
const { version } = load("./package.json");

/** cmd/run's own exit status for "the error has been shown already". */
const ALREADY_REPORTED = 32;

const programs = new Set<ChildProcess>();

function run(call: Call, reply: Reply) {
  const request = call.request;
  const info = request.getInfo();
  const options: Record<string, unknown> = info?.getOptions()?.toJavaScript() ?? {};
  const runner = createRequire(join(info?.getProgramDirectory() || request.getPwd(), "package.json")).resolve(
    "@pulumi/pulumi/cmd/run",
  );
  const flags = {
    monitor: request.getMonitorAddress(),
    engine,
    organization: request.getOrganization(),
    project: request.getProject(),
    "root-directory": info?.getRootDirectory() ?? "",
    stack: request.getStack(),
    pwd: request.getPwd(),
    parallel: String(request.getParallel()),
  };
  const config = Object.fromEntries(request.getConfigMap().toArray());
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PULUMI_CONFIG: JSON.stringify(config),
    PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
    PULUMI_NODEJS_TYPESCRIPT: String(options.typescript ?? true),
  };
  if (typeof options.tsconfig === "string") env.PULUMI_NODEJS_TSCONFIG_PATH = options.tsconfig;
  const program = spawn(
    "node",
    [
      ...String(options.nodeargs ?? "")
        .split(" ")
        .filter(Boolean),
      runner,
      ...Object.entries(flags).flatMap(([flag, value]) => (value ? [`--${flag}`, value] : [])),
      ...(request.getDryrun() ? ["--dry-run"] : []),
      info?.getEntryPoint() || request.getProgram() || ".",
      ...request.getArgsList(),
    ],
    // The engine reads this process's output line by line and shows it: the program writes to the same pipes.
    { env, stdio: ["ignore", "inherit", "inherit"] },
  );
  programs.add(program);
  const response = new proto.RunResponse();
  program.once("error", (error) => {
    response.setError(`The program could not be started: ${error.message}`);
    reply(null, response);
  });
  program.once("exit", (code, signal) => {
    programs.delete(program);
    if (code === ALREADY_REPORTED) response.setBail(true);
    else if (signal) response.setError(`Program exited due to a signal: ${signal}`);
    else if (code !== 0) response.setError(`Program exited with non-zero exit code: ${code}`);
    reply(null, response);
  });
}

const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });

function end() {
  for (const program of programs) program.kill("SIGKILL");
  process.exit(0);
}

server.addService(LanguageRuntimeService, {
  getPluginInfo(_call: Call, reply: Reply) {
    const info = new plugin.PluginInfo();
    info.setVersion(version);
    reply(null, info);
  },
  // Empty on purpose: whatever is named here the engine would try to download before the run. A plugin is looked for
  // all the same, by name and version, when the program's first resource asks for it.
  getRequiredPackages(_call: Call, reply: Reply) {
    reply(null, new proto.GetRequiredPackagesResponse());
  },
  getRequiredPlugins(_call: Call, reply: Reply) {
    reply(null, new proto.GetRequiredPluginsResponse());
  },
  getProgramDependencies(_call: Call, reply: Reply) {
    reply(null, new proto.GetProgramDependenciesResponse());
  },
  about(_call: Call, reply: Reply) {
    const response = new proto.AboutResponse();
    response.setExecutable(process.execPath);
    response.setVersion(process.version);
    reply(null, response);
  },
  run,
  // The engine waits ten seconds for a host to go by itself before it kills it.
  cancel(_call: Call, reply: Reply) {
    const { Empty } = load("google-protobuf/google/protobuf/empty_pb.js");
    reply(null, new Empty());
    setTimeout(end, 50);
  },
});

process.on("SIGINT", end);
process.on("SIGTERM", end);
// An engine that was killed can't say so; a program of nobody's must not go on.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && end(), 2000).unref();

server.bindAsync(
  "127.0.0.1:0",
  grpc.ServerCredentials.createInsecure(),
  (error: Error | null, port: number) => {
    if (error) throw error;
    console.log(port);
  },
);
