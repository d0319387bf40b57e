import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FLOAT_GATE, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { OwnerReference } from '../../api/define-kind.ts';
import type { PodSpec } from '../../runtime/kube/types.ts';
import { planAdmission, type AdmissionInput, type JsonPatchOperation } from './plan-admission.ts';

const applyPatch = (spec: PodSpec, patch: readonly JsonPatchOperation[]): PodSpec => {
  const copy = structuredClone(spec) as unknown as Record<string, unknown[] | undefined>;
  for (const { path, value } of patch) {
    const [, , list = '', end] = path.split('/');
    copy[list] = end === '-' ? [...(copy[list] ?? []), value] : (value as unknown[]);
  }
  return copy as unknown as PodSpec;
};

const daemonSet: OwnerReference = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  name: 'd',
  uid: 'u',
  controller: true,
};
const input = (spec: Partial<PodSpec> = {}, meta: Record<string, unknown> = {}): AdmissionInput => ({
  pod: { metadata: { name: 'web', ...meta }, spec: { containers: [{ name: 'c' }], ...spec } },
  strategy: 'local-and-remote',
  leaderAlive: true,
});

describe('planAdmission', () => {
  it('adds the toleration and the gate, and nothing else', () => {
    expect(planAdmission(input())).toEqual([
      { op: 'add', path: '/spec/tolerations', value: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }] },
      { op: 'add', path: '/spec/schedulingGates', value: [{ name: FLOAT_GATE }] },
    ]);
  });

  it('appends where lists exist', () => {
    const patch = planAdmission(
      input({ tolerations: [{ operator: 'Exists' }], schedulingGates: [{ name: 'a/b' }] }),
    );
    expect(patch.map((op) => op.path)).toEqual(['/spec/tolerations/-', '/spec/schedulingGates/-']);
  });

  it.each([
    ['a pod of a DaemonSet', input({}, { ownerReferences: [daemonSet] })],
    ['a mirror pod', input({}, { annotations: { 'kubernetes.io/config.mirror': 'x' } })],
    ['a pod with a node', input({ nodeName: 'n1' })],
    ['a pod that may run at home while no leader lives', { ...input(), leaderAlive: false }],
  ])('leaves %s alone', (_, given) => {
    expect(planAdmission(given)).toEqual([]);
  });

  it('gates remote pods also while no leader lives', () => {
    expect(planAdmission({ ...input(), strategy: 'remote', leaderAlive: false })).toHaveLength(2);
  });

  it('is idempotent and keeps what was there', () => {
    const toleration = fc.record(
      {
        key: fc.constantFrom('a', VIRTUAL_NODE_TAINT, ''),
        operator: fc.constantFrom('Exists', 'Equal'),
        effect: fc.constantFrom('', 'NoExecute'),
      },
      { requiredKeys: ['operator'] },
    );
    const gate = fc.record({ name: fc.constantFrom('x/y', FLOAT_GATE) });
    fc.assert(
      fc.property(
        fc.option(fc.array(toleration, { maxLength: 4 }), { nil: undefined }),
        fc.option(fc.uniqueArray(gate, { maxLength: 2, selector: (g) => g.name }), { nil: undefined }),
        (tolerations, schedulingGates) => {
          const given = input({
            ...(tolerations ? { tolerations } : {}),
            ...(schedulingGates ? { schedulingGates } : {}),
          });
          const once = applyPatch(given.pod.spec, planAdmission(given));
          expect(planAdmission({ ...given, pod: { ...given.pod, spec: once } })).toEqual([]);
          expect(once.tolerations).toEqual(expect.arrayContaining(tolerations ?? []));
          expect(once.schedulingGates?.filter((g) => g.name === FLOAT_GATE)).toHaveLength(1);
        },
      ),
    );
  });
});
