import * as pulumi from "@pulumi/pulumi";

/** The generation that the last `up` of this stack left on the hosts, as its own state has it; unknown before the first. */
export async function lastGeneration(): Promise<string | undefined> {
  const name = [pulumi.getOrganization(), pulumi.getProject(), pulumi.getStack()].join("/");
  const { value } = await new pulumi.StackReference("last-up", { name }).getOutputDetails("generation");
  return typeof value === "string" ? value : undefined;
}
