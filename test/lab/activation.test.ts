import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { exec } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { trainThroughEach } from "./direct.ts";
import { deployedSite, eventually, must, mustUp, slavesSettle } from "./site.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await deployedSite();
});

trainThroughEach();

afterAll(async () => {
  await exec("pi", "systemctl start ssh.service");
});

/** What a host says it runs, and whether anything is being tried or has been undone. */
function status(host: string): Promise<string> {
  return must(host, "adsl-bonding-dev status");
}

const currentOf = (text: string) => /^current generation: (\w+)$/m.exec(text)?.[1];

test("wrong gateways undo themselves, and say what did not work", async () => {
  const before = { pi: currentOf(await status("pi")), server: currentOf(await status("server")) };
  expect(before.pi).toBeDefined();
  expect(before.pi).toBe(before.server);
  await stack.configure((site) => {
    site.activation = { confirmWithin: 40 };
    site.lines[0].gateway = "192.168.1.98";
    site.lines[1].gateway = "192.168.1.99";
  });
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  expect(stdout).toMatch(/pi settle/);
  expect(stdout).toMatch(/0 of 2 slaves of bond0 are up; 2 are needed/);
  // With the last words of what failed.
  expect(stdout).toMatch(/adsl-dev-tunnel@ovh\.service: \S/);
  for (const host of ["pi", "server"] as const) {
    await eventually(host, "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 60);
    expect(currentOf(await status(host))).toBe(before[host]);
  }
  await slavesSettle(2, 60);
  expect(await must("pi", "ip route show table 21001")).toContain("192.168.1.240");
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("the next up, with the right gateways, works", async () => {
  await stack.configure(() => {});
  await mustUp(stack);
  await slavesSettle(2);
  expect(await status("pi")).not.toMatch(/trying|last undone/);
  expect(currentOf(await status("pi"))).toBe(currentOf(await status("server")));
});

test("a confirmation that is lost on the Pi alone doesn't part it from a server that has forgotten the old keys", async () => {
  const before = currentOf(await status("pi"));
  await stack.configure((site) => {
    site.activation = { confirmWithin: 40 };
    site.bond = { arpInterval: 120 };
    site.vpn = { keys: 2 };
  });
  // The Pi can't be logged in to from the moment on when the server is confirmed.
  const fault = exec(
    "guest",
    `for i in $(seq 900); do
       /lab/in.sh server grep -q 'arp_interval 120' /etc/adsl-bonding/dev/bond &&
         /lab/in.sh server test ! -e /var/lib/adsl-bonding/dev/trying && break
       sleep 0.2
     done
     /lab/in.sh pi systemctl stop ssh.socket ssh.service`,
    { timeoutSeconds: 400 },
  );
  const { code } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  await fault;
  await must("pi", "systemctl start ssh.service");
  expect(code).not.toBe(0);
  await eventually("pi", "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 90);
  // The Pi has heard by the bond what the server runs for good, and goes with it.
  expect(currentOf(await status("server"))).not.toBe(before);
  expect(currentOf(await status("pi"))).toBe(currentOf(await status("server")));
  expect(await status("pi")).not.toContain("last undone");
  await slavesSettle(2, 60);
  expect(await externalAddress()).toBe("203.0.113.10");

  await mustUp(stack);
  const [pi, server] = [currentOf(await status("pi")), currentOf(await status("server"))];
  expect(pi).toBe(server);
  await slavesSettle(2, 60);
  expect(await must("pi", "cat /proc/net/bonding/bond0")).toContain("ARP Polling Interval (ms): 120");
});

test("after a mend a further up changes nothing", async () => {
  expect(await mustUp(stack)).not.toMatch(/\d+ (created|updated|deleted|changes)/);
});

test("a way out that is lost by a change undoes it; one that was lost before holds nothing up", async () => {
  const before = currentOf(await status("pi"));
  const change = (arpInterval: number) =>
    stack.configure((site) => {
      site.activation = { confirmWithin: 40 };
      site.bond = { arpInterval };
    });
  await change(130);
  // The server passes nothing on from the moment on when the Pi has told how much worked before.
  const fault = exec(
    "guest",
    `for i in $(seq 900); do grep -qsx '2 out' /run/hosts/pi/root/var/lib/adsl-bonding/dev/before && break; sleep 0.2; done
     /lab/in.sh server ip rule add pref 50 iif bond-dev blackhole`,
    { timeoutSeconds: 400 },
  );
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  await fault;
  expect(code).not.toBe(0);
  expect(stdout).toContain("nothing behind the server answers");
  for (const host of ["pi", "server"]) {
    await eventually(host, "[ ! -e /var/lib/adsl-bonding/dev/trying ]", 60);
    expect(currentOf(await status(host))).toBe(before);
  }

  await slavesSettle(2, 60);
  expect(await must("pi", "/etc/adsl-bonding/dev/check count")).toBe("2\n");
  await change(140);
  await mustUp(stack);
  await must("server", "ip rule del pref 50 iif bond-dev blackhole");
  await slavesSettle(2, 60);
  expect(await must("pi", "/etc/adsl-bonding/dev/check count")).toBe("2 out\n");
  expect(await status("pi")).toMatch(/^check: 2 of 2 slaves are up/m);
});
