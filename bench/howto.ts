import { readFile } from "node:fs/promises";
import { exec, LabError, type Site, step } from "../lab/index.ts";

/** Puts the how-to's own settings on the lab's plain hosts (howto.sh says what had to be adapted). */
export async function deployHowto(site: Site): Promise<void> {
  const script = await readFile(new URL("howto.sh", import.meta.url), "utf8");
  const server = site.servers[0]!;
  const [first, second, ...more] = site.lines;
  if (!second || more.length > 0) throw new LabError("the how-to is for two lines");
  const lan = site.pi.address.replace(/\d+$/, "0/24");
  const words = [server.address, first!.box, second.box, lan].join(" ");

  step("the how-to's settings on the server");
  await put(server.name, "/root/howto.sh", script);
  await must(server.name, `sh /root/howto.sh server ${words}`);
  step("the how-to's settings on the Pi");
  await put("pi", "/root/howto.sh", script);
  await put("pi", "/etc/openvpn/ta.key", await must(server.name, "cat /etc/openvpn/ta.key"));
  await must("pi", `sh /root/howto.sh pi ${words}`);
}

async function must(place: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await exec(place, command, { timeoutSeconds: 300 });
  if (code !== 0) throw new LabError(`${place}: ${command} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}

async function put(place: string, path: string, text: string): Promise<void> {
  const { code, stderr } = await exec(place, `mkdir -p "$(dirname ${path})"; umask 077; cat >${path}`, {
    stdin: text,
  });
  if (code !== 0) throw new LabError(`${place}: ${path} can't be written: ${stderr}`);
}
