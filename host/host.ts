import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Ssh } from "../site/schema.ts";
import { digest } from "./generation.ts";

/** What is needed to know a host: where it is, how to log in, and which site's things are meant on it. */
export interface HostArgs {
  /** What the host is called in names of resources and messages: `pi` or `server`. */
  name: string;
  /** What it is of the site where that may change, as a backup may become the server: then it is not removed as this. */
  role?: string;
  /** Whether the other hosts may be reached through it: then it is removed when they are. */
  leadsToOthers?: boolean;
  site: string;
  /** Where SSH connects to unless `ssh.host` says otherwise. */
  address: string;
  ssh: Ssh;
  /**
   * Which installation of the host is meant: what it answered, or a new name where nothing of the site stands. It is
   * part of every command, so that all of them run again on a host that was made anew. Empty: one that was made before
   * installations had names. Undefined: the host could not be asked, and a preview is to show no change for that.
   */
  installation: string | undefined;
}

/** Options of one command on a host. */
interface RunOptions {
  /** Text for its standard input: shown as a line diff by `pulumi preview --diff`. */
  stdin?: pulumi.Input<string>;
  /** The program's arguments when the resource goes; nothing runs by default, nor where the program is gone. */
  onDelete?: string;
  parent: pulumi.Resource;
  dependsOn?: pulumi.Input<pulumi.Input<pulumi.Resource>[]>;
  /** What the resource was called before, by earlier versions. */
  once?: string;
}

/**
 * The only way to a machine: every command and file of the program goes through here, over a connection
 * whose host key is pinned, and as root.
 */
export class Host {
  readonly name: string;
  readonly site: string;
  private readonly connection: pulumi.Output<command.types.input.remote.ConnectionArgs>;
  private readonly sudo: string;
  private readonly role: string | undefined;
  private readonly onDelete: string;
  private readonly installation: string | undefined;
  private installed?: pulumi.Resource;

  constructor({ name, role, leadsToOthers, site, address, ssh, installation }: HostArgs) {
    this.name = name;
    this.installation = installation;
    this.site = site;
    this.role = role;
    this.onDelete = leadsToOthers ? "remove-last" : role ? `remove-as ${role}` : "remove";
    this.connection = pulumi.secret(connectionOf(ssh, address));
    this.sudo = ssh.user === "root" ? "" : "sudo -n ";
  }

  /** Path of the site's program on the host (program.sh). */
  get program(): string {
    return `/usr/local/sbin/adsl-bonding-${this.site}`;
  }

  /**
   * Runs a command of the site's program.
   * @param title what the resource is called after the host's name, unique on it
   */
  call(title: string, args: pulumi.Input<string>, options: RunOptions): command.remote.Command {
    const meant = this.installation ? `of ${this.installation} ` : "";
    return this.run(title, pulumi.interpolate`${this.program} ${meant}${args}`, options);
  }

  /**
   * Installs the site's program. What goes with it, at the very end, is everything of the site on the host. Where that
   * fails, the plugin words the error, and a destroy does not even run us: the name alone can say what helps.
   */
  install(parent: pulumi.Resource): command.remote.Command {
    const { program, installation = "", role } = this;
    const words = role ? [`"${installation}"`, role] : [installation];
    const text = readFileSync(new URL("program.sh", import.meta.url), "utf8");
    const place = [
      `install -D -m 0755 /dev/stdin ${program}.new`,
      // A connection that was lost ends the text anywhere, and what undoes a change is to stay whole.
      `{ echo "${digest(text)}  ${program}.new" | sha256sum --quiet -c || { rm -f ${program}.new; false; }; }`,
      `mv ${program}.new ${program}`,
      [program, "setup", ...words].join(" "),
    ].join(" && ");
    const installed = this.run(
      `program (a host gone for good: npm run forget -- ${this.name})`,
      `sh -c '${place.trimEnd()}'`,
      {
        once: "program",
        stdin: text,
        onDelete: this.onDelete,
        parent,
      },
    );
    this.installed = installed;
    return installed;
  }

  /**
   * What removes the site from the host: its program. Where that is gone, or empty, though what it looks after is not, there is
   * nothing that knows what to remove, and success would leave all of it running, unknown to anybody.
   */
  private removal(onDelete: string): string {
    const { program, site } = this;
    const folders = ["/var/lib/adsl-bonding", "/etc/adsl-bonding"].map(
      (folder) => `[ -e ${folder}/${site} ]`,
    );
    const lost = `${program} is gone, and so nothing was removed: pulumi up brings it back, and destroy then works`;
    return `if [ -s ${program} ]; then ${program} ${onDelete}; elif ${folders.join(" || ")}; then echo "${lost}" >&2; exit 1; fi`;
  }

  private run(title: string, text: pulumi.Input<string>, options: RunOptions) {
    const { sudo } = this;
    const { stdin, onDelete, parent, dependsOn, once } = options;
    const aliases = once ? [{ name: `${this.name} ${once}` }] : [];
    const ignoreChanges = this.installation === undefined ? ["create"] : [];
    return new command.remote.Command(
      `${this.name} ${title}`,
      {
        connection: this.connection,
        create: pulumi.interpolate`${sudo}${text}`,
        stdin,
        delete: onDelete && `${sudo}sh -c '${this.removal(onDelete)}'`,
        // Values from the run before are of no use to any command here, and sshd refuses to take them.
        addPreviousOutputInEnv: false,
      },
      // Where the program itself goes it takes everything along: one login a host, also to one that is dead.
      { parent, dependsOn, deletedWith: this.installed, aliases, ignoreChanges },
    );
  }
}

/** The last line of what a command printed, its answer: before it a start-up file of the login shell may have greeted. */
export function answerOf({ stdout }: command.remote.Command): pulumi.Output<string> {
  return stdout.apply((text) => text.trimEnd().split("\n").at(-1)!);
}

/**
 * How often and how long, in seconds, a login is tried. Many commands log in at once, and an sshd drops some
 * of those that have not authenticated yet (MaxStartups): so more than a few tries; but a host that does not
 * answer at all is told within two minutes.
 */
const patience = { dialErrorLimit: 6, perDialTimeout: 15 };

/** The plugin's connection for a login. Without a key file it asks the ssh-agent that SSH_AUTH_SOCK names. */
function connectionOf(ssh: Ssh, address: string): command.types.input.remote.ConnectionArgs {
  const { jump } = ssh;
  return {
    ...loginOf(ssh, ssh.host ?? address),
    ...patience,
    proxy: jump && { ...loginOf(jump, jump.host), ...patience },
  };
}

function loginOf(login: Omit<Ssh, "jump">, host: string) {
  const { port, user, hostKey, privateKeyFile } = login;
  return { host, port, user, hostKey, privateKey: privateKeyFile && readKey(privateKeyFile) };
}

function readKey(file: string): string {
  try {
    return readFileSync(expandHome(file), "utf8");
  } catch (error) {
    const why = (error as Error).message;
    throw new pulumi.RunError(
      `privateKeyFile: ${why}. Name the file of your SSH key, or leave it out to use ssh-agent.`,
    );
  }
}

export function expandHome(file: string): string {
  return file.replace(/^~(?=\/)/, homedir());
}
