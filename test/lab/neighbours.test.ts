import { beforeAll, expect, test } from "vitest";
import { externalAddress } from "../../lab/demo.ts";
import { reboot } from "../../lab/index.ts";
import type { Stack } from "../../lab/stack.ts";
import { answer, answering, tryCall } from "./call.ts";
import { must, mustUp, nothingMissing, pristineSite, slavesSettle } from "./site.ts";

// Hosts that others have set up already: Docker's rules and netplan on the server, a ruleset by hand on the Pi.
let stack: Stack;
let before: { server: string; pi: string };

/** A container behind docker0, and the rules that dockerd makes for it and its published port, as of Docker 28. */
const docker = `
  iptables -P FORWARD DROP
  for chain in DOCKER DOCKER-FORWARD DOCKER-USER; do iptables -N $chain; done
  iptables -t nat -N DOCKER
  iptables -A FORWARD -j DOCKER-USER
  iptables -A FORWARD -j DOCKER-FORWARD
  iptables -A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  iptables -A DOCKER-FORWARD -o docker0 -j DOCKER
  iptables -A DOCKER-FORWARD -i docker0 -j ACCEPT
  iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
  iptables -A DOCKER ! -i docker0 -o docker0 -j DROP
  iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
  iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
  iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80`;
const container = `
  ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0 && ip link set docker0 up
  ip netns add container && ip link add veth0 type veth peer name eth0 netns container
  ip link set veth0 master docker0 up
  ip -n container address add 172.17.0.2/16 dev eth0 && ip -n container link set eth0 up
  ip -n container route add default via 172.17.0.1`;
/** What dockerd does to its chains when it restarts. */
const dockerRestarts = `
  iptables -D FORWARD -j DOCKER-USER; iptables -D FORWARD -j DOCKER-FORWARD
  iptables -F DOCKER-FORWARD; iptables -F DOCKER; iptables -X DOCKER-FORWARD; iptables -X DOCKER; iptables -X DOCKER-USER
  iptables -t nat -F PREROUTING; iptables -t nat -F POSTROUTING; iptables -t nat -F DOCKER; iptables -t nat -X DOCKER
  ${docker}`;

const byHand = `#!/usr/sbin/nft -f
flush ruleset
table inet mine {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    icmp type echo-request accept
    tcp dport 22 accept
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    tcp dport 25 counter reject
  }
}
`;

const netplan = `network:
  version: 2
  renderer: networkd
  ethernets:
    eth0:
      addresses: [203.0.113.10/24]
      routes: [{ to: default, via: 203.0.113.1 }]
`;

const rules = {
  server: "iptables-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'",
  pi: "nft -s list table inet mine",
};

const theirs = async () => ({
  server: await must("server", rules.server),
  pi: await must("pi", rules.pi),
});

/** Docker as it is after the server's boot, with a container that answers. */
async function dockerBegins(): Promise<void> {
  await must("server", `set -e; sysctl -q -w net.ipv4.ip_forward=1; ${container}; ${docker}`);
  await must("server", `ip netns exec container ${answering("tcp:80")}`);
}

/** The site works at both ends, and so does what stood on the hosts before it. */
async function bothWork(): Promise<void> {
  await slavesSettle(2, 60);
  expect(await externalAddress()).toBe("203.0.113.10");
  expect((await tryCall("far", "tcp", "203.0.113.10", 8080)).answer).toBe("80 198.51.100.7");
  await must("server", "ip netns exec container ping -n -q -c 2 198.51.100.7");
  // What the owner of the Pi refuses stays refused.
  expect((await tryCall("client", "tcp", "198.51.100.7", 25)).answer).toBe("");
}

beforeAll(async () => {
  stack = await pristineSite();
  const install = "apt-get -qq update && apt-get -qq -y --no-install-recommends install";
  await must("server", `${install} iptables netplan.io`, 300);
  await must("pi", `${install} nftables`, 300);
  await must("server", `cat >/etc/netplan/01-eth0.yaml && chmod 600 /etc/netplan/*`, 60, netplan);
  await must("server", "rm /etc/systemd/network/10-eth0.network && netplan apply", 120);
  await dockerBegins();
  await must("pi", "cat >/etc/nftables.conf", 60, byHand);
  await must("pi", "systemctl enable --now nftables && systemctl restart nftables");
  await answer("far", "tcp:25");
  before = await theirs();
});

test("Docker's chain that drops what is forwarded is named, with what would help", async () => {
  const { code, stdout } = await stack.pulumi(["up", "--yes", "--skip-preview"]);
  expect(code).not.toBe(0);
  expect(stdout).toContain("server: its firewall's chain ip filter FORWARD drops what is forwarded");
  expect(stdout).not.toContain("chain inet mine forward");
});

test("the site works beside them, and they beside the site", async () => {
  await stack.configure((site) => {
    site.server.letThrough = { forward: ["ip filter FORWARD"] };
  });
  const preview = await stack.pulumi(["preview", "--diff", "--show-full-output"]);
  expect(preview.stdout).toContain("let_in ip filter FORWARD <<'RULES'");
  for (const side of ["iifname", "oifname"]) {
    // Pulumi shows a text with its quotes escaped.
    expect(preview.stdout.replaceAll('\\"', '"')).toContain(`${side} "bond-dev" accept`);
  }
  await mustUp(stack);
  await bothWork();
  expect((await theirs()).pi).toBe(before.pi);
});

test("Docker's restart, netplan's apply and a ruleset loaded anew leave the site working", async () => {
  await must("server", dockerRestarts);
  await must("server", "netplan apply", 120);
  await must("pi", "systemctl restart nftables");
  await nothingMissing(60);
  await bothWork();
  expect((await stack.pulumi(["preview", "--expect-no-changes"])).code).toBe(0);
});

test("so do reboots of both hosts: Docker begins after ours, the Pi's ruleset is loaded by its own unit", async () => {
  await reboot("server");
  await dockerBegins();
  await reboot("pi");
  await nothingMissing(60);
  await bothWork();
  expect((await theirs()).pi).toBe(before.pi);
});

test("destroy leaves them as they were", async () => {
  const { code, stdout, stderr } = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
  expect(code, stdout + stderr).toBe(0);
  expect(await theirs()).toEqual(before);
  await must("server", "ip netns exec container ping -n -q -c 2 198.51.100.7");
});
