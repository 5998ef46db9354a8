import { expect, test } from "vitest";
import { judge, suspect } from "../../components/preflight/judge.ts";
import { fingerprint, parseFacts } from "../../host/inspect.ts";

const fit = "os=debian 13\nkernel=6.12.107+deb13-amd64\nopenvpn=2.6.14-1\nfree_mb=2000\nend=yes\n";

test("a fit host has no problem", () => {
  expect(judge("pi", ["bond0"], parseFacts(fit))).toEqual([]);
});

test("a host whose package lists are empty yet is not judged by its OpenVPN", () => {
  expect(judge("pi", ["bond0"], parseFacts(fit.replace("openvpn=2.6.14-1", "openvpn=")))).toEqual([]);
});

test("all that is wrong is told at once", () => {
  const facts = parseFacts(
    "os=debian 11\nkernel=5.10.0-30-amd64\nopenvpn=2.5.1-3\nfree_mb=12\nlacks=the kernel module tun\nforeign=bond0 is a bond in use by somebody else\nline=ovh: there is no interface eth7\nblocks=ip filter FORWARD\n",
  );
  const problems = judge("server", ["bond-dev"], facts);
  expect(problems).toHaveLength(7);
  expect(problems.join("\n")).toContain("write `letThrough: { forward: [ip filter FORWARD] }` under server");
  expect(problems.join("\n")).toMatch(/server: its kernel 5\.10.*older than 6\.0/);
});

test("a firewall that may be why no line gets an answer is named", () => {
  const server = parseFacts("closed=ip filter INPUT\n");
  const silent = parseFacts(
    "line=ovh: UDP to 203.0.113.10 port 1194 through the box 192.168.1.240 gets no answer\n",
  );
  expect(suspect("server", 1194, server, silent)[0]).toContain(
    "write `letThrough: { input: [ip filter INPUT] }` under server",
  );
  expect(suspect("server", 1194, server, parseFacts("line=ovh: there is no interface eth7\n"))).toEqual([]);
  expect(suspect("server", 1194, parseFacts(""), silent)).toEqual([]);
});

test("fingerprints are written as ssh writes them", () => {
  // The example of ssh-keygen -l on a key made for this test.
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDeh93gX0Jl0NdyjsoZ90QyZVDit7zOJEvvnQ5xY1jA";
  expect(fingerprint(key)).toMatchInlineSnapshot(`"SHA256:xtssa0uemYeQJBtr6xAxRc1S8KJta3aUcxkosVdc13E"`);
});
