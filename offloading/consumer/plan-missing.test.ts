import { describe, expect, it } from 'vitest';
import type { PodSpec } from '../../runtime/kube/types.ts';
import { planMissing } from './plan-missing.ts';

const spec = {
  initContainers: [{ name: 'i', envFrom: [{ secretRef: { name: 'early' } }] }],
  containers: [
    {
      name: 'c',
      env: [
        { name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'a' } } },
        { name: 'B', valueFrom: { configMapKeyRef: { name: 'settings', key: 'b' } } },
        { name: 'C', valueFrom: { secretKeyRef: { name: 'nice', key: 'c', optional: true } } },
        { name: 'D', value: 'x' },
      ],
    },
  ],
  volumes: [
    { name: 'kube-api-access-x', projected: { sources: [{ configMap: { name: 'kube-root-ca.crt' } }] } },
    { name: 'v', secret: { secretName: 'tls' } },
    { name: 'p', projected: { sources: [{ configMap: { name: 'extra' } }] } },
    { name: 'e', emptyDir: {} },
  ],
  imagePullSecrets: [{ name: 'registry' }],
} as unknown as PodSpec;

describe('planMissing', () => {
  it('names each required object that is not at home once, and those that stay there', () => {
    const asked: string[] = [];
    const texts = planMissing(spec, (kind, name) => {
      asked.push(`${kind}/${name}`);
      return name === 'extra' ? 'there' : name === 'tls' ? 'kept' : 'missing';
    });
    expect(texts).toEqual([
      'Secret early does not exist in this namespace',
      'ConfigMap settings does not exist in this namespace',
      'Secret tls is kept at home and not sent to peers',
    ]);
    expect(asked).not.toContain('Secret/nice');
    expect(asked).not.toContain('Secret/registry');
    expect(asked).not.toContain('ConfigMap/kube-root-ca.crt');
  });

  it('has nothing to say of a pod that has all, or refers to nothing', () => {
    expect(planMissing(spec, () => 'there')).toEqual([]);
    expect(planMissing({ containers: [{ name: 'c' }] }, () => 'missing')).toEqual([]);
  });
});
