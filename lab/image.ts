import { chmod, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { archive } from "./cpio.ts";
import { attempt, digest, guestFiles, home, installed, LabError, run, step } from "./system.ts";

/** A Debian release the lab knows: 12 has kernel 6.1, 13 has 6.12. */
export type Debian = 12 | 13;

/** What the machine itself must have, by the program that shows it is there. */
const machinePackages: Record<string, string> = {
  "qemu-system-x86_64": "qemu-system-x86",
  mmdebstrap: "mmdebstrap",
  "mkfs.ext4": "e2fsprogs",
  ssh: "openssh-client",
  "dpkg-deb": "dpkg",
};

const codename: Record<Debian, string> = { 12: "bookworm", 13: "trixie" };

/** The guest runs the lines, the boxes and the internet, and holds the hosts. */
const guestPackages = [
  "linux-image-amd64",
  "systemd-sysv",
  "systemd-container",
  "openssh-server",
  "iproute2",
  "nftables",
  "iperf3",
  "tcpdump",
  "ethtool",
  "iputils-ping",
  "procps",
  "kmod",
  "busybox-static",
];

/** A plain Debian server as a provider or an imager would deliver it. */
const hostPackages = [
  "systemd-sysv",
  "udev",
  "dbus",
  "openssh-server",
  "sudo",
  "iproute2",
  "iputils-ping",
  "ifupdown",
  "apt",
  "ca-certificates",
  "kmod",
  "procps",
  "less",
];

/** A plain Debian as Raspberry Pi OS has it today: NetworkManager keeps the card. */
const ownGuestPackages = [...hostPackages.filter((name) => name !== "ifupdown"), "network-manager"];

/** What the hosts may install, from the mirror inside the lab. */
const mirrorPackages = [
  "openvpn",
  "nftables",
  "ethtool",
  "openssl",
  "conntrack",
  "dnsmasq",
  "tcpdump",
  "iperf3",
  "curl",
  "ufw",
  "netplan.io",
];

/** Left out of every image: nothing reads them there, and they are most of the bytes. */
const pathExcludes = [
  "/usr/share/doc/*",
  "/usr/share/man/*",
  "/usr/share/locale/*",
  "/usr/share/info/*",
  "/usr/share/lintian/*",
];

/** Of the kernel's modules the guest needs the network's and the disk's. */
const moduleExcludes = ["drivers/gpu", "drivers/media", "drivers/scsi", "drivers/infiniband", "drivers/iio"]
  .concat(["drivers/usb", "drivers/hid", "drivers/input", "drivers/staging", "drivers/mmc", "drivers/mtd"])
  .concat(["drivers/hwmon", "drivers/edac", "drivers/net/wireless", "drivers/net/ethernet", "drivers/ata"])
  .concat(["drivers/platform", "drivers/power", "drivers/thunderbolt", "drivers/nvme", "drivers/i2c"])
  .concat(["sound", "fs/xfs", "fs/btrfs", "fs/ocfs2", "fs/smb", "fs/nfs", "fs/nfsd", "fs/ceph", "fs/f2fs"])
  .flatMap((folder) => [`/lib/modules/*/kernel/${folder}/*`, `/usr/lib/modules/*/kernel/${folder}/*`]);

/** The first program of the guest's first root. */
const firstProgram = join(guestFiles, "init.sh");

/** Modules that the disk and the overlay root hang on, in the order of their needs. */
const bootModules = ["virtio_pci", "virtio_blk", "ext4", "overlay", "virtio_net", "qemu_fw_cfg"];

/**
 * What a build made: paths of the kernel, its first root, and the disks; that of hosts with a guest of their own only
 * where it was asked for.
 */
export type Images = {
  kernel: string;
  initrd: string;
  guest: string;
  hosts: string;
  ownGuest?: string;
  digest: string;
};

/** Builds whatever is missing or stale; a second call finds all of it and returns at once. */
export async function images(guest: Debian, hosts: Debian, withOwnGuests: boolean): Promise<Images> {
  await prepareMachine();
  const [guestFolder, hostsFolder, ownGuestFolder] = await Promise.all([
    cached(`guest-${guest}`, (folder) => buildGuest(folder, guest)),
    cached(`hosts-${hosts}`, (folder) => buildHosts(folder, hosts)),
    withOwnGuests ? cached(`own-guest-${hosts}`, (folder) => buildOwnGuest(folder, hosts)) : undefined,
  ]);
  return {
    kernel: join(guestFolder, "kernel"),
    initrd: join(guestFolder, "initrd"),
    guest: join(guestFolder, "disk"),
    hosts: join(hostsFolder, "disk"),
    ownGuest: ownGuestFolder && join(ownGuestFolder, "disk"),
    digest: digest([guestFolder, hostsFolder, ownGuestFolder ?? ""].map((folder) => basename(folder))),
  };
}

/** What goes into every build: this file, as it is written (a test runner's functions read otherwise), and the first root's program. */
async function recipe(): Promise<string[]> {
  return Promise.all([fileURLToPath(import.meta.url), firstProgram].map((file) => readFile(file, "utf8")));
}

/** Installs what is missing on this machine: programs, each with the package that brings it. */
export async function prepareMachine(programs: Record<string, string> = machinePackages): Promise<void> {
  if (process.platform !== "linux")
    throw new LabError("the lab needs Linux: run it on a Debian or Ubuntu machine");
  if (programs === machinePackages && process.arch !== "x64")
    throw new LabError(`the lab needs an x86-64 machine, as its guest is one; this one is ${process.arch}`);
  if (process.getuid?.() !== 0) throw new LabError("the lab builds root file systems: run it as root (sudo)");
  const missing = Object.entries(programs).filter(([program]) => !installed(program));
  if (missing.length === 0) return;
  const names = missing.map(([, name]) => name);
  if (!installed("apt-get")) throw new LabError(`install these first (no apt-get here): ${names.join(", ")}`);
  step(`installing ${names.join(", ")} on this machine`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await run("apt-get", ["update", "-q"], { env, timeoutSeconds: 300 });
  await run("apt-get", ["install", "-qy", "--no-install-recommends", ...names], { env, timeoutSeconds: 900 });
}

/**
 * A folder of products under a name that tells the recipe they were made by. It gets that name last, so a build that was
 * interrupted is never taken for a whole one; older builds of the same kind are removed.
 */
async function cached(kind: string, build: (folder: string) => Promise<void>): Promise<string> {
  const all = join(home, "images");
  const name = `${kind}-${digest(await recipe())}`;
  await mkdir(all, { recursive: true });
  const present = await readdir(all);
  if (present.includes(name)) return join(all, name);
  for (const old of present.filter((entry) => entry.startsWith(`${kind}-`))) await discard(join(all, old));
  const folder = join(all, `${kind}-unfinished`);
  await mkdir(folder);
  const start = Date.now();
  step(`building the image ${kind} (once, 1 to 3 minutes)`);
  await build(folder);
  await rename(folder, join(all, name));
  step(`built the image ${kind} in ${Math.round((Date.now() - start) / 1000)} s`);
  return join(all, name);
}

/** Removes a folder, with what a build that was ended in its middle has left mounted below it. */
async function discard(folder: string): Promise<void> {
  const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").map((line) => line.split(" ")[1] ?? "");
  for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).reverse()) {
    await run("umount", ["--lazy", mount]);
  }
  await rm(folder, { recursive: true, force: true });
}

/** The machine's own apt tells where packages come from: mirrors differ from place to place. */
async function sources(debian: Debian): Promise<string[]> {
  const suite = codename[debian];
  const format = "$(LABEL)|$(REPO_URI)|$(COMPONENT)";
  const listed = await run("apt-get", [
    "indextargets",
    "--format",
    format,
    "Identifier: Packages",
    "Origin: Debian",
  ]);
  const find = (label: string) =>
    listed.split("\n").flatMap((line) => {
      const [of, uri, component] = line.split("|");
      return of === label && component === "main" && uri ? [uri] : [];
    })[0];
  const main = find("Debian") ?? "http://deb.debian.org/debian";
  const security = find("Debian-Security");
  return [
    `deb ${main} ${suite} main`,
    `deb ${main} ${suite}-updates main`,
    ...(security ? [`deb ${security} ${suite}-security main`] : []),
  ];
}

/** The machine's answers to apt's questions of time and proxy hold for the images too. */
async function aptOptions(): Promise<string[]> {
  const dump = await run("apt-config", ["dump"]);
  return dump
    .split("\n")
    .filter((line) => /^Acquire::(Check-Valid-Until|Check-Date|https?::\S+) /i.test(line))
    .map((line) => `--aptopt=${line.replace(/;$/, "")}`);
}

async function bootstrap(
  root: string,
  debian: Debian,
  packages: string[],
  excludes: string[],
  variant: string,
) {
  const sourceLines = await sources(debian);
  await run(
    "mmdebstrap",
    [
      `--variant=${variant}`,
      `--include=${packages.join(",")}`,
      ...(await aptOptions()),
      ...excludes.map((path) => `--dpkgopt=path-exclude=${path}`),
      "--skip=cleanup/apt/lists", // for the packages downloaded after it
      codename[debian],
      root,
      ...sourceLines,
    ],
    // The guest has a first root of our own.
    { env: { INITRD: "No", DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" }, timeoutSeconds: 1200 },
  );
}

/**
 * Writes a folder's tree into an ext4 image. One that is only read needs no journal; one that is written to has room,
 * and a journal, for its host's power may be cut.
 */
async function disk(file: string, tree: string, use: "read" | "write" = "read"): Promise<void> {
  const kilobytes = Number((await run("du", ["-s", "--block-size=1024", tree])).split("\t")[0]);
  const room = use === "read" ? 64 : 1024;
  const size = `${Math.ceil((kilobytes * 1.15) / 1024) + room}M`;
  // What mkfs leaves to the first mount would keep the emulated processor busy.
  const features = use === "read" ? ["-O", "^has_journal"] : ["-E", "lazy_itable_init=0,lazy_journal_init=0"];
  await run("mkfs.ext4", ["-q", "-F", ...features, "-m", "0", "-d", tree, file, size], {
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  await rm(tree, { recursive: true });
}

async function buildGuest(folder: string, debian: Debian): Promise<void> {
  const root = join(folder, "root");
  await bootstrap(root, debian, guestPackages, [...pathExcludes, ...moduleExcludes], "essential");
  const [version] = await readdir(join(root, "usr/lib/modules"));
  if (!version) throw new LabError("the guest's image has no kernel");
  await run("mv", [join(root, "boot", `vmlinuz-${version}`), join(folder, "kernel")]);
  await firstRoot(root, version, join(folder, "initrd"));
  await rm(join(root, "var/lib/apt"), { recursive: true });
  await disk(join(folder, "disk"), root);
}

/** The first root holds busybox, a script and a few modules: a tenth of what an initramfs of the distribution costs. */
async function firstRoot(root: string, version: string, file: string): Promise<void> {
  const modules: string[] = [];
  for (const name of bootModules) {
    const shown = await run("chroot", [root, "modprobe", "-S", version, "--show-depends", name]);
    for (const line of shown.split("\n")) {
      const path = line.match(/^insmod (\S+)/)?.[1];
      if (path && !modules.includes(join(root, path))) modules.push(join(root, path));
    }
  }
  const plain = await Promise.all(modules.map((path) => unpacked(path)));
  await writeFile(
    file,
    archive([
      { path: "init", mode: 0o755, data: await readFile(firstProgram) },
      { path: "busybox", mode: 0o755, data: await readFile(join(root, "usr/bin/busybox")) },
      {
        path: "order",
        mode: 0o644,
        data: Buffer.from(modules.map((_, index) => `/m${index}.ko\n`).join("")),
      },
      ...plain.map((data, index) => ({ path: `m${index}.ko`, mode: 0o644, data })),
    ]),
  );
}

/** A module as insmod takes it, whatever the distribution packed it with. */
async function unpacked(path: string): Promise<Buffer> {
  if (!path.endsWith(".xz")) return readFile(path);
  await run("xz", ["-dkf", path]);
  const plain = path.slice(0, -3);
  const data = await readFile(plain);
  await rm(plain);
  return data;
}

/** Timers that would hold a package lock or the one processor at a moment of their own. */
const masked = [
  "systemd-firstboot.service", // waits for ever at an empty machine-id, and sshd behind it
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "fstrim.timer",
  "console-getty.service",
  "getty@.service",
  "getty.target",
  "systemd-networkd-wait-online.service",
  "systemd-pcrlock-make-policy.service",
];

/** What a container has no use for, each a second of boot. */
const containerMasked = [
  "sys-kernel-config.mount",
  "sys-fs-fuse-connections.mount",
  "modprobe@configfs.service",
  "modprobe@efi_pstore.service",
  "modprobe@fuse.service",
  "modprobe@drm.service",
  "systemd-pstore.service",
  "systemd-udev-load-credentials.service",
  "systemd-hibernate-clear.service",
  "dev-hugepages.mount",
  "dev-mqueue.mount",
  "e2scrub_reap.service",
  "sys-kernel-debug.mount",
  "sys-kernel-tracing.mount",
];

async function buildHosts(folder: string, debian: Debian): Promise<void> {
  const tree = join(folder, "tree");
  const root = join(tree, "root");
  const mirror = join(tree, "mirror");
  await mkdir(mirror, { recursive: true });
  await bootstrap(root, debian, hostPackages, pathExcludes, "minbase");
  // The packages for the mirror: what this very root still lacks for them.
  const apt = ["apt-get", "install", "-qy", "--no-install-recommends", "--download-only", ...mirrorPackages];
  await run("chroot", [root, "env", "DEBIAN_FRONTEND=noninteractive", ...apt], { timeoutSeconds: 600 });
  const archives = join(root, "var/cache/apt/archives");
  const packages: string[] = [];
  for (const name of (await readdir(archives)).filter((entry) => entry.endsWith(".deb"))) {
    const path = join(archives, name);
    const plain = name.replace(/%3a/g, "."); // an epoch's colon would have to be escaped in the address
    const data = await readFile(path);
    const [sha] = (await run("sha256sum", [path])).split(" ");
    const control = (await run("dpkg-deb", ["--field", path])).trimEnd();
    packages.push(`${control}\nFilename: ./${plain}\nSize: ${data.length}\nSHA256: ${sha}\n`);
    await run("mv", [path, join(mirror, plain)]);
  }
  await writeFile(join(mirror, "Packages"), packages.join("\n"));
  const [sum] = (await run("sha256sum", [join(mirror, "Packages")])).split(" ");
  const size = Buffer.byteLength(packages.join("\n"));
  await writeFile(
    join(mirror, "Release"),
    `Origin: lab\nLabel: lab\nCodename: lab\nDate: ${new Date().toUTCString()}\nSHA256:\n ${sum} ${size} Packages\n`,
  );

  await plain(root, [...masked, ...containerMasked]);
  // A host looks for its own network cards at boot, not for the devices of the guest it lives in.
  const trigger = join(root, "etc/systemd/system/systemd-udev-trigger.service.d");
  await mkdir(trigger, { recursive: true });
  const command = "udevadm trigger --type=devices --action=add --subsystem-match=net";
  await writeFile(join(trigger, "lab.conf"), `[Service]\nExecStart=\nExecStart=-${command}\n`);
  await disk(join(folder, "disk"), tree);
}

/** The disk of a host that is a guest of its own; kernel and modules are the guest's, as every host's. */
async function buildOwnGuest(folder: string, debian: Debian): Promise<void> {
  const root = join(folder, "root");
  await bootstrap(root, debian, ownGuestPackages, pathExcludes, "minbase");
  await plain(root, [...masked, "serial-getty@.service"]);
  await mkdir(join(root, "usr/lib/modules"), { recursive: true });
  await disk(join(folder, "disk"), root, "write");
}

/** Makes a fresh root a Debian as it comes: a user with sudo, nothing that tells one host from another. */
async function plain(root: string, off: string[]): Promise<void> {
  await rm(join(root, "var/lib/apt/lists"), { recursive: true });
  await mkdir(join(root, "var/lib/apt/lists/partial"), { recursive: true });
  await rm(join(root, "etc/apt/sources.list"), { force: true });
  await run("sh", [
    "-c",
    'rm -f "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    "sh",
    root,
  ]);
  await run("sh", [
    "-c",
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/resolv.conf "$1"/etc/machine-id',
    "sh",
    root,
  ]);
  await run("chroot", [root, "useradd", "-m", "-s", "/bin/bash", "-u", "1000", "admin"]);
  await writeFile(join(root, "etc/sudoers.d/admin"), "admin ALL=(ALL) NOPASSWD: ALL\n", { mode: 0o440 });
  // A provider's server answers at once; names can't be looked up here.
  await writeFile(join(root, "etc/ssh/sshd_config.d/lab.conf"), "UseDNS no\n");
  for (const unit of off) {
    const link = join(root, "etc/systemd/system", unit);
    await rm(link, { force: true });
    await symlink("/dev/null", link);
  }
  await chmod(root, 0o755);
}

/** Whether the machine's processor lets a guest run on it: a /dev/kvm alone does not say so. */
export async function kvmWorks(): Promise<boolean> {
  const test = "test -w /dev/kvm && { test -d /sys/module/kvm_intel || test -d /sys/module/kvm_amd; }";
  return (await attempt("sh", ["-c", test])).code === 0;
}
