import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { nextSequence, withPoint } from './plan-points.ts';
import { attemptAfter, planReplica, type ReplicaWorld } from './plan-replica.ts';

const NOW = Date.parse('2026-11-25T03:00:00Z');
const point = (peer: string, sequence: number, ageSeconds: number): RecoveryPoint => ({
  peer,
  epoch: 1,
  sequence,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: new Date(NOW - ageSeconds * 1000).toISOString(),
  bytesScanned: 1,
  bytesSent: 1,
});
const replica = (
  points: readonly RecoveryPoint[],
  spec: Partial<VolumeReplica['spec']> = {},
): VolumeReplica => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'VolumeReplica',
  metadata: { name: 'db', namespace: 'shop' },
  spec: {
    claimName: 'db',
    peers: ['east', 'west'],
    intervalSeconds: 60,
    mode: 'Cold',
    keep: 3,
    allowBestEffort: false,
    paused: false,
    ...spec,
  },
  status: { points: [...points] },
});
const world = (more: Partial<ReplicaWorld> = {}): ReplicaWorld => ({
  now: NOW,
  replica: replica([]),
  place: { epoch: 1, location: 'east', retained: [], diverged: [], restoring: undefined, isUsable: true },
  why: '',
  targets: new Map([
    ['east', { isUp: true, hasStore: true }],
    ['west', { isUp: true, hasStore: true }],
  ]),
  isSourceUp: true,
  isBusy: false,
  attempts: new Map(),
  lastSequence: 0,
  ...more,
});

describe('planReplica', () => {
  it('copies at once when there is no copy, never to where the volume is', () => {
    expect(planReplica(world())).toMatchObject({
      start: { peer: 'west', action: 'backup', sequence: 1 },
      condition: { reason: 'Copying' },
    });
  });

  it('waits for the interval, from the cut', () => {
    const plan = planReplica(world({ replica: replica([point('west', 4, 20)]) }));
    expect(plan).toMatchObject({ start: undefined, requeueAfterMs: 40_000, condition: { status: 'True' } });
    const due = planReplica(world({ replica: replica([point('west', 4, 60)]) }));
    expect(due.start).toMatchObject({ sequence: 5, parent: 'a'.repeat(64) });
  });

  it('lets a volume be empty as long as no copy, wherever it is, holds anything', () => {
    expect(planReplica(world()).start).toMatchObject({ mayBeEmpty: true });
    const empty = { ...point('west', 4, 60), bytesScanned: 0 };
    expect(planReplica(world({ replica: replica([empty]) })).start).toMatchObject({ mayBeEmpty: true });
    const points = [point('east', 3, 60), empty];
    expect(planReplica(world({ replica: replica(points) })).start).toMatchObject({ mayBeEmpty: false });
  });

  it('mends the repository first after an unclean end', () => {
    const attempts = new Map([['west', { at: NOW - 16_000, failed: true, unclean: true }]]);
    expect(planReplica(world({ attempts })).start).toMatchObject({ action: 'maintain' });
  });

  it('counts the interval from cut to cut, so that a copy that takes long makes the next no later', () => {
    const cutAt = new Date(NOW - 40_000).toISOString();
    const attempt = attemptAfter(NOW, 'backup', undefined, { failed: false, cutAt });
    const attempts = new Map(attempt === undefined ? [] : [['west', attempt] as const]);
    const points = [point('west', 4, 40)];
    const plan = planReplica(world({ replica: replica(points), attempts, isBusy: false }));
    expect(plan.requeueAfterMs).toBe(20_000);
    // a prune between two copies delays none
    expect(attemptAfter(NOW, 'maintain', attempt, { failed: false, cutAt: undefined })).toEqual(attempt);
    // a clock of the peer that is ahead does not either
    const ahead = new Date(NOW + 3_600_000).toISOString();
    expect(attemptAfter(NOW, 'backup', undefined, { failed: false, cutAt: ahead })?.at).toBe(NOW);
  });

  it('remembers a failure until it is mended', () => {
    const failed = attemptAfter(NOW, 'backup', undefined, { failed: true, cutAt: undefined });
    expect(failed).toEqual({ at: NOW, failed: true, unclean: true });
    expect(attemptAfter(NOW, 'maintain', failed, { failed: false, cutAt: undefined })).toBeUndefined();
    expect(attemptAfter(NOW, 'maintain', failed, { failed: true, cutAt: undefined })).toEqual(failed);
  });

  it('prunes when points have gathered', () => {
    const points = Array.from({ length: 9 }, (_, n) => point('west', n, 100));
    expect(planReplica(world({ replica: replica(points) })).start).toMatchObject({ action: 'maintain' });
  });

  it.each([
    ['Paused', { replica: replica([], { paused: true }) }],
    ['NoVolume', { place: undefined, why: 'no claim' }],
    ['NoTarget', { replica: replica([], { peers: ['east'] }) }],
    ['SourceUnreachable', { isSourceUp: false }],
    [
      'Moving',
      {
        place: {
          epoch: 1,
          location: 'east',
          retained: [],
          diverged: [],
          restoring: undefined,
          isUsable: false,
        },
      },
    ],
    ['NoStore', { targets: new Map([['west', { isUp: true, hasStore: false }]]) }],
  ] as const)('says why it copies nothing: %s', (reason, more) => {
    const plan = planReplica(world(more));
    expect(plan.start).toBeUndefined();
    expect(plan.condition).toMatchObject({ status: 'False', reason });
  });

  it('starts nothing while a mover of the volume is under way', () => {
    expect(planReplica(world({ isBusy: true })).start).toBeUndefined();
  });

  it('copies on when the clock was set back', () => {
    expect(planReplica(world({ replica: replica([point('west', 1, -86_400)]) })).start).toBeDefined();
  });
});

describe('points', () => {
  const points = fc.array(
    fc.record({
      peer: fc.constantFrom('a', 'b'),
      sequence: fc.integer({ min: 0, max: 30 }),
    }),
  );

  it('keep the newest of each peer, each once', () => {
    fc.assert(
      fc.property(points, fc.integer({ min: 1, max: 5 }), (list, keep) => {
        const all = list.map(({ peer, sequence }) => point(peer, sequence, 0));
        const added = point('a', 31, 0);
        const kept = withPoint(withPoint(all, added, keep), added, keep);
        expect(kept.filter(({ peer, sequence }) => peer === 'a' && sequence === 31)).toHaveLength(1);
        expect(kept.filter(({ peer }) => peer === 'a').length).toBeLessThanOrEqual(keep);
        expect(withPoint(kept, undefined, keep)).toEqual(kept);
      }),
    );
  });

  it('get ever higher sequences', () => {
    fc.assert(
      fc.property(points, fc.nat(40), (list, tried) => {
        const all = list.map(({ peer, sequence }) => point(peer, sequence, 0));
        const next = nextSequence(all, tried);
        expect(all.every(({ sequence }) => sequence < next) && tried < next).toBe(true);
      }),
    );
  });
});
