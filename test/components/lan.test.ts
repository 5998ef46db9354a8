import { expect, test } from "vitest";
import { warnOfOffers } from "../../components/lan/offers.ts";
import { parseFacts } from "../../host/inspect.ts";
import { declare } from "./declare.ts";

test("a LAN that is served: what stands on the Pi for it, and nothing on the server", async () => {
  const plain = await declare();
  const served = await declare((site) => {
    site.lan = { dhcp: { from: "192.168.1.100", to: "192.168.1.199" }, dns: { upstream: ["198.51.100.7"] } };
  });
  const names = new Set(plain.commands.map(({ name }) => name));
  const added = served.commands.filter(({ name }) => !names.has(name));
  expect(added.map(({ name, inputs }) => `=== ${name}\n${inputs.stdin}`).join("\n")).toMatchSnapshot();
  const command = (name: string) => served.commands.find((each) => each.name === name)!.inputs;
  expect(command("pi packages").create).toMatch(/ dnsmasq-base$/);
  expect(command("server packages").create).not.toContain("dnsmasq");
  expect(command("pi arm").stdin).toMatch(
    /^unit [0-9a-f]+ adsl-dev-dnsmasq\.service .*dnsmasq\.conf \S+dnsmasq$/m,
  );
  expect(command("server arm").stdin).not.toContain("dnsmasq");
});

test("names alone are served without a word of addresses", async () => {
  const { commands } = await declare((site) => (site.lan = { dns: {} }));
  const { stdin } = commands.find(({ name }) => name === "pi /etc/adsl-bonding/dev/dnsmasq.conf")!.inputs;
  expect(stdin).toContain("server=9.9.9.9\nserver=1.1.1.1\n");
  expect(stdin).not.toContain("dhcp");
});

test("whoever else hands out addresses is named", () => {
  expect(warnOfOffers(parseFacts("offers=192.168.1.254\nend=yes\n"))).toEqual([
    expect.stringMatching(/^192\.168\.1\.254 hands out addresses/),
  ]);
  expect(warnOfOffers(parseFacts("end=yes\n"))).toEqual([]);
});
