import { expect, test } from "vitest";
import { loginOf, readableParts, refuseLogin } from "../../site/ovh.ts";
import { parseSite } from "../../site/schema.ts";
import { exampleSite } from "../example.ts";

const serviceName = "ns3012345.ip-203-0-113.eu";
const login = { applicationKey: "app-key", applicationSecret: "app-secret", consumerKey: "consumer-key" };

function errorOf(ovh: unknown): string {
  try {
    parseSite(exampleSite((site) => (site.server.ovh = ovh)));
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("the config was taken");
}

test("a look-up needs no more than the server's name", () => {
  const { server } = parseSite(exampleSite((site) => (site.server.ovh = { serviceName })));
  expect(server.ovh).toEqual({ serviceName, endpoint: "ovh-eu" });
  expect(loginOf(server.ovh!)).toBeUndefined();
});

test("an endpoint may be a URL", () => {
  const endpoint = "http://127.0.0.1:8080/1.0";
  const { server } = parseSite(
    exampleSite((site) => (site.server.ovh = { serviceName, endpoint, ...login })),
  );
  expect(server.ovh?.endpoint).toBe(endpoint);
  expect(loginOf(server.ovh!)).toEqual(login);
});

test.each([
  ["server.ovh.serviceName", { serviceName: "kimsufi" }],
  ["server.ovh.serviceName is missing", {}],
  ["server.ovh.endpoint", { serviceName, endpoint: "ovh-de" }],
  ["server.ovh.endpoint", { serviceName, endpoint: "https://eu.api.ovh.com" }],
  [
    "server.ovh.consumerKey is missing: a login to OVH's API has three parts",
    { serviceName, ...login, consumerKey: undefined },
  ],
  ["server.ovh.planCode", { serviceName, planCode: "24ska01" }],
])("%s is told", (text, ovh) => {
  expect(errorOf(ovh)).toContain(text);
});

test("no error shows a part of the login, however it is written", () => {
  const message = errorOf({
    serviceName,
    applicationKey: "se cret",
    aplicationSecret: "secret",
    consumerKey: 5678,
  });
  expect(message).toContain("server.ovh.aplicationSecret = (not shown)");
  expect(message).not.toMatch(/se cret|"secret"|5678/);
});

const environment = { OVH_APPLICATION_KEY: "a", OVH_APPLICATION_SECRET: "b", OVH_CONSUMER_KEY: "c" };

test("a login comes encrypted in the config, or whole in the environment", () => {
  expect(refuseLogin("server.ovh", login, [], {})).toBeUndefined();
  expect(refuseLogin("server.ovh", undefined, [], environment)).toBeUndefined();
  expect(
    refuseLogin("server.ovh", undefined, [], { OVH_CLIENT_ID: "a", OVH_CLIENT_SECRET: "b" }),
  ).toBeUndefined();
});

test("a login that everybody can read, half a one, or none is refused", () => {
  const all = Object.keys(login);
  expect(refuseLogin("server.ovh", login, all, environment)).toMatch(/config set --secret/);
  expect(refuseLogin("server.ovh", undefined, [], { ...environment, OVH_CONSUMER_KEY: "" })).toMatch(
    /OVH_CONSUMER_KEY/,
  );
  expect(refuseLogin("server.ovh", login, all, {})).not.toMatch(/app-key|app-secret|consumer-key/);
});

test("one part that is encrypted lets no other through", () => {
  const secure = { secure: "v1:AAAA:BBBB" };
  const written = { serviceName, ...login, applicationKey: secure };
  expect(readableParts(login, true, written)).toEqual(["applicationSecret", "consumerKey"]);
  expect(readableParts(login, true, { ...written, applicationSecret: secure, consumerKey: secure })).toEqual(
    [],
  );
  expect(refuseLogin("backups[0].ovh", login, readableParts(login, true, written), environment)).toMatch(
    /^backups\[0\]\.ovh\.applicationSecret, backups\[0\]\.ovh\.consumerKey: .*adsl-bonding:site\.backups\[0\]\.ovh\.applicationSecret`/,
  );
});

test("where the stack's file isn't known, or is another one, Pulumi's word on the site counts", () => {
  const other = { applicationKey: "an older one", applicationSecret: 5, consumerKey: null };
  for (const written of [undefined, null, "text", { secure: "v1:AAAA:BBBB" }, other]) {
    expect(readableParts(login, true, written)).toEqual([]);
    expect(readableParts(login, false, written)).toEqual(Object.keys(login));
    expect(readableParts(undefined, false, written)).toEqual([]);
  }
});
