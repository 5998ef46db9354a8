import { afterAll, beforeAll, expect, test } from "vitest";
import { exec } from "../../lab/index.ts";
import { deployedSite, must, slavesSettle } from "./site.ts";

/** Each line's box, and the UDP ports of the server that must never be seen there. */
const strangers = { ovh: 1195, orange: 1194 };
const seconds = 25;

beforeAll(async () => {
  await deployedSite();
});

afterAll(async () => {
  await exec("orange", "ip link set eth0 up");
});

/** Counts, on each box and inside the bond, tunnel packets that belong to another line, while something happens. */
async function strayed(happening: () => Promise<unknown>): Promise<Record<string, number>> {
  const watch = async (namespace: string, device: string, filter: string) => {
    // From the guest, for a plain host has no tcpdump; which closes its output with an empty line, not counted.
    const capture = `ip netns exec ${namespace} timeout ${seconds} tcpdump -l -n -i ${device} '${filter}'`;
    const command = `${capture} 2>/dev/null | grep -cE ' IP | ARP,'`;
    return Number((await exec("guest", command, { timeoutSeconds: seconds + 30 })).stdout);
  };
  const watches = [
    // On the line itself: on the LAN a switch shows each box now and then what is meant for the other.
    watch("ovh", "wan", `udp port ${strangers.ovh}`),
    watch("orange", "wan", `udp port ${strangers.orange}`),
    // A tunnel never travels inside the bond.
    watch("server", "bond-dev", "udp portrange 1194-1195"),
    // What is certainly there to be counted: the bond's ARP probes, and the lines' own packets.
    watch("server", "bond-dev", "arp"),
    watch("ovh", "wan", "udp port 1194"),
    watch("orange", "wan", "udp port 1195"),
  ];
  await must("guest", "sleep 3");
  await happening();
  const [ovh, orange, bond, probes, ...own] = await Promise.all(watches);
  expect(Math.max(...own)).toBeGreaterThan(10);
  expect(probes).toBeGreaterThan(10);
  return { ovh: ovh!, orange: orange!, bond: bond! };
}

test("tunnels keep to their own lines while all of them restart", async () => {
  const counts = await strayed(() =>
    must("pi", "systemctl restart 'adsl-dev-tunnel@*' adsl-dev-routes.service"),
  );
  expect(counts).toEqual({ ovh: 0, orange: 0, bond: 0 });
  await slavesSettle(2, 60);
});

test("a tunnel whose box is gone does not take another way", async () => {
  const counts = await strayed(() => must("orange", "ip link set eth0 down"));
  expect(counts).toEqual({ ovh: 0, orange: 0, bond: 0 });
  await slavesSettle(1);
  await must("orange", "ip link set eth0 up");
  await slavesSettle(2, 60);
});

test("a tunnel that lost its mark is silent, and what it would have sent is counted", async () => {
  const config = "/etc/adsl-bonding/dev/tunnel-ovh.conf";
  const restart = "systemctl restart adsl-dev-tunnel@ovh";
  await must("pi", `cp ${config} /root/whole.conf && sed -i '/^mark /d' ${config}`);
  const counts = await strayed(() => must("pi", restart));
  expect(counts).toEqual({ ovh: 0, orange: 0, bond: 0 });
  await slavesSettle(1);
  const chain = await must("pi", "nft list chain inet adsl_bonding_dev tunnels");
  expect(Number(/udp dport 1194 .* counter packets (\d+)/.exec(chain)?.[1])).toBeGreaterThan(3);
  await must("pi", `mv /root/whole.conf ${config} && ${restart}`);
  await slavesSettle(2, 60);
});

test("another VPN's own table stays where it is, as Tailscale's", async () => {
  const table = "ip route add 100.64.0.0/10 dev other0 table 52 && ip rule add pref 5270 lookup 52";
  await must("pi", `ip link add other0 type dummy && ip link set other0 up && ${table}`);
  try {
    expect(await must("pi", "ip route get 100.70.0.9")).toContain("dev other0");
    expect(await must("pi", "ip route get 198.51.100.7")).toContain("dev bond0");
  } finally {
    await must("pi", "ip rule del pref 5270 && ip link del other0");
  }
});
