import * as pulumi from "@pulumi/pulumi";

/** All that the program declares: its own components, commands on its hosts, and Pulumi's own (the stack, providers). */
const declared = /^(adsl-bonding:|pulumi:|command:remote:Command$)/;

/**
 * Has the program refuse what no part of it, now or later, may ask for: a resource at OVH (one that is declared
 * can order, reinstall or end a server; a look-up is no resource), a command over a connection that takes any host
 * key, and a command with a secret in its text, which previews, logs and process lists would show. It is called
 * before the first resource; whatever any component declares comes by here.
 */
export function guardStack(): void {
  pulumi.runtime.registerStackTransformation(({ type, name, props, opts }) => {
    if (type.startsWith("ovh:")) {
      throw new pulumi.RunError(
        `${name} is a resource of type ${type}: this program declares nothing at OVH, which could order, reinstall or end a server`,
      );
    }
    if (!declared.test(type)) {
      throw new pulumi.RunError(
        `${name} is a resource of type ${type}: this program declares commands on its hosts, and nothing else`,
      );
    }
    if (!type.startsWith("command:")) return undefined;
    const guarded = Object.entries(props).map(([key, value]) => [
      key,
      key === "connection" ? pinned(name, value) : shown(name, key, value),
    ]);
    return { props: Object.fromEntries(guarded), opts };
  });
}

/** What is known of a connection here: the host's key, and that of the host on the way. */
interface Connection {
  hostKey?: string;
  proxy?: Connection;
}

function pinned(name: string, connection: pulumi.Input<Connection>) {
  return pulumi.output(connection).apply((known) => {
    if (!known.hostKey || (known.proxy && !known.proxy.hostKey)) {
      throw new pulumi.RunError(
        `${name} would log in to a host without knowing its key: ssh.hostKey is missing`,
      );
    }
    return known;
  });
}

function shown(name: string, key: string, value: unknown) {
  const refusal = new pulumi.RunError(`${name} has a secret in its ${key}, where it would be shown`);
  if (typeof value !== "object" || value === null) {
    if (holdsKey(value)) throw refusal;
    return value;
  }
  const output = pulumi.output(value).apply((known) => {
    if (holdsKey(known)) throw refusal;
    return known;
  });
  return pulumi.output(
    pulumi.isSecret(output).then((secret) => {
      if (secret) throw refusal;
      return output;
    }),
  );
}

/** A private key is a secret, marked as one or not, wherever in a value it stands. */
function holdsKey(value: unknown): boolean {
  return (JSON.stringify(value) ?? "").includes("PRIVATE KEY-----");
}
