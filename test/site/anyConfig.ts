import fc from "fast-check";

/** Letters that stand in every secret of the configs below. */
export const secretLetters = "HUSH";

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const privateKey = `-----BEGIN OPENSSH PRIVATE KEY-----\n${secretLetters}\n-----END OPENSSH PRIVATE KEY-----`;

const label = (max: number) => fc.stringMatching(new RegExp(`^[a-z][a-z0-9]{0,${max - 1}}$`));
const between = (min: number, max: number) => fc.integer({ min, max });
const some = <Fields extends object>(fields: { [Key in keyof Fields]: fc.Arbitrary<Fields[Key]> }) =>
  fc.record(fields, { requiredKeys: [] });
const rate = (min: number, max: number) =>
  fc.oneof(
    between(min, max).map((kbits) => `${kbits} kbit/s`),
    between(min, max).map((kbits) => `${kbits / 1000} Mbit/s`),
  );
const price = fc.double({ min: 0, max: 1000, noNaN: true });
const ports = fc.oneof(
  between(2000, 60_000),
  between(2000, 60_000).map((first) => `${first}-${first + 5}`),
);

const login = some({
  // Hardly ever that of two hosts.
  host: fc
    .tuple(fc.constantFrom("gate", "192.0.2.", "2001:db8::"), between(1, 200))
    .map(([kind, n]) => (kind === "gate" ? `gate${n}.example.net` : kind + n)),
  port: fc.constantFrom(22, 2222),
  user: fc.constantFrom("root", "pi"),
  privateKeyFile: fc.constant("~/.ssh/id_ed25519"),
}).map((fields) => ({ ...fields, hostKey }));
const ssh = fc
  .tuple(login, fc.option(login, { nil: undefined, freq: 4 }))
  .map(([own, jump]) => (jump ? { ...own, jump: { host: "gate", ...jump } } : own));

const ovh = fc
  .tuple(
    some({ endpoint: fc.constantFrom("kimsufi-eu", "https://eu.api.ovh.com/1.0") }),
    fc.constantFrom({}, ...[1, 2].map((n) => secrets(n))),
  )
  .map(([fields, keys]) => ({ serviceName: "ns3012345.ip-203-0-113.eu", ...fields, ...keys }));

function secrets(n: number) {
  const value = `${secretLetters}${n}`;
  return { applicationKey: value, applicationSecret: value, consumerKey: value };
}

const forward = fc.constantFrom(["ip filter FORWARD"], ["inet firewalld filter_FORWARD"]);
const onServer = some({ ovh, price, letThrough: some({ forward, input: fc.constant(["ip filter INPUT"]) }) });

const line = fc.record(
  {
    name: label(10),
    where: fc.constantFrom("lan", "lan", "own", "dhcp"),
    down: rate(4000, 60_000),
    up: fc.oneof({ weight: 15, arbitrary: rate(2000, 4000) }, { weight: 1, arbitrary: rate(1, 150) }),
    encapsulation: fc.constantFrom("pppoe-llc", "pppoa-vc", "pppoe-ethernet", "ethernet"),
    mtu: between(1400, 1500),
    tunnels: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: between(1, 8) }),
    protocol: fc.constantFrom("udp", "udp", "tcp"),
    fragment: fc.constantFrom(false, false, true),
    keys: between(1, 3),
    price,
  },
  { requiredKeys: ["name", "where", "down", "up"] },
);

const sections = some({
  bond: some({
    network: fc.constantFrom("172.16.16.0/30", "10.77.0.0/24", "100.64.0.0/30"),
    interface: fc.constantFrom("bond0", "bond1"),
    mode: fc.constantFrom("balance-rr", "balance-rr", "balance-xor", "active-backup"),
    arpInterval: between(80, 1000),
    mtu: between(576, 1300),
  }),
  vpn: some({
    firstPort: between(3000, 60_000),
    keepalive: fc.constantFrom({}, { interval: 2, timeout: 10 }),
    bind: fc.constantFrom("203.0.113.11", "10.200.0.5"),
    sources: fc.constantFrom(["192.0.2.0/28"], ["192.0.2.1", "home.example.net"]),
    ciphers: fc.constant(["AES-128-GCM"]),
    txqueuelen: between(1, 5000),
    replayWindow: some({ packets: between(64, 4096), seconds: between(1, 600) }),
    verbosity: between(0, 11),
    keys: between(1, 3),
  }),
  qos: some({ enabled: fc.boolean(), share: fc.double({ min: 0.5, max: 1, noNaN: true }) }),
  watch: some({ enabled: fc.boolean(), loss: between(5, 90), clean: between(10, 3600) }),
  forwards: fc.array(
    fc.record(
      {
        ports,
        protocol: fc.constantFrom("tcp", "udp", "both"),
        to: fc.constantFrom("192.168.1.10", "192.168.1.252"),
      },
      { requiredKeys: ["ports"] },
    ),
    { maxLength: 3 },
  ),
  activation: some({ confirmWithin: between(30, 900), wayOut: fc.constantFrom(false, "9.9.9.9") }),
  lan: fc.constantFrom(
    { dns: {} },
    { dns: { upstream: ["9.9.9.9"] }, dhcp: { from: "192.168.1.100", to: "192.168.1.200", lease: "2h" } },
  ),
  costs: some({
    currency: fc.constantFrom("EUR", "USD"),
    once: fc.constant([{ what: "Raspberry Pi", price: 60, months: 24 }]),
  }),
});

/** What a bypass chooses by, and by which of the lines. */
const bypass = fc.tuple(
  fc.nat(7),
  fc.constantFrom<object>(
    { ports: [80, "443-444"], protocol: "tcp" },
    { hosts: ["pi", "192.168.1.32/28"] },
    { to: ["198.51.100.0/24"], dscp: "ef" },
    { dscp: 46 },
  ),
);

/** Configs of all sections; nearly all of them are right. */
const rightConfig = fc
  .record({
    name: label(8),
    server: fc.tuple(onServer, ssh).map(([fields, ssh]) => ({ address: "203.0.113.10", ssh, ...fields })),
    pi: fc
      .tuple(some({ interface: fc.constantFrom("eth0", "end0"), letThrough: some({ forward }) }), ssh)
      .map(([fields, ssh]) => ({ address: "192.168.1.252/24", ssh, ...fields })),
    lines: fc.uniqueArray(line, { minLength: 1, maxLength: 8, selector: ({ name }) => name }),
    latencies: fc.option(fc.array(between(1, 2000), { minLength: 8, maxLength: 8 }), { nil: undefined }),
    backups: fc.uniqueArray(fc.tuple(label(8), ssh, onServer), {
      maxLength: 8,
      selector: ([name]) => name,
    }),
    sections,
    bypass: fc.array(bypass, { maxLength: 3 }),
    fallback: fc.option(fc.oneof(fc.boolean(), fc.nat(7)), { nil: undefined }),
  })
  .map(({ lines, latencies, backups, sections, bypass, fallback, ...rest }) => {
    const nameOf = (n: number) => lines[n % lines.length]!.name;
    return {
      ...rest,
      lines: lines.map(({ where, ...each }, n) => ({
        ...each,
        ...place(where, n),
        ...(latencies && { latency: latencies[n] }),
      })),
      backups: backups.map(([name, ssh, fields], n) => ({
        name,
        address: `203.0.114.${n + 1}`,
        ssh,
        ...fields,
      })),
      ...sections,
      bypass: bypass.map(([n, choice]) => ({ line: nameOf(n), ...choice })),
      ...(fallback !== undefined && { fallback: typeof fallback === "number" ? nameOf(fallback) : fallback }),
    };
  });

function place(where: "lan" | "own" | "dhcp", n: number) {
  if (where === "lan") return { gateway: `192.168.1.${n + 240}` };
  return { interface: `eth1.${n}`, gateway: where === "dhcp" ? "dhcp" : "192.168.2.1" };
}

/** What a slip of the hand, another kind of value, or malice may put anywhere. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 70_000, 1e21, "", "yes", "pi", "dhcp", "eth0"),
  fc.constantFrom<unknown>([], {}, [null], [[80]], { toString: null }, [{ toString: 1, valueOf: 1 }]),
  fc.constantFrom("constructor", "__proto__", "toString", "two words", "a\nline", "a".repeat(300)),
  fc.constantFrom("0.0.0.0", "127.0.0.1", "0.0.0.0/0", "255.255.255.255/32", "192.0.2.1:22", "tap0"),
  fc.constantFrom<unknown>(1194, 1196, 3001, 22, "bond0", "172.16.16.4/30", "172.16.0.9/16", "192.168.1.241"),
  fc.constantFrom(privateKey, "nobody@192.0.2.1", "bond-a", "tap0-a", "-", "1-0"),
  fc.tuple(fc.ipV4(), fc.nat(33)).map((two) => two.join("/")),
  fc.ipV4(),
  fc.integer(),
  fc.double(),
  fc.string(),
  fc.jsonValue(),
);

const mutation = fc.record({
  at: fc.nat(10_000),
  from: fc.nat(10_000),
  how: fc.constantFrom("replace", "replace", "replace", "delete", "add", "copy"),
  odd,
  key: fc.constantFrom("speed", "constructor", "__proto__", "toString", "hasOwnProperty", "0", "length"),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer Value> ? Value : never;

/** Configs as Pulumi reads them, right ones and such as people and chance make of them. */
export const anyConfig = fc
  .tuple(
    rightConfig,
    fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      { weight: 3, arbitrary: fc.array(mutation, { minLength: 1, maxLength: 4 }) },
    ),
  )
  .map(([config, mutations]) => {
    const root = { config: structuredClone(config) as unknown };
    for (const each of mutations) mutate(root, each);
    return JSON.parse(JSON.stringify(root)).config as unknown;
  });

type Container = Record<string, unknown> | unknown[];

function mutate(root: { config: unknown }, { at, from, how, odd, key }: Mutation): void {
  const slots = slotsOf(root);
  const [parent, name] = slots[at % slots.length]!;
  const value = structuredClone(odd);
  if (how === "copy") {
    const [other, its] = slots[from % slots.length]!;
    const copied = structuredClone(Reflect.get(other, its));
    // A secret by itself, in a field that has none, can't be known as one.
    if (!String(JSON.stringify(copied)).startsWith(`"${secretLetters}`)) Reflect.set(parent, name, copied);
  } else if (how === "add" && !Array.isArray(parent)) {
    Object.defineProperty(parent, key, { value, enumerable: true, configurable: true, writable: true });
  } else if (how === "add") (parent as unknown[]).push(value);
  else if (how === "replace" || parent === root) Reflect.set(parent, name, value);
  else if (Array.isArray(parent)) parent.splice(Number(name), 1);
  else Reflect.deleteProperty(parent, name);
}

/** Every place in a config that holds something, the config itself among them. */
function slotsOf(container: Container): [Container, string][] {
  return Object.keys(container).flatMap((name) => {
    const value = Reflect.get(container, name);
    const inner = typeof value === "object" && value !== null ? slotsOf(value) : [];
    return [[container, name], ...inner] as [Container, string][];
  });
}
