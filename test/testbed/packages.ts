/** Debian packages that something needs from the host: installed when this is root and they are missing, else named. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { TestbedError } from './errors.ts';
import { tryRun } from './exec.ts';

/** A package, and a program or file by which a host without dpkg can be judged. */
interface Package {
  readonly name: string;
  readonly command?: string;
}

const PACKAGES = {
  iproute2: { name: 'iproute2', command: 'ip' },
  nftables: { name: 'nftables', command: 'nft' },
  curl: { name: 'curl', command: 'curl' },
  procps: { name: 'procps', command: 'sysctl' },
  utilLinux: { name: 'util-linux', command: 'unshare' },
  gcc: { name: 'gcc', command: 'gcc' },
  libc: { name: 'libc6-dev' },
  pkgConfig: { name: 'pkg-config', command: 'pkg-config' },
  seccomp: { name: 'libseccomp-dev' },
  busybox: { name: 'busybox-static', command: 'busybox' },
  dash: { name: 'dash', command: 'dash' },
  wireguardTools: { name: 'wireguard-tools', command: 'wg' },
  btrfsProgs: { name: 'btrfs-progs', command: 'mkfs.btrfs' },
  conntrack: { name: 'conntrack', command: 'conntrack' },
} as const satisfies Record<string, Package>;

/** Which packages serve what. */
export const PACKAGE_SETS = {
  run: ['iproute2', 'nftables', 'curl', 'procps', 'utilLinux'],
  buildRunc: ['gcc', 'libc', 'pkgConfig', 'seccomp'],
  buildImages: ['gcc', 'libc', 'busybox', 'dash', 'iproute2', 'nftables', 'curl'],
  storage: ['btrfsProgs', 'utilLinux'],
  buildFluvia: ['wireguardTools', 'conntrack', 'iproute2', 'nftables', 'btrfsProgs'],
} as const satisfies Record<string, readonly (keyof typeof PACKAGES)[]>;

/** Absolute path of a program in PATH or the system's folders for administrators. */
export const findProgram = (name: string): string | undefined => {
  for (const folder of (process.env.PATH ?? '').split(':').filter(Boolean)) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // the next one
    }
  }
  return undefined;
};

const installed = async (names: readonly string[]): Promise<ReadonlySet<string>> => {
  const { stdout } = await tryRun('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...names]);
  return new Set(
    stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0] ?? ''),
  );
};

const ensured = new Set<keyof typeof PACKAGE_SETS>();

/**
 * Makes sure that the packages of these sets are there. Throws before anything is made when one is missing and can't
 * be installed. `report` gets the names of those it installs.
 */
export const ensurePackages = async (
  sets: readonly (keyof typeof PACKAGE_SETS)[],
  report: (line: string) => void = () => undefined,
): Promise<void> => {
  const open = sets.filter((set) => !ensured.has(set));
  if (open.length === 0) return;
  const wanted: readonly Package[] = [
    ...new Set(open.flatMap((set): readonly (keyof typeof PACKAGES)[] => PACKAGE_SETS[set])),
  ].map((key) => PACKAGES[key]);
  const names = wanted.map(({ name }) => name);
  const hasDpkg = findProgram('dpkg-query') !== undefined && findProgram('apt-get') !== undefined;
  const missingPrograms = (): readonly Package[] =>
    wanted.filter(({ command }) => command !== undefined && findProgram(command) === undefined);
  if (hasDpkg) {
    const there = await installed(names);
    const missing = wanted
      .filter((item) => !there.has(item.name))
      .filter(
        (item) =>
          item.command === undefined ||
          findProgram(item.command) === undefined ||
          item.name === 'busybox-static',
      );
    if (missing.length > 0) {
      const list = missing.map(({ name }) => name);
      if (process.getuid?.() !== 0) {
        throw new TestbedError(
          `Debian packages are missing: ${list.join(' ')}`,
          `Run: sudo apt-get install --no-install-recommends ${list.join(' ')}`,
        );
      }
      report(`installing Debian packages: ${list.join(' ')}`);
      const env = { DEBIAN_FRONTEND: 'noninteractive' };
      const install = ['install', '-qy', '--no-install-recommends', ...list];
      let result = await tryRun('apt-get', install, { env });
      if (result.code !== 0) {
        await tryRun('apt-get', ['update', '-q'], { env });
        result = await tryRun('apt-get', install, { env });
      }
      if (result.code !== 0) {
        throw new TestbedError(
          `apt-get could not install ${list.join(' ')}: ${result.stderr.trim().split('\n').at(-1) ?? ''}`,
          'Install them by hand and try again.',
        );
      }
    }
  }
  const lost = missingPrograms();
  if (lost.length > 0) {
    const commands = lost.map(({ command }) => command).join(', ');
    throw new TestbedError(
      `not found in PATH: ${commands}`,
      `Install ${lost.map(({ name }) => name).join(' ')} (Debian's names), or add the folder that holds it to PATH.`,
    );
  }
  for (const set of open) ensured.add(set);
};
