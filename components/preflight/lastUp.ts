import * as pulumi from "@pulumi/pulumi";
import { everyServer, type Plan } from "../../site/plan.ts";

/** What the last `up` of this stack left, as its own outputs in the state have it; unknown before the first. */
export interface LastUp {
  /** The generation that all hosts confirmed. */
  generation: string | undefined;
  /** The addresses of the server and of the Pi. */
  server: string | undefined;
  pi: string | undefined;
}

export async function lastUp(): Promise<LastUp> {
  const name = [pulumi.getOrganization(), pulumi.getProject(), pulumi.getStack()].join("/");
  const stack = new pulumi.StackReference("last-up", { name });
  const output = async (key: string) => {
    const { value } = await stack.getOutputDetails(key);
    return typeof value === "string" ? value : undefined;
  };
  return {
    generation: await output("generation"),
    server: await output("externalAddress"),
    pi: await output("gateway"),
  };
}

/** The machines that the site no longer has: nobody asks them any more, so that what stands on them stays. */
export function leftBehind(plan: Plan, { server, pi }: LastUp): string[] {
  const still = [plan.pi.address, ...everyServer(plan).map((each) => each.server.address)];
  return Object.entries({ server, pi }).flatMap(([host, address]) =>
    address === undefined || still.includes(address)
      ? []
      : [
          `${host} was ${address} until now: what stands on that machine stays there. Where it lives: sudo adsl-bonding-${plan.site} remove`,
        ],
  );
}
