/** What is needed to describe a unit that runs a script once at its start and once at its end. */
interface Oneshot {
  description: string;
  start: string;
  stop: string;
  /** Units that must run before this one, and with which it stops. */
  needs?: string[];
  /** Units or targets that must have come before, but need not. */
  after?: string[];
}

/** The text of a systemd unit that is active from its start script's end to its stop script's. */
export function oneshotUnit({ description, start, stop, needs = [], after = [] }: Oneshot): string {
  const order = [...needs, ...after].join(" ");
  return [
    "[Unit]",
    `Description=adsl-bonding: ${description}`,
    ...(order ? [`After=${order}`] : []),
    ...(needs.length > 0 ? [`Requires=${needs.join(" ")}`, `PartOf=${needs.join(" ")}`] : []),
    "",
    "[Service]",
    "Type=oneshot",
    "RemainAfterExit=yes",
    `ExecStart=${start}`,
    `ExecStop=${stop}`,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}
