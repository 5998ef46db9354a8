import { isMap, isScalar, parseDocument, type YAMLMap } from "yaml";
import type { Login } from "../../host/inspect.ts";
import { asRecord, asRecords } from "../../site/raw.ts";

/** A host whose key the config has to pin. */
export interface Pin {
  /** What it is called here and on the command line: `server`, `pi`, a backup's name, or `pi.jump` for the host on the way. */
  name: string;
  /** Where its login stands in the site's config. */
  path: string[];
  login: Omit<Login, "hostKey"> & { host: string };
  /** The key that the config pins now; undefined when there is none. */
  pinned: string | undefined;
  /** The host to go through. */
  jump: Pin | undefined;
}

/**
 * All hosts of a site as the config names them, one on the way before the one behind it. The config may have mistakes:
 * hosts without a key above all, which the schema doesn't let pass.
 */
export function pinsOf(site: unknown): Pin[] {
  const { server, pi, backups } = asRecord(site);
  const hosts = [
    { name: "server", place: ["server"], given: asRecord(server) },
    { name: "pi", place: ["pi"], given: asRecord(pi) },
    ...asRecords(backups).map((given, index) => {
      return { name: String(given.name ?? `backups[${index}]`), place: ["backups", String(index)], given };
    }),
  ];
  return hosts.flatMap(({ name, place, given: { address, ssh } }) => {
    const path = [...place, "ssh"];
    const { jump: given } = asRecord(ssh);
    const jump = given === undefined ? undefined : pinOf(`${name}.jump`, [...path, "jump"], given, "");
    const host = { ...pinOf(name, path, ssh, String(address ?? "").split("/")[0]!), jump };
    return jump ? [jump, host] : [host];
  });
}

function pinOf(name: string, path: string[], login: unknown, address: string): Pin {
  const { host, port, user, privateKeyFile, hostKey } = asRecord(login);
  return {
    name,
    path,
    login: {
      host: String(host ?? address),
      port: Number(port ?? 22),
      user: String(user ?? "root"),
      ...(typeof privateKeyFile === "string" && { privateKeyFile }),
    },
    // What somebody is still to fill in is no key.
    pinned: /^\S+ [A-Za-z0-9+/]{16,}=*/.exec(String(hostKey))?.[0],
    jump: undefined,
  };
}

/** The config with a host's key in it, all else as it is written: comments, order, style. */
export function writePin(text: string, path: string[], hostKey: string): string {
  const keys = ["config", "adsl-bonding:site", ...path, "hostKey"];
  const document = parseDocument(text);
  const old = document.getIn(keys, true);
  if (isScalar(old)) {
    const [start, end] = old.range!;
    return text.slice(0, start) + (start === end ? ` ${hostKey} ` : hostKey) + text.slice(end);
  }
  // What is missing goes first into the innermost part that is there.
  let depth = keys.length - 1;
  while (!isMap(document.getIn(keys.slice(0, depth), true))) depth--;
  const part = document.getIn(keys.slice(0, depth), true) as YAMLMap;
  const value = keys.slice(depth + 1).reduceRight((inner, key) => `{ ${key}: ${inner} }`, hostKey);
  const field = `${keys[depth]}: ${value}`;
  const start = part.range![0];
  if (part.flow) {
    return `${text.slice(0, start)}{ ${field}${part.items.length > 0 ? "," : " "}${text.slice(start + 1)}`;
  }
  const indent = text.slice(text.lastIndexOf("\n", start) + 1, start);
  return `${text.slice(0, start)}${field}\n${indent}${text.slice(start)}`;
}
