import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FINALIZERS } from '../../api/labels.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import {
  lossPolicyOf,
  needsHold,
  onLossOf,
  planLoss,
  planRelease,
  suspectsItself,
  type LossPolicy,
} from './plan-loss.ts';

const policy = (more: Partial<LossPolicy> = {}): LossPolicy => ({ ...lossPolicyOf(undefined), ...more });
const pod = (owner: string | undefined, metadata: Partial<Pod['metadata']> = {}, phase = 'Running'): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'a',
    namespace: 'shop',
    uid: 'u',
    ...(owner === undefined
      ? {}
      : { ownerReferences: [{ apiVersion: 'apps/v1', kind: owner, name: 'o', uid: 'o', controller: true }] }),
    ...metadata,
  },
  spec: { containers: [] },
  status: { phase },
});
const held = { finalizers: [FINALIZERS.floated] };

describe('onLoss', () => {
  it.each([
    ['StatefulSet', {}, {}, 'fence'],
    ['ReplicaSet', {}, {}, 'replace'],
    ['Job', {}, {}, 'replace'],
    [undefined, {}, {}, 'wait'],
    ['StatefulSet', {}, { onLoss: 'wait' }, 'wait'],
    ['ReplicaSet', { annotations: { 'fluvia.dev/on-loss': 'fence' } }, { onLoss: 'wait' }, 'fence'],
    ['ReplicaSet', { annotations: { 'fluvia.dev/on-loss': 'nonsense' } }, {}, 'replace'],
  ] as const)('of a pod of %s with %j under %j is %s', (owner, metadata, said, expected) => {
    expect(onLossOf(pod(owner, metadata), policy(said))).toBe(expected);
  });

  it.each([
    ['ReplicaSet', {}, {}, 'fence'],
    ['Job', {}, {}, 'fence'],
    // nobody would make another, so that nobody else comes to write
    [undefined, {}, {}, 'wait'],
    ['ReplicaSet', {}, { onLoss: 'replace' }, 'replace'],
    ['ReplicaSet', { annotations: { 'fluvia.dev/on-loss': 'replace' } }, { onLoss: 'fence' }, 'replace'],
  ] as const)('of a pod of %s with a volume, %j under %j is %s', (owner, metadata, said, expected) => {
    const volumes = [{ name: 'd', persistentVolumeClaim: { claimName: 'data' } }];
    const one = { ...pod(owner, metadata), spec: { containers: [], volumes } };
    expect(onLossOf(one, policy(said))).toBe(expected);
    expect(needsHold(one, policy(said))).toBe(expected === 'fence');
  });

  it('takes the defaults of the schema', () => {
    expect(policy()).toMatchObject({
      hysteresisSeconds: 5,
      graceSeconds: 60,
      leaseSeconds: 20,
      stopSeconds: 40,
    });
  });

  it('holds fence pods that are not on their way out', () => {
    expect(needsHold(pod('StatefulSet'), policy())).toBe(true);
    expect(needsHold(pod('StatefulSet', held), policy())).toBe(false);
    expect(needsHold(pod('StatefulSet', { deletionTimestamp: 'now' }), policy())).toBe(false);
    expect(needsHold(pod('ReplicaSet'), policy())).toBe(false);
  });
});

describe('suspectsItself', () => {
  it.each([
    [[undefined], false],
    [[9000], false],
    [[9000, undefined], false],
    [[9000, 8000], true],
    [[90_000, 1000], false],
  ] as const)('%j is %s', (lost, expected) => {
    expect(suspectsItself(lost)).toBe(expected);
  });
});

describe('planLoss', () => {
  const plan = (one: Pod, lostForMs: number | undefined, more: Partial<LossPolicy> = {}, suspects = false) =>
    planLoss({ pod: one, policy: policy(more), lostForMs, suspectsItself: suspects });

  it('waits for the grace time, then replaces', () => {
    expect(plan(pod('ReplicaSet'), undefined)).toEqual({ do: 'nothing' });
    expect(plan(pod('ReplicaSet'), 20_000)).toEqual({ do: 'wait', ms: 40_000 });
    expect(plan(pod('ReplicaSet'), 60_000)).toEqual({ do: 'replace', fenced: false });
    expect(plan(pod('StatefulSet', held), 60_000)).toEqual({ do: 'replace', fenced: true });
  });

  it('leaves what nobody would make again, what waits, and what has ended', () => {
    expect(plan(pod(undefined), 60_000)).toEqual({ do: 'nothing' });
    expect(plan(pod(undefined, held), 60_000)).toEqual({ do: 'nothing' });
    expect(plan(pod('ReplicaSet'), 60_000, { onLoss: 'wait' })).toEqual({ do: 'nothing' });
    expect(plan(pod('Job', {}, 'Succeeded'), 60_000)).toEqual({ do: 'nothing' });
    expect(plan(pod('ReplicaSet', { deletionTimestamp: 'now' }), 60_000)).toEqual({ do: 'nothing' });
  });

  it('replaces nothing when home itself may be the lost one, unless told to', () => {
    expect(plan(pod('ReplicaSet'), 60_000, {}, true)).toEqual({ do: 'nothing' });
    expect(plan(pod('ReplicaSet'), 60_000, { replaceWhenAllLost: true }, true).do).toBe('replace');
  });

  it('never begins the end of a pod that is to be fenced but is not held', () => {
    fc.assert(
      fc.property(fc.nat(10_000_000), fc.boolean(), fc.boolean(), (ms, all, suspects) => {
        const result = plan(pod('StatefulSet'), ms, { replaceWhenAllLost: all }, suspects);
        return result.do !== 'replace';
      }),
    );
  });
});

describe('planRelease', () => {
  it('lets a held pod go by the word or after the safe time, any other at once', () => {
    expect(planRelease({ pod: pod('StatefulSet', held), isToldOver: false, untilSafeMs: 700 }).waitMs).toBe(
      700,
    );
    expect(planRelease({ pod: pod('StatefulSet', held), isToldOver: true, untilSafeMs: 700 }).waitMs).toBe(0);
    expect(planRelease({ pod: pod('StatefulSet', held), isToldOver: false, untilSafeMs: 0 }).waitMs).toBe(0);
    expect(planRelease({ pod: pod('ReplicaSet'), isToldOver: false, untilSafeMs: 700 }).waitMs).toBe(0);
  });
});
