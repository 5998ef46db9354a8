// The helper that pins hosts' keys, against real SSH servers: a host, and one on the way to another.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { fingerprint } from "../../host/inspect.ts";
import { root } from "../../toolchain/versions.ts";
import { type Sshd, startSshd } from "./sshd.ts";

const folder = mkdtempSync(join(tmpdir(), "adsl-bonding-"));
const config = join(folder, "Pulumi.home.yaml");
let server: Sshd;
let gate: Sshd;
let pi: Sshd;

beforeAll(async () => {
  for (const name of ["server", "gate", "pi"]) mkdirSync(join(folder, name));
  server = await startSshd(join(folder, "server"), ["ecdsa", "ed25519"]);
  gate = await startSshd(join(folder, "gate"));
  pi = await startSshd(join(folder, "pi"));
  // A path of which a shell, or ssh, could make something else.
  const gateKey = join(folder, "50% of Pat's keys");
  copyFileSync(join(folder, "gate", "user"), gateKey);
  const at = ({ connection }: Sshd) => `host: 127.0.0.1, port: ${connection.port}`;
  writeFileSync(
    config,
    `# The site at home.
config:
  adsl-bonding:site:
    server: { address: 203.0.113.10, ssh: { ${at(server)} } }
    pi:
      address: 192.168.1.252/24
      ssh: # no key yet
        host: 127.0.0.1
        port: ${pi.connection.port}
        jump: { ${at(gate)}, user: ${gate.connection.user}, privateKeyFile: ${JSON.stringify(gateKey)} }
`,
  );
}, 60_000);

afterAll(() => {
  for (const each of [server, gate, pi]) each?.stop();
  rmSync(folder, { recursive: true });
});

const keyOf = ({ connection }: Sshd) => connection.hostKey.split(" ").slice(0, 2).join(" ");
const site = () => parse(readFileSync(config, "utf8")).config["adsl-bonding:site"];

function pin(...words: string[]) {
  const args = ["commands/pin/main.ts", "--config-file", config, ...words];
  return spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

test("without a terminal it shows the keys, ECDSA first, and writes nothing", () => {
  const before = readFileSync(config, "utf8");
  const { status, stdout, stderr } = pin();
  expect(status, stderr).toBe(1);
  expect(stdout).toContain(`shown   ecdsa-sha2-nistp256 ${fingerprint(keyOf(server))}`);
  expect(stdout).toContain("ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub");
  expect(stdout).toContain(`npm run pin -- --yes server=${fingerprint(keyOf(server))}`);
  expect(stdout).toMatch(/pi \(.*\): not asked, for pi\.jump is not pinned/);
  expect(readFileSync(config, "utf8")).toBe(before);
});

test("a fingerprint that is confirmed is pinned, another one is not", () => {
  const wrong = pin("--yes", `server=${fingerprint(keyOf(gate))}`);
  expect(wrong.stdout).toContain("server: --yes names another fingerprint");
  expect(site().server.ssh.hostKey).toBeUndefined();
  const given = [
    ["server", server],
    ["pi.jump", gate],
    ["pi", pi],
  ] as const;
  const words = given.flatMap(([name, sshd]) => ["--yes", `${name}=${fingerprint(keyOf(sshd))}`]);
  const { status, stdout, stderr } = pin(...words);
  expect(status, stdout + stderr).toBe(0);
  expect(site().server.ssh.hostKey).toBe(keyOf(server));
  expect(site().pi.ssh.jump.hostKey).toBe(keyOf(gate));
  expect(site().pi.ssh.hostKey).toBe(keyOf(pi));
  expect(readFileSync(config, "utf8")).toMatch(/^# The site at home\.[\s\S]*ssh: # no key yet/);
  const again = pin();
  expect(again.status, again.stdout).toBe(0);
  expect(again.stdout.match(/: as pinned, SHA256:/g)).toHaveLength(3);
});

test("somebody at a terminal is asked, and an empty answer is no", () => {
  const before = readFileSync(config, "utf8");
  const other = keyOf(gate);
  writeFileSync(config, before.replace(keyOf(server), other));
  const command = `${process.execPath} commands/pin/main.ts --config-file ${config}`;
  const ask = (input: string) =>
    spawnSync("script", ["-qec", command, "/dev/null"], { cwd: root, encoding: "utf8", input });
  const refused = ask("\n");
  expect(refused.stdout).toContain(`pinned  ssh-ed25519 ${fingerprint(other)}`);
  expect(refused.stdout).toContain(`shown   ecdsa-sha2-nistp256 ${fingerprint(keyOf(server))}`);
  expect(refused.stdout).toContain("somebody stands between");
  expect(refused.status).toBe(1);
  expect(site().server.ssh.hostKey).toBe(other);
  const agreed = ask("y\n");
  expect(agreed.status, agreed.stdout).toBe(0);
  expect(readFileSync(config, "utf8")).toBe(before);
});

test("a host that does not answer is told, and so is a --yes for none of the hosts", () => {
  gate.stop();
  const { status, stdout } = pin();
  expect(status).toBe(1);
  expect(stdout).toMatch(/pi\.jump .*: shows no key: .*(refused|closed|reset)/i);
  expect(pin("--yes", "pie=SHA256:x").stderr).toContain("the hosts are server, pi.jump, pi");
  expect(pin("--yes", "pie=SHA256:x").status).toBe(2);
});
