import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { fingerprint } from "../../host/inspect.ts";
import { offeredKey } from "../../host/offer.ts";
import { runCommand } from "../command.ts";
import { CommandError, readStackFile, type StackFile, selectedStack } from "../config.ts";
import { type Pin, pinsOf, writePin } from "./pins.ts";

const usage = `npm run pin                                  shows the key of each host that the config does not pin, or no longer rightly, and
                                             writes it there when you say that it is the host's own
npm run pin -- STACK                         for another stack than the selected one
npm run pin -- --yes HOST=SHA256:…           a fingerprint that you know, where there is no terminal to ask at
npm run pin -- --config-file FILE            in another file than the stack's own
It ends with 1 while a key is missing or wrong, with 2 when it can't begin.`;

const root = new URL("../..", import.meta.url).pathname;
const typeOf = (hostKey: string) => hostKey.split(" ")[0]!;

/** Says which key a host shows, and pins it where somebody confirms it: true when the config then pins that key. */
async function attend(pin: Pin, file: StackFile, confirmed: Map<string, string>): Promise<boolean> {
  const { name, login, pinned, jump } = pin;
  const where = `${name} (${login.host} port ${login.port}${jump ? ` through ${jump.login.host}` : ""})`;
  if (jump && !jump.pinned) return tell(`${where}: not asked, for ${jump.name} is not pinned`, false);
  const way = jump && { ...jump.login, hostKey: jump.pinned! };
  const asked = await offeredKey(login, way, pinned && typeOf(pinned));
  if ("unreachable" in asked) return tell(`${where}: shows no key: ${asked.unreachable}`, false);
  if (asked.hostKey === pinned) return tell(`${where}: as pinned, ${fingerprint(pinned)}`, true);
  // A host that shows another key than the pinned one may have a better one to pin than of the same type.
  const offer = pinned ? await offeredKey(login, way) : asked;
  const shown = "hostKey" in offer ? offer.hostKey : asked.hostKey;
  console.log(describe(where, shown, pinned));
  if (!(await agreed(pin, fingerprint(shown), confirmed))) return tell(`${name}: not pinned`, false);
  file.text = writePin(file.text, pin.path, shown);
  await writeFile(file.path, file.text);
  pin.pinned = shown;
  return tell(`${name}: pinned in ${file.path}`, true);
}

function describe(where: string, shown: string, pinned: string | undefined): string {
  const kind = typeOf(shown).startsWith("ecdsa") ? "ecdsa" : "ed25519";
  return [
    `${where} shows ${pinned ? "another host key than the config pins" : "a host key, and the config pins none"}:`,
    ...(pinned ? [`  pinned  ${typeOf(pinned)} ${fingerprint(pinned)}`] : []),
    `  shown   ${typeOf(shown)} ${fingerprint(shown)}`,
    ...(pinned ? ["If this host was not made anew, somebody stands between: then say no."] : []),
    `At the host's own console, this must print the same: ssh-keygen -lf /etc/ssh/ssh_host_${kind}_key.pub`,
  ].join("\n");
}

/** Whether somebody says that the fingerprint is the host's own: at the terminal, or beforehand on the command line. */
async function agreed({ name }: Pin, shown: string, confirmed: Map<string, string>): Promise<boolean> {
  const given = confirmed.get(name);
  if (given) return given === shown || tell(`${name}: --yes names another fingerprint, ${given}`, false);
  if (!process.stdin.isTTY) {
    return tell(
      `No terminal to ask at. If it is the host's own: npm run pin -- --yes ${name}=${shown}`,
      false,
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question("Is it the same, and shall it be pinned? [y/N] ");
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

function tell(text: string, result: boolean): boolean {
  console.log(text);
  return result;
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { "config-file": { type: "string" }, yes: { type: "string", multiple: true, default: [] } },
  });
  const named = values["config-file"];
  const stack = positionals[0] ?? (named ? "" : await selectedStack(root));
  const file = await readStackFile(root, stack, named);
  const pins = pinsOf(file.site);
  const confirmed = new Map(values.yes.map((each) => each.split("=", 2) as [string, string]));
  const unknown = [...confirmed.keys()].filter((name) => !pins.some((pin) => pin.name === name));
  if (unknown.length > 0) {
    const names = pins.map(({ name }) => name).join(", ");
    throw new CommandError(`--yes names ${unknown.join(", ")}, but the hosts are ${names}`);
  }
  let right = true;
  // One after another: a host behind another is asked through it, once that one is pinned.
  for (const pin of pins) right = (await attend(pin, file, confirmed)) && right;
  process.exitCode = right ? 0 : 1;
}

await runCommand("pin", usage, main);
