import { describe, expect, it } from 'vitest';
import { parseHierarchies } from './cgroups.ts';

const mount = (point: string, type: string, options: string): string =>
  `30 25 0:26 / ${point} rw,relatime shared:9 - ${type} ${type} rw,${options}`;

describe('parseHierarchies', () => {
  it('finds the group this process is in, in each v1 hierarchy, also with controllers mounted together', () => {
    const mounts = [
      mount('/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'cpu,cpuacct'),
      mount('/sys/fs/cgroup/memory', 'cgroup', 'memory'),
      mount('/sys/fs/cgroup/systemd', 'cgroup', 'xattr,name=systemd'),
      mount('/sys/fs/cgroup/unified', 'cgroup2', 'nsdelegate'),
      mount('/proc', 'proc', 'x'),
    ].join('\n');
    const groups = '3:name=systemd:/user.slice\n2:memory:/api/42\n1:cpuacct,cpu:/\n0::/\n';
    expect(parseHierarchies(mounts, groups)).toEqual([
      { mountPoint: '/sys/fs/cgroup/cpu,cpuacct', options: 'cpu,cpuacct', own: '/sys/fs/cgroup/cpu,cpuacct' },
      { mountPoint: '/sys/fs/cgroup/memory', options: 'memory', own: '/sys/fs/cgroup/memory/api/42' },
      {
        mountPoint: '/sys/fs/cgroup/systemd',
        options: 'none,name=systemd',
        own: '/sys/fs/cgroup/systemd/user.slice',
      },
    ]);
  });

  it('takes the root of a v2-only machine, the one group that may hold both processes and groups', () => {
    expect(
      parseHierarchies(mount('/sys/fs/cgroup', 'cgroup2', 'nsdelegate'), '0::/user.slice/session\n'),
    ).toEqual([{ mountPoint: '/sys/fs/cgroup', options: 'v2', own: '/sys/fs/cgroup' }]);
  });
});
