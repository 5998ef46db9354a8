import { z } from "zod";
import { told } from "./fields.ts";
import type { Mistake } from "./mistake.ts";
import { asRecord, type Raw } from "./raw.ts";

/** OVH's regions and brands, as its API clients call them. */
const endpoints = [
  "ovh-eu",
  "ovh-ca",
  "ovh-us",
  "kimsufi-eu",
  "kimsufi-ca",
  "soyoustart-eu",
  "soyoustart-ca",
];

/** The three that make one login to OVH's API. */
const credentials = ["applicationKey", "applicationSecret", "consumerKey"] as const;

const credential = told(
  (value) => /^\S+$/.test(value),
  "is no key of OVH's API",
  "Set it with `pulumi config set --secret --path`, `adsl-bonding:site.` and its path as here.",
);

/** The server as OVH knows it: looked up, never changed. */
export const ovh = z.strictObject({
  /** The server's name at OVH, e.g. `ns3012345.ip-203-0-113.eu`. */
  serviceName: told(
    (value) => /^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(value),
    "is no server's name at OVH",
    "Write it as OVH's manager shows it, such as ns3012345.ip-203-0-113.eu.",
  ),
  /** Which of OVH's APIs knows it: a name, or the API's own URL. Default ovh-eu. */
  endpoint: told(
    (value) => endpoints.includes(value) || /^https?:\/\/[^\s/]+\/\S*$/.test(value),
    "is none of OVH's endpoints",
    `Write one of ${endpoints.join(", ")}, or a URL with its path, such as https://eu.api.ovh.com/1.0.`,
  ).default("ovh-eu"),
  /** A login to the API, as secrets of the stack's config. Default: OVH_APPLICATION_KEY and so on in the environment. */
  applicationKey: credential.optional(),
  applicationSecret: credential.optional(),
  consumerKey: credential.optional(),
});

/** Where the server stands at OVH, and with what the API is asked. */
export type Ovh = z.output<typeof ovh>;

/** A login to OVH's API. */
export type OvhLogin = Record<(typeof credentials)[number], string>;

/** True for a path under which a login stands, however its name may be misspelt: its value is not to be shown. */
export function isOvhSecret(path: string): boolean {
  return /^(server|backups\[\d+\])\.ovh\.(?!serviceName$|endpoint$)/.test(path);
}

/** The login that the config holds; undefined when it holds none. */
export function loginOf({ applicationKey, applicationSecret, consumerKey }: Ovh): OvhLogin | undefined {
  if (applicationKey === undefined || applicationSecret === undefined || consumerKey === undefined)
    return undefined;
  return { applicationKey, applicationSecret, consumerKey };
}

/** Ways of giving the login by the environment: each takes all of its variables. */
const variables = [
  ["OVH_APPLICATION_KEY", "OVH_APPLICATION_SECRET", "OVH_CONSUMER_KEY"],
  ["OVH_CLIENT_ID", "OVH_CLIENT_SECRET"],
  ["OVH_ACCESS_TOKEN"],
];

/**
 * The parts of a login that everybody can read in the config. Pulumi tells of the site as a whole alone, that some of it is
 * encrypted; which parts are shows in the stack's own file, where what is not stands as the program gets it.
 * @param encrypted whether Pulumi keeps any part of the site as a secret
 * @param written the same section as that file has it; anything else where it is not known
 */
export function readableParts(login: OvhLogin | undefined, encrypted: boolean, written: unknown): string[] {
  if (!login) return [];
  return credentials.filter((name) => !encrypted || asRecord(written)[name] === login[name]);
}

/**
 * Why the API can't be asked; undefined when it can.
 * @param path of the section in the config
 * @param login of the config
 * @param readable the parts of it that everybody can read there
 */
export function refuseLogin(
  path: string,
  login: OvhLogin | undefined,
  readable: string[],
  environment: Record<string, string | undefined>,
): string | undefined {
  if (readable.length > 0) {
    const paths = readable.map((name) => `${path}.${name}`);
    return `${paths.join(", ")}: not encrypted, for everybody to read in the stack's config. Set each with \`pulumi config set --secret --path adsl-bonding:site.${paths[0]}\`, and have OVH make you new keys.`;
  }
  if (login || variables.some((names) => names.every((name) => environment[name]))) return undefined;
  return `${path}: there is no login to OVH's API. Set ${variables[0]!.join(", ")} in the environment, or applicationKey, applicationSecret and consumerKey in ${path} as secrets; or take ${path} out: nothing else needs it.`;
}

/**
 * A login of one or two parts is none.
 * @param server the path of what `ovh` stands in
 */
export function halfLogin({ ovh: given }: Raw, server: string): Mistake[] {
  if (typeof given !== "object" || given === null) return [];
  const missing = credentials.filter((name) => (given as Raw)[name] === undefined);
  if (missing.length === credentials.length) return [];
  return missing.map((name) => ({
    path: `${server}.ovh.${name}`,
    value: undefined,
    reason: "a login to OVH's API has three parts",
    mend: "Give all three as secrets, or none, and set OVH_APPLICATION_KEY and so on in the environment.",
  }));
}
