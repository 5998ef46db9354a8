/** One file of an archive. */
export type Entry = { path: string; mode: number; data: Buffer };

/** Writes the archive format that the kernel unpacks as its first root ("newc"); folders are made as needed. */
export function archive(files: Entry[]): Buffer {
  const folders = new Set<string>();
  for (const { path } of files) {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth++) folders.add(parts.slice(0, depth).join("/"));
  }
  const none = Buffer.alloc(0);
  const parts = [
    ...[...folders].sort().map((path) => entry(path, 0o040755, none)),
    ...files.map(({ path, mode, data }) => entry(path, 0o100000 | mode, data)),
    entry("TRAILER!!!", 0, none),
  ];
  return Buffer.concat(parts);
}

let inode = 1;

function entry(path: string, mode: number, data: Buffer): Buffer {
  const name = Buffer.from(`${path}\0`);
  const fields = [inode++, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return Buffer.concat([padded(Buffer.concat([header, name])), padded(data)]);
}

/** Headers and contents each end on a boundary of four bytes. */
function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
}
