import { describe, expect, it } from 'vitest';
import { daemonSetWarnings, type DaemonSetView } from './greedy-daemon-sets.ts';

const daemonSet = (name: string, spec: object): DaemonSetView =>
  ({ metadata: { name, namespace: 'kube-system' }, spec: { template: { spec } } }) as DaemonSetView;
const everything = { tolerations: [{ operator: 'Exists' }] };
const keptOff = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [
        { matchExpressions: [{ key: 'fluvia.dev/virtual-node', operator: 'DoesNotExist' }] },
      ],
    },
  },
};

describe('DaemonSets that exist at install', () => {
  it('are named when they tolerate every taint and nothing keeps them off virtual nodes', () => {
    const all = [
      daemonSet('proxy', everything),
      daemonSet('cni', { tolerations: [{ operator: 'Exists', effect: 'NoSchedule' }] }),
      daemonSet('settled', { ...everything, affinity: keptOff }),
      daemonSet('evicted-late', { tolerations: [{ operator: 'Exists', effect: 'NoExecute' }] }),
      daemonSet('masters', { tolerations: [{ key: 'node-role', operator: 'Exists' }] }),
      daemonSet('plain', {}),
    ];
    const warnings = daemonSetWarnings(all, true);
    expect(warnings.map((text) => text.split(' ')[1])).toEqual(['kube-system/proxy', 'kube-system/cni']);
    expect(warnings[0]).toContain('kubectl -n kube-system rollout restart daemonset proxy');
    expect(daemonSetWarnings(all, false)[0]).toContain('fluvia.dev/virtual-node DoesNotExist');
  });
});
