import { describe, expect, it } from 'vitest';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { attemptAfter, circumstances, planReplica, type Attempt, type ReplicaWorld } from './plan-replica.ts';
import { volumePlace } from '../volumes/volume-place.fake.ts';

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
    salvageDays: 30,
    allowBestEffort: false,
    paused: false,
    ...spec,
  },
  status: { points: [...points] },
});
const PLACE = volumePlace();
const world = (more: Partial<ReplicaWorld> = {}): ReplicaWorld => ({
  now: NOW,
  replica: replica([]),
  place: PLACE,
  why: '',
  targets: new Map([
    ['east', { isUp: true, hasStore: true }],
    ['west', { isUp: true, hasStore: true }],
  ]),
  isSourceUp: true,
  isBusy: false,
  asked: new Set(),
  attempts: new Map(),
  lastSequence: 0,
  ...more,
});
/** What copies of `world()` are tried with. */
const SAME = circumstances(replica([]), { epoch: 1 }, undefined);
const failedAt = (ageMs: number, failures: number, more: Partial<Attempt> = {}): ReplicaWorld['attempts'] =>
  new Map([
    [
      'west',
      { at: NOW - ageMs, failures, unclean: true, message: 'StoreFull: no room', with: SAME, ...more },
    ],
  ]);

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
    const attempts = failedAt(16_000, 1);
    expect(planReplica(world({ attempts })).start).toMatchObject({ action: 'maintain' });
  });

  it('tries what fails ever later, up to a quarter of an hour, and says when', () => {
    const waits = Array.from({ length: 10 }, (_, index) => {
      const plan = planReplica(world({ attempts: failedAt(0, index + 1) }));
      expect(plan.start).toBeUndefined();
      return (plan.requeueAfterMs ?? 0) / 1000;
    });
    expect(waits).toEqual([15, 30, 60, 120, 240, 480, 900, 900, 900, 900]);
    expect(planReplica(world({ attempts: failedAt(0, 3) })).condition).toMatchObject({
      reason: 'CopyFailed',
      message: 'StoreFull: no room; next try at 2026-11-25T03:01:00.000Z',
    });
  });

  it('tries at once after a change of the spec or of the store, and the copy itself once it is mended', () => {
    const attempts = failedAt(0, 9);
    const changed = { ...replica([]), metadata: { name: 'db', namespace: 'shop', generation: 2 } };
    expect(planReplica(world({ attempts, replica: changed })).start).toMatchObject({ action: 'maintain' });
    const targets = new Map([['west', { isUp: true, hasStore: true, revision: 1 }]]);
    expect(planReplica(world({ attempts, targets })).start).toMatchObject({ action: 'maintain' });
    const mended = failedAt(0, 9, { unclean: false });
    expect(planReplica(world({ attempts: mended })).start).toMatchObject({ action: 'backup' });
  });

  it('copies to the others while one target fails, or is being asked what it holds', () => {
    const both = replica([], { peers: ['west', 'north'] });
    const targets = new Map(['west', 'north'].map((peer) => [peer, { isUp: true, hasStore: true }]));
    const failing = planReplica(world({ replica: both, targets, attempts: failedAt(0, 2) }));
    expect(failing.start).toMatchObject({ peer: 'north' });
    const asked = new Set(['west']);
    expect(planReplica(world({ replica: both, targets, asked })).start).toMatchObject({ peer: 'north' });
    expect(planReplica(world({ asked }))).toMatchObject({ start: undefined, requeueAfterMs: 1000 });
  });

  it('counts no tail of a lost peer as a copy', () => {
    const tail = { ...point('west', 4, 1), salvage: true };
    const plan = planReplica(world({ replica: replica([tail]) }));
    expect(plan).toMatchObject({ start: { peer: 'west', sequence: 5 }, condition: { reason: 'Copying' } });
  });

  it('counts the interval from cut to cut, so that a copy that takes long makes the next no later', () => {
    const cutAt = new Date(NOW - 40_000).toISOString();
    const attempt = attemptAfter(NOW, 'backup', undefined, { failed: false, cutAt, with: SAME });
    const attempts = new Map(attempt === undefined ? [] : [['west', attempt] as const]);
    const points = [point('west', 4, 40)];
    const plan = planReplica(world({ replica: replica(points), attempts, isBusy: false }));
    expect(plan.requeueAfterMs).toBe(20_000);
    // a prune between two copies delays none
    expect(attemptAfter(NOW, 'maintain', attempt, { failed: false, cutAt: undefined, with: SAME })).toEqual(
      attempt,
    );
    // a clock of the peer that is ahead does not either
    const ahead = new Date(NOW + 3_600_000).toISOString();
    expect(attemptAfter(NOW, 'backup', undefined, { failed: false, cutAt: ahead, with: SAME })?.at).toBe(NOW);
  });

  it('remembers a failure until it is mended', () => {
    const bad = { failed: true, cutAt: undefined, message: 'full', with: SAME };
    const failed = attemptAfter(NOW, 'backup', undefined, bad);
    expect(failed).toEqual({ at: NOW, failures: 1, unclean: true, message: 'full', with: SAME });
    const good = { failed: false, cutAt: undefined, with: SAME };
    const mended = attemptAfter(NOW, 'maintain', failed, good);
    expect(mended).toEqual({ ...failed, unclean: false });
    // a copy that fails after each mending still counts as one that goes on failing
    expect(attemptAfter(NOW, 'backup', mended, bad)?.failures).toBe(2);
    expect(attemptAfter(NOW, 'maintain', failed, bad)?.failures).toBe(2);
    expect(attemptAfter(NOW, 'backup', mended, good)).toMatchObject({ failures: 0, unclean: false });
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
        place: { ...PLACE, isUsable: false },
      },
    ],
    ['NoStore', { targets: new Map([['west', { isUp: true, hasStore: false }]]) }],
    ['NoVolume', { place: { ...PLACE, isMade: false } }],
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
