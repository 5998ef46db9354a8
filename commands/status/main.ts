import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { inspect, type Observation } from "../../host/inspect.ts";
import { everyServer, type Plan, planSite } from "../../site/plan.ts";
import { runCommand } from "../command.ts";
import { readStackSite, selectedStack } from "../config.ts";
import { renderReport } from "./render.ts";
import { makeReport, type Report, type Seen, statusEnvironment } from "./report.ts";

const usage = `npm run status                             how a site does, read from all its hosts: live in a terminal, until Ctrl-C
npm run status -- STACK                    that of another stack than the selected one
npm run status -- --once                   once; ends with 1 when there is something to warn about
npm run status -- --config-file FILE       by another file than the stack's own`;

const root = new URL("../..", import.meta.url).pathname;
const script = readFileSync(new URL("look.sh", import.meta.url), "utf8");
const offers = readFileSync(new URL("../../components/lan/offers.sh", import.meta.url), "utf8");

/** The pause between two looks at the hosts, milliseconds: a look itself takes four seconds or more. */
const rest = 1000;

/** To the top left, and everything below cleared; the cursor away and back. */
const screen = { clear: "\x1b[H\x1b[J", hide: "\x1b[?25l", show: "\x1b[?25h" };

async function look(plan: Plan): Promise<Report> {
  const all = everyServer(plan).map(async (each): Promise<Seen> => {
    const [pi, server] = await Promise.all([lookAt(each, "pi"), lookAt(each, "server")]);
    return { pi, server };
  });
  const [main, ...others] = await Promise.all(all);
  return makeReport(plan, main!, ...others);
}

/** One end of one server's bond. */
function lookAt(plan: Plan, end: "pi" | "server"): Promise<Observation> {
  const { host, address, ssh } = plan[end];
  const environment = statusEnvironment(plan, end);
  const wanted = end === "pi" && plan.at === "" && plan.lan?.dhcp ? offers + script : script;
  return inspect({ host, address, ssh, script: wanted, environment });
}

async function watch(plan: Plan): Promise<never> {
  const end = () => {
    process.stdout.write(screen.show);
    process.exit(0);
  };
  process.on("SIGINT", end);
  process.on("SIGTERM", end);
  process.stdout.write(screen.hide);
  for (;;) {
    const page = renderReport(await look(plan), new Date());
    process.stdout.write(`${screen.clear}${page}\nCtrl-C ends it.\n`);
    await pause(rest);
  }
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { "config-file": { type: "string" }, once: { type: "boolean", default: false } },
  });
  const file = values["config-file"];
  const stack = positionals[0] ?? (file ? "" : await selectedStack(root));
  const plan = planSite(await readStackSite(root, stack, file));
  if (process.stdout.isTTY && !values.once) await watch(plan);
  const report = await look(plan);
  process.stdout.write(renderReport(report, new Date()));
  process.exitCode = report.warnings.length > 0 ? 1 : 0;
}

await runCommand("status", usage, main);
