import type { Plan } from "../../site/plan.ts";
import { hasQueues } from "../../site/shaping.ts";
import { namesOf } from "../names.ts";
import type { Service } from "../unit.ts";
import { planCounting } from "./direct.ts";
import { renderShaper, renderShaperUnit } from "./script.ts";

/** The queues of one end, where the site wants any. */
export function shaperService(plan: Plan, host: "pi" | "server"): Service[] {
  const { shaping, site } = plan;
  if (!shaping) return [];
  const names = namesOf(plan);
  const counting = host === "pi" && hasQueues(shaping) ? planCounting(plan, names) : undefined;
  return [
    {
      unit: names.shaperUnit.name,
      files: [
        { path: names.shaperUnit.path, text: renderShaperUnit(names, site, counting) },
        {
          path: names.shaperScript,
          text: renderShaper(plan[host], shaping, shaping[host], host, counting),
          mode: "0755",
        },
      ],
    },
  ];
}
