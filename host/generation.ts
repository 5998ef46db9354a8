import { createHash } from "node:crypto";

/** A file that the program places on a host: the text is whole, nothing on the host is edited in place. */
export interface HostFile {
  /** Absolute path on the host. */
  path: string;
  text: string;
  /** Octal, as chmod takes it. Default 0644. */
  mode?: string;
}

/** A systemd unit of ours, and the files that it reads: a change of any of them restarts it. */
export interface HostUnit {
  name: string;
  reads: string[];
  /** A program among the files: called with `missing` it prints, a line each, what is gone of what the unit set. */
  state?: string;
  /** Units of one group are restarted together, while those of other groups stand in for them. */
  group?: string;
}

/** Somebody else's unit that reads a file of ours, and how it is told that the file has changed. */
export interface Listener {
  unit: string;
  action: "reload" | "restart";
  reads: string;
}

/** All that a site wants on one host at one time. */
export interface HostContent {
  files: HostFile[];
  /** In the order in which they start. */
  units: HostUnit[];
  listeners: Listener[];
  /** Path of the file among `files` that says whether the whole works. */
  check: string;
}

/** What one host's manifest needs beyond its content. */
export interface Circumstances {
  /** The id shared by both hosts' manifests. */
  id: string;
  /** The host's own answer, before this run, on what has drifted, in parts parted by tabs; empty when nothing. */
  mends: string;
  /** Seconds after which the host undoes the generation when nobody has confirmed it. */
  confirmWithin: number;
}

export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

const short = (text: string) => digest(text).slice(0, 12);

/** The manifest's lines about the content alone: what both hosts' shared id is made from. */
export function describeContent({ files, units, listeners, check }: HostContent): string {
  const sums = new Map(files.map((file) => [file.path, digest(file.text)]));
  const sumOf = (path: string) => {
    const sum = sums.get(path);
    if (!sum) throw new Error(`${path} is read by a unit, but is no file of this host`);
    return sum;
  };
  return [
    ...files.map((file) => `file ${file.mode ?? "0644"} ${sumOf(file.path)} ${file.path}`),
    ...units.map(({ name, reads }) => `unit ${short(reads.map(sumOf).join())} ${name} ${reads.join(" ")}`),
    ...units.flatMap(({ name, state }) => (state ? [`state ${state} ${name}`] : [])),
    ...units.flatMap(({ name, group }) => (group ? [`rolling ${group} ${name}`] : [])),
    ...listeners.map(({ unit, action, reads }) => `tell ${short(sumOf(reads))} ${action} ${unit}`),
    `check ${check}`,
  ].join("\n");
}

/** The id of a generation: of what both hosts shall hold, and of what each of them said before. */
export function generationId(parts: string[]): string {
  return short(parts.join("\n--\n"));
}

/** The text that `program.sh arm` takes; its head there says what each line means. */
export function renderManifest(content: string, { id, mends, confirmWithin }: Circumstances): string {
  const mended = mends.split("\t").map((each) => `mends ${each}\n`);
  return `generation ${id}\n${mended.join("")}${content}\nwithin ${confirmWithin}\n`;
}
