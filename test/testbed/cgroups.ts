/**
 * A node's control groups: a sub-group in each hierarchy, below the group this process is in, never at the root of
 * the machine's tree. Nothing that exists is touched.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Journal } from './journal.ts';
import { identify, signal, waitUntil } from './processes.ts';

export interface Hierarchy {
  /** Where the host has it mounted. */
  readonly mountPoint: string;
  /** Mount options that give the same hierarchy again: `cpu,cpuacct`, `none,name=systemd`; `v2` for cgroup2. */
  readonly options: string;
  /** The group this process is in, absolute. */
  readonly own: string;
}

/** Reads the v1 hierarchies (or the one v2 hierarchy) from the texts of /proc/self/mountinfo and /proc/self/cgroup. */
export const parseHierarchies = (mountInfo: string, ownGroups: string): readonly Hierarchy[] => {
  const groups = new Map(
    ownGroups
      .split('\n')
      .filter(Boolean)
      .map((line): [string, string] => {
        const [, controllers = '', ...path] = line.split(':');
        return [controllers.split(',').sort().join(','), path.join(':')];
      }),
  );
  const mounts = mountInfo
    .split('\n')
    .flatMap((line): readonly { type: string; mountPoint: string; superOptions: readonly string[] }[] => {
      const [left = '', right = ''] = line.split(' - ');
      const [type = '', , superOptions = ''] = right.split(' ');
      const mountPoint = left.split(' ')[4] ?? '';
      return type === 'cgroup' || type === 'cgroup2'
        ? [{ type, mountPoint, superOptions: superOptions.split(',') }]
        : [];
    });
  const join2 = (mountPoint: string, path: string): string => (path === '/' ? mountPoint : mountPoint + path);
  const first = mounts
    .filter((mount) => mount.type === 'cgroup')
    .flatMap(({ mountPoint, superOptions }): readonly Hierarchy[] => {
      const named = superOptions.find((option) => option.startsWith('name='));
      const controllers =
        named === undefined
          ? superOptions.filter(
              (option) =>
                groups.has(option) || [...groups.keys()].some((key) => key.split(',').includes(option)),
            )
          : [named];
      const path = groups.get(controllers.slice().sort().join(','));
      if (path === undefined) return [];
      return [
        {
          mountPoint,
          options: named === undefined ? controllers.join(',') : `none,${named}`,
          own: join2(mountPoint, path),
        },
      ];
    });
  if (first.length > 0) return first;
  const second = mounts.find((mount) => mount.type === 'cgroup2');
  // v2 allows no processes beside sub-groups except at the root, so a node's group can only be there
  return second === undefined
    ? []
    : [{ mountPoint: second.mountPoint, options: 'v2', own: second.mountPoint }];
};

export const hierarchies = (): readonly Hierarchy[] =>
  parseHierarchies(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'));

/**
 * A testbed is several machines: on a busy host it must not weigh as one process. File of its cpu group (v1, v2) → eight
 * times the default.
 */
const WEIGHTS: Readonly<Record<string, string>> = { 'cpu.shares': '8192', 'cpu.weight': '800' };

/** Makes the node's sub-groups; returns them, and the text of its `conf/cgroups`. */
export const makeCgroups = (
  journal: Journal,
  prefix: string,
  node: string,
): { readonly folders: readonly string[]; readonly conf: string } => {
  const all = hierarchies();
  const folders = all.map(({ own, options }) => {
    const levels = [join(own, prefix), join(own, prefix, node)];
    for (const [index, folder] of levels.entries()) {
      journal.add({ kind: 'cgroup', path: folder });
      mkdirSync(folder, { recursive: true });
      const parent = index === 0 ? own : (levels[index - 1] ?? own);
      if (options === 'v2') {
        const controllers = readFileSync(join(parent, 'cgroup.controllers'), 'utf8')
          .trim()
          .split(' ')
          .filter(Boolean);
        for (const controller of controllers)
          writeFileSync(join(parent, 'cgroup.subtree_control'), `+${controller}`);
      } else if (existsSync(join(parent, 'cpuset.cpus'))) {
        // a group without cpus and memory nodes takes no process
        for (const file of ['cpuset.cpus', 'cpuset.mems'])
          writeFileSync(join(folder, file), readFileSync(join(parent, file)));
      }
      if (index > 0) continue;
      for (const [file, weight] of Object.entries(WEIGHTS))
        if (existsSync(join(folder, file))) writeFileSync(join(folder, file), weight);
    }
    return join(own, prefix, node);
  });
  const line = ({ mountPoint, options }: Hierarchy): string =>
    `${mountPoint.slice(mountPoint.lastIndexOf('/') + 1)} ${options}\n`;
  return { folders, conf: all[0]?.options === 'v2' ? 'v2\n' : all.map(line).join('') };
};

const subgroups = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, entry.name));
  } catch {
    return [];
  }
};

/** Every process in a group and below it. */
export const processesIn = (folder: string): readonly number[] => {
  const below = subgroups(folder).flatMap(processesIn);
  try {
    return [
      ...below,
      ...readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number),
    ];
  } catch {
    return below;
  }
};

const removeTree = (folder: string): void => {
  for (const sub of subgroups(folder)) removeTree(sub);
  try {
    rmdirSync(folder);
  } catch {
    // still busy: the caller looks again
  }
};

/** Kills what is left in the groups (they are the testbed's own) and removes them; the paths that stayed. */
export const removeCgroups = async (folders: readonly string[]): Promise<readonly string[]> => {
  const kill = (): void => {
    for (const pid of new Set(folders.flatMap(processesIn))) {
      const id = identify(pid);
      if (id !== undefined) signal(id, 'SIGKILL');
    }
  };
  await waitUntil(() => {
    kill();
    for (const folder of folders) removeTree(folder);
    return !folders.some((folder) => existsSync(folder));
  }, 10_000);
  return folders.filter((folder) => existsSync(folder));
};
