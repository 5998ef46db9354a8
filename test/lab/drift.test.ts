import { beforeAll, expect, test } from "vitest";
import type { Stack } from "../../lab/stack.ts";
import { deployedSite, must, mustUp, slavesSettle } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

/** What `systemctl edit` writes. */
const additions = "/etc/systemd/system/adsl-dev-tunnel@.service.d";

test("a preview names what was changed by hand on either host", async () => {
  await must("server", "echo 'verb 9' >>/etc/adsl-bonding/dev/tunnel-ovh.conf");
  await must("server", "systemctl -q disable adsl-dev-firewall.service");
  // All that needs the bond stops with it; no probe of the lines may be tried then, whose port the tunnels want back.
  await must("server", "systemctl stop adsl-dev-bond.service");
  await must("pi", "ip rule del pref 31300 && ip route del default table 21000");
  await must("pi", "systemctl -q mask --now adsl-dev-tunnel@orange.service");
  await must("pi", "nft delete chain inet adsl_bonding_dev forward");
  await must("pi", `mkdir ${additions} && printf '[Service]\\nNice=5\\n' >${additions}/override.conf`);
  await must("pi", "chmod 644 /etc/adsl-bonding/dev/keys/*.key && chown nobody /etc/adsl-bonding/dev/routes");
  await must("server", "sysctl -qw net.ipv4.conf.all.send_redirects=1");
  const { code, stdout, stderr } = await stack.pulumi(["preview", "--diff"]);
  expect(code, stdout + stderr).toBe(0);
  for (const named of [
    /dev\/keys\/ovh\S*\.key is open to others/,
    "/etc/adsl-bonding/dev/routes has another mode or owner",
    "net.ipv4.conf.all.send_redirects is 1, not 0",
    "/etc/adsl-bonding/dev/tunnel-ovh.conf was edited",
    "adsl-dev-firewall.service is not enabled",
    "adsl-dev-bond.service is not running",
    "adsl-dev-tunnel@orange.service is not enabled",
    `${additions}/override.conf was added`,
    "adsl-dev-routes.service: rule from all lookup 21000 is gone",
    /adsl-dev-routes\.service: route default via 172\.16\.16\.1 dev bond0 .*is gone/,
    /adsl-dev-firewall\.service: chain forward .*is gone/,
  ]) {
    expect(stdout).toMatch(named);
  }
});

test("up mends it, and a further up changes nothing", async () => {
  await mustUp(stack);
  await slavesSettle(2, 60);
  await must("server", "! grep 'verb 9' /etc/adsl-bonding/dev/tunnel-ovh.conf");
  await must("server", "systemctl -q is-enabled adsl-dev-firewall.service");
  await must("pi", "systemctl -q is-enabled adsl-dev-tunnel@orange.service");
  await must("pi", `! ls ${additions}`);
  expect(await must("pi", "stat -c '%a %U' /etc/adsl-bonding/dev/keys/*.key | sort -u")).toBe("600 root\n");
  expect(await must("pi", "stat -c %U /etc/adsl-bonding/dev/routes")).toBe("root\n");
  expect(await must("server", "sysctl -n net.ipv4.conf.all.send_redirects")).toBe("0\n");
  expect(await must("pi", "systemctl show -p Nice adsl-dev-tunnel@ovh.service")).toBe("Nice=0\n");
  expect(await must("server", "ip rule")).toContain("to 192.168.1.0/24");
  expect(await must("pi", "ip rule")).toContain("lookup 21000");
  expect(await must("pi", "ip route show table 21000")).toContain("default via 172.16.16.1 dev bond0");
  expect(await must("pi", "nft list chain inet adsl_bonding_dev forward")).toContain("maxseg");
  expect(await mustUp(stack)).not.toMatch(/\d+ (created|updated|deleted|changes)/);
});

test("what goes once more in the same way is named and mended once more", async () => {
  for (const _ of ["once", "once more"]) {
    await must("server", "systemctl stop adsl-dev-bond.service");
    const { stdout } = await stack.pulumi(["preview", "--diff"]);
    expect(stdout).toContain("adsl-dev-bond.service is not running");
    await mustUp(stack);
    await slavesSettle(2, 60);
  }
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});
