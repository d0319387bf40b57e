import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalJson } from '../../runtime/kube/apply.ts';
import type { Pod, PodStatus } from '../../runtime/kube/types.ts';
import { planShadow } from './plan-shadow.ts';
import {
  changesStatus,
  planHeldStatus,
  planLostStatus,
  planPodStatus,
  type StatusWorld,
} from './plan-status.ts';

const NOW = '2026-11-25T01:00:00Z';

const pod = (status: PodStatus = {}, metadata: Partial<Pod['metadata']> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'shop', uid: 'u', ...metadata },
  spec: { containers: [{ name: 'web' }] },
  status,
});

const running = {
  phase: 'Running',
  podIP: '10.244.0.9',
  qosClass: 'Guaranteed',
  nominatedNodeName: 'evil',
  conditions: [
    { type: 'Ready', status: 'True', lastTransitionTime: '2026-11-25T00:00:00Z', observedGeneration: 7 },
    { type: 'PodScheduled', status: 'False' },
    { type: 'made.up/x', status: 'True' },
  ],
  containerStatuses: [
    { name: 'web', ready: true, restartCount: 0, image: 'w', imageID: 'i' },
    { name: 'other', ready: true, restartCount: 0, image: 'w', imageID: 'i' },
  ],
};

const world = (overrides: Partial<StatusWorld> = {}): StatusWorld => ({
  pod: pod({ conditions: [{ type: 'PodScheduled', status: 'True' }] }),
  told: { uid: 'u', state: 'accepted', status: running },
  podIP: '10.61.0.9',
  hostIP: '10.244.9.9',
  isLost: false,
  now: NOW,
  ...overrides,
});

const ready = (status: Record<string, unknown> | undefined) =>
  (status?.['conditions'] as PodStatus['conditions'])?.find((c) => c.type === 'Ready');

describe('planPodStatus', () => {
  it('takes no escape code and no claim to resources from a peer', () => {
    const hostile = 'no\u001B[2J\u009B31m\u202Eway';
    const [main] = running.containerStatuses;
    const status = {
      ...running,
      reason: hostile,
      message: hostile,
      conditions: [{ type: 'Ready', status: 'False', reason: 'Bad', message: hostile }],
      containerStatuses: [
        {
          ...main,
          state: { waiting: { reason: 'Bad', message: hostile } },
          resources: { requests: { cpu: '1000000' } },
          allocatedResources: { cpu: '1000000' },
        },
      ],
    };
    const told: StatusWorld['told'] = { uid: 'u', state: 'accepted', status };
    const json = JSON.stringify(planPodStatus(world({ told })));
    expect(json).toContain('no[2J31mway');
    expect(json).not.toMatch(/u001b|\u009B|\u202E|1000000/i);
  });

  it('says why there is no pod at the peer yet: what home knows before what the peer says', () => {
    const told: StatusWorld['told'] = {
      uid: 'u',
      state: 'accepted',
      status: { phase: 'Pending' },
      reason: 'MissingReference',
      message: 'waiting for ConfigMap x',
    };
    expect(planPodStatus(world({ told }))).toMatchObject({
      phase: 'Pending',
      reason: 'MissingReference',
      message: 'waiting for ConfigMap x',
    });
    expect(planPodStatus(world({ told, waitsFor: 'ConfigMap x does not exist' }))).toMatchObject({
      message: 'ConfigMap x does not exist',
    });
    const later = { ...told, status: running };
    expect(planPodStatus(world({ told: later, waitsFor: 'x' }))).toMatchObject({
      reason: null,
      message: null,
    });
  });

  it("takes the kubelet's words, home's addresses, and nothing else", () => {
    expect(planPodStatus(world())).toEqual({
      phase: 'Running',
      reason: null,
      message: null,
      startTime: null,
      conditions: [
        { type: 'PodScheduled', status: 'True' },
        { type: 'Ready', status: 'True', lastTransitionTime: '2026-11-25T00:00:00Z' },
      ],
      hostIP: '10.244.9.9',
      hostIPs: [{ ip: '10.244.9.9' }],
      podIP: '10.61.0.9',
      podIPs: [{ ip: '10.61.0.9' }],
      containerStatuses: [{ name: 'web', ready: true, restartCount: 0, image: 'w', imageID: 'i' }],
    });
  });

  it.each([
    ['the peer is lost', { isLost: true }, 'PeerUnreachable'],
    ['its address is not open yet', { podIP: undefined }, 'AddressPending'],
  ])('is not ready while %s', (_, overrides, reason) => {
    expect(ready(planPodStatus(world(overrides)))).toMatchObject({
      status: 'False',
      reason,
      lastTransitionTime: NOW,
    });
  });

  it("respects home's readiness gates", () => {
    const gatedPod = { ...pod(), spec: { ...pod().spec, readinessGates: [{ conditionType: 'lb/ok' }] } };
    expect(ready(planPodStatus(world({ pod: gatedPod })))?.status).toBe('False');
    const open = { ...gatedPod, status: { conditions: [{ type: 'lb/ok', status: 'True' }] } };
    expect(ready(planPodStatus(world({ pod: open })))?.status).toBe('True');
  });

  it('another pod of the same name is not meant', () => {
    expect(
      planPodStatus(world({ told: { uid: 'old', state: 'accepted', status: running } })),
    ).toBeUndefined();
  });

  it.each(['Succeeded', 'Failed'])('a pod that is %s stays so', (phase) => {
    expect(planPodStatus(world({ pod: pod({ phase }) }))).toBeUndefined();
    expect(
      planLostStatus(pod({ phase, conditions: [{ type: 'Ready', status: 'True' }] }), NOW),
    ).toBeUndefined();
  });

  it('a pod that waits at its peer says why, without writing it twice', () => {
    const why = { reason: 'QuotaExceeded', message: 'cpu: 2 needed, 1 free' };
    const scheduled = { type: 'PodScheduled', status: 'True' };
    const held = planHeldStatus(pod({ phase: 'Pending', conditions: [scheduled] }), 'east', why, NOW);
    const message = 'peer east has it wait: cpu: 2 needed, 1 free';
    expect(held).toMatchObject({ phase: 'Pending', reason: 'QuotaExceeded', message });
    expect(held['conditions']).toEqual([
      scheduled,
      { type: 'Ready', status: 'False', reason: 'QuotaExceeded', message, lastTransitionTime: NOW },
    ]);
    const later = planHeldStatus(pod(held), 'east', why, '2026-11-25T02:00:00Z');
    expect(changesStatus(held, later, equalJson)).toBe(false);
  });

  it('converges: what was written is not written again', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.option(fc.constant('10.61.0.9'), { nil: undefined }), (isLost, podIP) => {
        const given = world({ isLost, podIP });
        const first = planPodStatus(given) ?? {};
        const stored = Object.fromEntries(
          Object.entries({ ...given.pod.status, ...first }).filter(([, v]) => v !== null),
        );
        const again = planPodStatus({ ...given, pod: pod(stored), now: 'later' }) ?? {};
        expect(changesStatus(stored, again, equalJson)).toBe(false);
      }),
    );
  });

  it('takes any answer of a peer without failing', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('phase', 'conditions', 'containerStatuses', 'reason'), fc.anything()),
        (status) => {
          const result = planPodStatus(world({ told: { uid: 'u', state: 'accepted', status } }));
          const phases = ['Pending', 'Running', 'Succeeded', 'Failed', 'none'];
          expect(phases).toContain(result === undefined ? 'none' : result['phase']);
        },
      ),
    );
  });
});

describe('planShadow', () => {
  const owned = {
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'r', controller: true }],
  };
  const dying = { deletionTimestamp: NOW };
  const base = { isOpen: true, hasLink: true, isPeerGone: false, told: undefined };
  const told = (state: 'accepted' | 'refused' | 'gone') => ({ uid: 'u', state });

  it.each([
    ['a pod that runs there', { ...base, pod: pod() }, 'publish'],
    ['a pod being deleted, until the peer says it is gone', { ...base, pod: pod({}, dying) }, 'publish'],
    ['deleted and gone there', { ...base, pod: pod({}, dying), told: told('gone') }, 'forget'],
    ['deleted and never accepted', { ...base, pod: pod({}, dying), told: told('refused') }, 'forget'],
    ['refused, with an owner', { ...base, pod: pod({}, owned), told: told('refused') }, 'replace'],
    ['refused, a bare pod', { ...base, pod: pod(), told: told('refused') }, 'fail'],
    [
      'refused for now, a bare pod',
      { ...base, pod: pod({ phase: 'Pending' }), told: { ...told('refused'), passing: true } },
      'hold',
    ],
    [
      'refused for now, a bare pod that ran already',
      { ...base, pod: pod({ phase: 'Running' }), told: { ...told('refused'), passing: true } },
      'fail',
    ],
    [
      'refused for now, with an owner',
      { ...base, pod: pod({}, owned), told: { ...told('refused'), passing: true } },
      'replace',
    ],
    ['removed over there', { ...base, pod: pod({}, owned), told: told('gone') }, 'fail'],
    [
      'ended here, removed there',
      { ...base, pod: pod({ phase: 'Succeeded' }), told: told('gone') },
      'publish',
    ],
    ['no link now, the peering stands', { ...base, pod: pod({}, dying), hasLink: false }, 'wait'],
    ['the peering is gone', { ...base, pod: pod({}, dying), hasLink: false, isPeerGone: true }, 'forget'],
    ['a stray pod', { ...base, pod: pod(), isOpen: false }, 'withdraw'],
    ['a stray pod being deleted', { ...base, pod: pod({}, dying), isOpen: false }, 'forget'],
  ])('%s', (_, given, expected) => {
    expect(planShadow(given).do).toBe(expected);
  });
});
