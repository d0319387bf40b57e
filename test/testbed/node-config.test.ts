import { describe, expect, it } from 'vitest';
import { nodeFiles, type ConfFiles } from './node-config.ts';
import { planTestbed } from './plan-addresses.ts';

const plan = planTestbed('t', 0, [{ name: 'a', nodes: 2 }]);
const paths = {
  folder: '/n',
  pki: '/p',
  kube: { kubelet: '/k/kubelet' },
  containerd: '/c/containerd',
  runc: '/r/runc',
};

const filesOf = (index: number): ConfFiles => {
  const cluster = plan.clusters[0];
  const node = cluster?.nodes[index];
  if (cluster === undefined || node === undefined) throw new Error('no such node');
  return nodeFiles(cluster, node, paths);
};

const daemons = (files: ConfFiles): readonly string[] =>
  Object.keys(files)
    .filter((name) => name.startsWith('daemons'))
    .sort();

describe('nodeFiles', () => {
  it('puts the control plane on the first node only', () => {
    expect(daemons(filesOf(1))).toEqual([
      'daemons-after-api/kube-proxy',
      'daemons-after-api/kubelet',
      'daemons/containerd',
    ]);
    expect(daemons(filesOf(0))).toEqual(
      [
        ...daemons(filesOf(1)),
        'daemons/etcd',
        'daemons/kube-apiserver',
        'daemons/kube-controller-manager',
        'daemons/kube-scheduler',
      ].sort(),
    );
  });

  it('gives each node its pod range, name and address', () => {
    const files = filesOf(1);
    expect(files['10-testbed.conflist']).toContain('"10.244.1.0/24"');
    expect(files['daemons-after-api/kubelet']?.split('\n')).toEqual(
      expect.arrayContaining(['/k/kubelet', '--hostname-override=a-2', '--node-ip=198.18.0.12']),
    );
  });

  it('writes one argument per line, none empty', () => {
    for (const name of daemons(filesOf(0))) expect(filesOf(0)[name]).toMatch(/^(\S+\n)+$/);
  });
});
