import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { demo } from "./demo.ts";
import * as lab from "./index.ts";

const usage = `npm run lab                          the lab, brought up and shown; takes the options of up
npm run lab -- up [--clock virtual|real] [--guest 12|13] [--hosts 12|13] [--site FILE] [--own-guest HOST]
                                     own-guest: the host is a QEMU guest of its own, not a container (may come twice)
npm run lab -- down                  ends it; images and the kept state stay
npm run lab -- reset [HOST...]       hosts as new; without a name the whole lab
npm run lab -- status
npm run lab -- ssh HOST [COMMAND]    a login on a host, by the jump host; "guest" is the operator's machine
npm run lab -- exec PLACE COMMAND    as root on pi, a server, a box (its line's name), client, far, internet, guest
npm run lab -- cut LINE [in|out]     the line carries nothing (in: towards the site)
npm run lab -- lose LINE PERCENT [in|out]
npm run lab -- slow LINE [DOWN UP [RTT]]  kbit/s and ms; half the site's rates unless told
npm run lab -- restore LINE
npm run lab -- kill|start|reboot HOST
npm run lab -- measure [LINE|bond] [down|up] [BYTES]`;

/** One of the words that are allowed, or the one that stands for none. */
function oneOf<Word extends string>(word: string | undefined, words: readonly Word[], otherwise: Word): Word {
  if (word === undefined) return otherwise;
  const found = words.find((entry) => entry === word);
  if (!found) throw new lab.LabError(`${word}: one of ${words.join(", ")} is meant to stand here`);
  return found;
}

function number(word: string | undefined, otherwise: number): number {
  const value = word === undefined ? otherwise : Number(word);
  if (!Number.isFinite(value) || value < 0) throw new lab.LabError(`${word} is no number`);
  return value;
}

function debian(word: string | undefined): lab.Debian {
  return oneOf(word, ["12", "13"], "13") === "12" ? 12 : 13;
}

const known = {
  clock: { type: "string" },
  guest: { type: "string" },
  hosts: { type: "string" },
  site: { type: "string" },
  "own-guest": { type: "string", multiple: true },
  help: { type: "boolean" },
} as const;

const directions = ["in", "out", "both"] as const;

async function measureAll(vias: string[], words: (string | undefined)[]): Promise<void> {
  for (const via of vias) {
    for (const direction of words[0]
      ? [oneOf(words[0], ["down", "up"], "down")]
      : (["down", "up"] as const)) {
      const bytes = number(words[1], direction === "down" ? 6_000_000 : 1_000_000);
      const { mbits, seconds, retransmits, ping } = await lab.measure({ via, direction, bytes, ping: true });
      const rate = `${mbits.toFixed(2)} Mbit/s in ${seconds.toFixed(1)} s, ${retransmits} retransmissions`;
      console.log(`${via.padEnd(10)} ${direction.padEnd(5)} ${rate}, ping ${ping?.avgMs} ms`);
    }
  }
}

async function main(): Promise<void> {
  const parsed = parseArgs({
    allowPositionals: true,
    strict: false,
    options: known,
  });
  const [word, name = "", ...rest] = parsed.positionals;
  // Past `ssh` and `exec` options are the command's own.
  const ours = !["ssh", "exec"].includes(word ?? "");
  const unknown = Object.keys(parsed.values).find((option) => !(option in known));
  if (ours && unknown) throw new lab.LabError(`there is no option --${unknown}\n${usage}`);
  const values = parsed.values as Record<string, string | undefined>;
  const options: lab.Options = {
    clock:
      values.clock === undefined ? undefined : oneOf(values.clock, ["virtual", "real"] as const, "virtual"),
    guest: debian(values.guest),
    hosts: debian(values.hosts),
    site: values.site,
    ownGuests: parsed.values["own-guest"] as string[] | undefined,
  };
  if (parsed.values.help && ours) return console.log(usage);
  switch (word) {
    case undefined:
      return demo(options);
    case "up":
      await lab.up(options);
      return;
    case "down":
      return lab.down();
    case "reset":
      return lab.reset(name ? [name, ...rest] : undefined);
    case "status":
      return console.log((await lab.status()).join("\n"));
    case "ssh": {
      // Past our own words everything is the command's, options too.
      const command = process.argv.slice(process.argv.indexOf("ssh") + 2);
      const { sshConfig } = await lab.facts();
      const { status } = spawnSync("ssh", ["-F", sshConfig, name, ...command], { stdio: "inherit" });
      process.exitCode = status ?? 255;
      return;
    }
    case "exec": {
      const command = process.argv.slice(process.argv.indexOf("exec") + 2).join(" ");
      const { code, stdout, stderr } = await lab.exec(name, command);
      process.stdout.write(stdout);
      process.stderr.write(stderr);
      process.exitCode = code;
      return;
    }
    case "cut":
      return lab.cut(name, oneOf(rest[0], directions, "both"));
    case "lose":
      return lab.lose(name, number(rest[0], 1), oneOf(rest[1], directions, "both"));
    case "slow": {
      const line = (await lab.facts()).site.lines.find((entry) => entry.name === name);
      const [down, up, rtt] = rest;
      return lab.slow(name, {
        down: number(down, (line?.down ?? 0) / 2),
        up: number(up, (line?.up ?? 0) / 2),
        ...(rtt ? { rtt: number(rtt, 0) } : {}),
      });
    }
    case "restore":
      return lab.restore(name);
    case "kill":
      return lab.kill(name);
    case "start":
      return lab.start(name);
    case "reboot":
      return lab.reboot(name);
    case "measure": {
      const lines = (await lab.facts()).site.lines.map((line) => line.name);
      return measureAll(name ? [name] : [...lines, "bond"], rest);
    }
    default:
      throw new lab.LabError(usage);
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof lab.LabError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
