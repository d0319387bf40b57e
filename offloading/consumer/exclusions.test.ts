import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../runtime/clock.fake.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { createExclusions } from './exclusions.ts';

const pod = (name: string, owner?: string): Pod =>
  ({
    metadata: {
      name,
      namespace: 'shop',
      ...(owner === undefined
        ? {}
        : { ownerReferences: [{ uid: owner, kind: 'ReplicaSet', name: owner, controller: true }] }),
    },
    spec: { containers: [] },
  }) as unknown as Pod;

describe('exclusions', () => {
  it('hold for the pods of one owner, for five minutes', async () => {
    const clock = createFakeClock();
    const exclusions = createExclusions(clock);
    exclusions.exclude(pod('a', 'web'), 'east', 'Rejected', 'not baseline');
    expect([...exclusions.of(pod('b', 'web'))]).toEqual([['east', 'it refused: not baseline']]);
    expect(exclusions.of(pod('c', 'db')).size).toBe(0);
    await clock.advance(299_000);
    expect(exclusions.of(pod('b', 'web')).size).toBe(1);
    await clock.advance(2000);
    expect(exclusions.of(pod('b', 'web')).size).toBe(0);
  });

  it('of a bare pod say nothing about other bare pods of its namespace', () => {
    const exclusions = createExclusions(createFakeClock());
    exclusions.exclude(pod('large'), 'east', 'QuotaExceeded', 'cpu: 80m needed, 0 free');
    expect(exclusions.of(pod('small')).size).toBe(0);
  });

  it('for want of room end once the peer has told what is free', async () => {
    const clock = createFakeClock();
    const exclusions = createExclusions(clock);
    exclusions.exclude(pod('a', 'web'), 'east', 'QuotaExceeded', 'cpu: 80m needed, 0 free');
    await clock.advance(4000);
    expect(exclusions.of(pod('a', 'web')).size).toBe(1);
    await clock.advance(6500);
    expect(exclusions.of(pod('a', 'web')).size).toBe(0);
  });
});
