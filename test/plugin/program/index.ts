// Run from a copy in a temporary folder: declares what commands.json, beside it, lists.
import { readFileSync } from "node:fs";
import { remote } from "@pulumi/command";
import { type CustomResourceOptions, secret } from "@pulumi/pulumi";

interface Listed {
  args: remote.CommandArgs;
  options?: CustomResourceOptions;
  secretStdin?: boolean;
}

const listed: Record<string, Listed> = JSON.parse(readFileSync("commands.json", "utf8"));
export const outputs = Object.fromEntries(
  Object.entries(listed).map(([name, { args, options, secretStdin }]) => {
    const stdin = secretStdin && args.stdin ? secret(args.stdin) : args.stdin;
    const { id, stdout, stderr } = new remote.Command(name, { ...args, stdin }, options);
    return [name, { id, stdout, stderr }];
  }),
);
