import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { type Plan, planSite } from "../site/plan.ts";
import { parseSite } from "../site/schema.ts";

/** The site of the project's own Pulumi.dev.yaml, fresh at each call, with changes put over it. */
// biome-ignore lint/suspicious/noExplicitAny: tests put wrong values into it on purpose
export function exampleSite(change: (site: any) => void = () => {}): any {
  const text = readFileSync(new URL("../Pulumi.dev.yaml", import.meta.url), "utf8");
  const site = parse(text).config["adsl-bonding:site"];
  change(site);
  return site;
}

/** The plan of that site. */
export function examplePlan(change?: Parameters<typeof exampleSite>[0]): Plan {
  return planSite(parseSite(exampleSite(change)));
}
