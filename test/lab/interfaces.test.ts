import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { cut, down, exec, facts, reset, restore, up } from "../../lab/index.ts";
import { openStack, type Stack } from "../../lab/stack.ts";
import { answer, tryCall } from "./call.ts";
import { far, openBox, seenBy, tunnelsAgain, withoutTunnels } from "./direct.ts";
import { eventually, largestIsWhole, must, mustUp, slavesSettle, tracesOn } from "./site.ts";

/**
 * The second box stands behind the Pi's second network card, at the first box's address, and gives it by DHCP; the third on a
 * VLAN of the LAN's card.
 */
const labFile = fileURLToPath(new URL("interfaces.json", import.meta.url));

const settings = `cd /proc/sys/net/ipv4/conf
  grep . all/*_redirects default/*_redirects eth0/*_redirects eth1/*_redirects eth0/rp_filter eth1/rp_filter eth0.35/rp_filter`;

let stack: Stack;
let before: string;

beforeAll(async () => {
  await up({ site: labFile });
  await reset();
  stack = await openStack(await facts());
  before = await must("pi", settings);
});

// Other scenarios want the usual site.
afterAll(async () => {
  await down();
});

/** ICMP redirects that the client gets while it sends through the Pi to what a box on its own LAN is the way to. */
async function redirects(): Promise<number> {
  const capture =
    "timeout 6 tcpdump -l -n -i eth0 'icmp[icmptype] == icmp-redirect' 2>/dev/null | grep -c redirect";
  const watch = exec("guest", `ip netns exec client ${capture}`, { timeoutSeconds: 30 });
  await must("guest", "sleep 2");
  await exec("client", "ping -n -i 0.5 -c 5 203.0.113.10", { timeoutSeconds: 20 });
  return Number((await watch).stdout);
}

test("a plain Pi tells the LAN of a way round it", async () => {
  await eventually("pi", "ip -4 route show default dev eth1 | grep -q 192.168.1.254", 30);
  expect(await redirects()).toBeGreaterThan(0);
});

const twoBoxes: Parameters<Stack["configure"]>[0] = (site) => {
  site.lines[0].gateway = "192.168.1.254";
  Object.assign(site.lines[1], { gateway: "dhcp", interface: "eth1" });
  site.lines.length = 2;
};

const threeBoxes: typeof twoBoxes = (site) => {
  const vlan = { ...site.lines[2], interface: "eth0.35", latency: 35 };
  twoBoxes(site);
  site.lines.push(vlan);
};

test("two boxes at one address, one of them by DHCP, make a bond", async () => {
  await stack.configure(twoBoxes);
  await mustUp(stack);
  await slavesSettle(2, 60);
  expect(await must("pi", "ip route show table 21001")).toContain("default via 192.168.1.254 dev eth0");
  expect(await must("pi", "ip route show table 21002")).toContain("default via 192.168.1.254 dev eth1");
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("each tunnel leaves by its own line", async () => {
  for (const [line, own, other] of [
    ["ovh", 1194, 1195],
    ["orange", 1195, 1194],
  ] as const) {
    const seen = await exec("guest", `ip netns exec ${line} timeout 5 tcpdump -l -n -i wan udp 2>/dev/null`);
    expect(seen.stdout).toContain(`203.0.113.10.${own}`);
    expect(seen.stdout).not.toContain(`203.0.113.10.${other}`);
  }
  await cut("orange");
  await slavesSettle(1);
  await restore("orange");
  await slavesSettle(2, 60);
});

test("the LAN stays on its own interface, and filtering lets every line's packets in", async () => {
  expect(await must("pi", "ip route get 192.168.1.10")).toContain("dev eth0");
  // A strict filter on all interfaces: a plain Pi with these boxes is lost with it, since it leaves unanswered what the
  // first box asks by ARP, whose address has a route by the other card (seen: 8 s with, 15 s without a network).
  const conf = "cd /proc/sys/net/ipv4/conf; cat all/rp_filter eth0/rp_filter eth1/rp_filter";
  expect(await must("pi", `sysctl -q -w net.ipv4.conf.all.rp_filter=1; ${conf}`)).toBe("1\n2\n2\n");
  await must("guest", "ip -n ovh neigh flush dev eth0");
  await eventually("guest", "ip -n ovh neigh show 192.168.1.252 | grep -q lladdr", 15);
  await slavesSettle(2, 60);
  await must("pi", "sysctl -q -w net.ipv4.conf.all.rp_filter=0");
});

test("redirects are neither sent nor taken, on interfaces yet to come neither", async () => {
  expect(await redirects()).toBe(0);
  const conf = "cd /proc/sys/net/ipv4/conf; ip link add later type dummy";
  const list = "all eth0 eth1 bond0 tap0 tap1 later";
  const values = `for i in ${list}; do cat $i/send_redirects $i/accept_redirects; done; ip link del later`;
  expect(await must("pi", `${conf}; ${values}`)).toBe("0\n".repeat(14));
  const far = "for i in bond-dev tap0-dev tap1-dev; do cat $i/send_redirects $i/accept_redirects; done";
  expect(await must("server", `cd /proc/sys/net/ipv4/conf; cat all/send_redirects; ${far}`)).toBe(
    "0\n".repeat(7),
  );
});

test("past the bond, too: what is chosen, what is left without a tunnel, calls that enter there; by a server's second address", async () => {
  const second = "203.0.113.11";
  await must("server", `ip address add ${second}/24 dev eth0`);
  await stack.configure((site) => {
    twoBoxes(site);
    // The login stays where the server's own network keeps its address.
    Object.assign(site.server, { address: second, ssh: { ...site.server.ssh, host: "203.0.113.10" } });
    site.vpn = { bind: second };
    site.bypass = [{ line: "orange", protocol: "udp", ports: 27001, hosts: ["192.168.1.10"] }];
    site.fallback = "orange";
  });
  await mustUp(stack);
  await slavesSettle(2, 60);
  expect(await externalAddress()).toBe(second);
  await answer("far", "udp:27001");
  expect((await tryCall("client", "udp", far, 27001)).answer).toBe(`27001 ${seenBy.orange}`);
  const own = await must("pi", "ip -4 -o addr show eth1 | sed -nE 's|.* inet ([0-9.]+)/.*|\\1|p'");
  await openBox("orange", own.trim());
  expect((await tryCall("far", "tcp", seenBy.orange, 2222)).answer).toContain("SSH-2.0");
  await withoutTunnels(0);
  expect(await externalAddress()).toBe(seenBy.orange);
  expect((await tryCall("far", "tcp", seenBy.orange, 2222)).answer).toContain("SSH-2.0");
  await tunnelsAgain();
  expect(await externalAddress()).toBe(second);
});

test("a line whose box goes to another address is followed, and a card pulled and put back is used again", async () => {
  await must("guest", "/lab/dhcp.sh orange 192.168.1.1");
  await must("pi", "networkctl reconfigure eth1");
  await eventually("pi", "ip route show table 21002 | grep -q 'default via 192.168.1.1 dev eth1'", 60);
  await slavesSettle(2, 60);
  // What the kernel drops together with the link comes back with it, on the LAN's card too.
  await must("pi", "ip link set eth0 down; sleep 1; ip link set eth0 up");
  await eventually("pi", "ip route show table 21001 | grep -q 'default via 192.168.1.254 dev eth0'", 30);
  await eventually("pi", "ip route show table 20999 | grep -q '192.168.1.0/24 dev eth0'", 30);
  await slavesSettle(2, 60);
  // At a boot after a power cut the LAN's switch may be later than the Pi, which has no address there then.
  await must("pi", "ip address flush dev eth0 && systemctl restart adsl-dev-routes");
  await must("pi", "systemctl restart networking");
  await eventually("pi", "ip route show table 20999 | grep -q '192.168.1.0/24 dev eth0'", 30);
  await slavesSettle(2, 60);
});

test("a third box, on a VLAN of the LAN's card, makes a line, which outlives that the Pi's network makes the VLAN anew", async () => {
  await stack.configure(threeBoxes);
  await mustUp(stack);
  await slavesSettle(3, 60);
  expect(await must("pi", "ip route show table 21003")).toContain("default via 192.168.35.254 dev eth0.35");
  expect(await must("pi", "cat /proc/sys/net/ipv4/conf/eth0.35/rp_filter")).toBe("2\n");
  const tagged = await must(
    "guest",
    "timeout 9 tcpdump -l -n -c 4 -i lan-pi vlan 35 and udp port 1196 2>/dev/null",
  );
  expect(tagged).toContain("203.0.113.10.1196");
  // A line of PPPoE over Ethernet beside two of PPPoE over ATM.
  await largestIsWhole({ ovh: 1492, orange: 1492, farm: 1492 });
  await cut("farm");
  await slavesSettle(2);
  await restore("farm");
  await slavesSettle(3, 60);
  await must("pi", "systemctl restart networking");
  await eventually("pi", "ip route show table 21003 | grep -q 'default via 192.168.35.254 dev eth0.35'", 30);
  await slavesSettle(3, 60);
  await must("pi", "ip link delete eth0.35");
  await slavesSettle(2);
  await must("pi", "ifdown --force eth0.35; ifup eth0.35");
  // It died for the third time, so it has to stay well for a minute.
  await slavesSettle(3, 120);
  expect(await externalAddress()).toBe("203.0.113.10");
});

test("destroy brings the Pi's own settings back", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  expect(await must("pi", settings)).toBe(before);
  expect(await tracesOn("pi")).toBe("");
});
