/** A part of the config before the schema has read it: anything may be missing or of a wrong kind. */
export type Raw = Record<string, unknown>;

/** The value as a part of the config; without fields when it is none. */
export function asRecord(value: unknown): Raw {
  return typeof value === "object" && value !== null ? (value as Raw) : {};
}

/** A list's entries as parts of the config; none where it is no list. */
export function asRecords(value: unknown): Raw[] {
  return Array.isArray(value) ? value.map(asRecord) : [];
}

/** How the site's hosts are logged in to, the servers first, in a config that may have mistakes. */
export function rawLogins(site: Raw) {
  const hosts = [...rawServers(site), { path: "pi", raw: asRecord(site.pi) }];
  return hosts.map(({ path, raw }) => ({ path, ssh: asRecord(raw.ssh), address: raw.address }));
}

/** Where each server is reached: by its tunnels, and by SSH where that is elsewhere. */
export function serverAddresses(site: Raw) {
  return rawServers(site).flatMap(({ path, raw }) =>
    [raw.address, asRecord(raw.ssh).host].map((address) => ({ path, address })),
  );
}

/** The site's servers in a config that may have mistakes, the main one first, with the paths of their fields. */
export function rawServers({ server, vpn, backups }: Raw) {
  return [
    { path: "server", raw: asRecord(server), bindPath: "vpn.bind", bind: asRecord(vpn).bind },
    ...asRecords(backups).map((raw, index) => {
      const path = `backups[${index}]`;
      return { path, raw, bindPath: `${path}.bind`, bind: raw.bind };
    }),
  ];
}

/** What of a stack's config is this project's, by its keys. As to Pulumi, one without a project is so, too. */
export function ownConfig(config: Raw): Raw {
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]) => {
      const own = key.replace(/^adsl-bonding:/, "");
      return own.includes(":") ? [] : [[own, value]];
    }),
  );
}
