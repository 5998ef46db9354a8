import { readFileSync } from "node:fs";
import { everyServer, type Plan } from "../../site/plan.ts";
import { namesOf } from "../names.ts";
import type { Service } from "../unit.ts";
import { renderWatchUnit } from "./unit.ts";

const program = readFileSync(new URL("watch.pl", import.meta.url), "utf8");

/** The Pi's watch over the lines' loss, where the site wants it. */
export function watchService(plan: Plan): Service[] {
  const { watch, site } = plan;
  if (!watch) return [];
  const names = namesOf(plan);
  const servers = everyServer(plan).map(({ server }) => server.address);
  return [
    {
      unit: names.watchUnit.name,
      files: [
        { path: names.watchUnit.path, text: renderWatchUnit(names, site, servers, watch) },
        { path: names.watchProgram, text: program, mode: "0755" },
      ],
    },
  ];
}
