import { beforeEach, describe, expect, it } from 'vitest';
import type { Links } from '../../api/link.ts';
import { RECORD_REQUESTS, RECORDS, STORE, type StoredRecord } from '../../api/storage-collections.ts';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from '../../test/kube/fake-links.ts';
import { recordSeal } from '../record-seal.ts';
import { learnPoints } from './learn-points.ts';
import { createStoredPoints, type StoredPoints } from './stored-points.ts';
import { volumePlace } from '../volumes/volume-place.fake.ts';

const ID = 'v0123456789abcdef';
const KEY = 'a key of home';
const unsealed = (sequence: number): Omit<RecoveryPoint, 'peer'> => ({
  epoch: 1,
  sequence,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: '2026-11-25T03:00:00Z',
  bytesScanned: 1,
  bytesSent: 1,
});
const record = (sequence: number): StoredRecord => {
  const said = unsealed(sequence);
  return { ...said, seal: recordSeal(KEY, { ...said, volume: ID }) };
};
const place = volumePlace();

describe('the list of points', () => {
  let west: FakePeer;
  let links: Links;
  let stored: StoredPoints;
  let revision: number;
  let nowMs: number;
  let changed: string[];
  let points: readonly RecoveryPoint[] | undefined;

  beforeEach(() => {
    west = createFakePeer('west', 'w'.repeat(26), new AbortController().signal);
    links = createFakeLinks([west]);
    revision = 0;
    nowMs = 0;
    changed = [];
    points = undefined;
    west.tell(STORE).set('store', {
      address: '10.244.0.7',
      port: 9447,
      caCertificate: 'PEM',
      serverName: 'store.west.fluvia',
      ready: true,
    });
    lead();
  });
  const lead = (): void => {
    const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs } as unknown as Clock;
    stored = createStoredPoints(
      links,
      clock,
      () => revision,
      (id) => changed.push(id),
    );
  };
  const learn = (doubts = 0, uid = 'u1') => {
    const replica = {
      metadata: { name: 'db', uid },
      spec: { peers: ['west'], keep: 3 },
      status: points === undefined ? {} : { points },
    } as unknown as VolumeReplica;
    const learned = learnPoints(stored, () => revision, { id: ID, replica, place, doubts, key: KEY });
    if (learned.points !== undefined) ({ points } = learned);
    for (const peer of learned.told) stored.taken(ID, peer);
    return learned;
  };
  const question = () => west.sent(RECORD_REQUESTS).items.get(ID);
  const answer = (...sequences: number[]): void =>
    west.tell(RECORDS).set(ID, { attempt: question()?.attempt ?? -1, records: sequences.map(record) });
  const listed = (): readonly number[] => (points ?? []).map(({ sequence }) => sequence);
  /** Asks, and answers until nothing is asked any more. */
  const learnAll = (sequences: readonly number[], doubts = 0, uid = 'u1'): void => {
    for (let round = 0; round < 4; round += 1) if (learn(doubts, uid).asked.size > 0) answer(...sequences);
    expect(learn(doubts, uid).asked.size).toBe(0);
  };

  it('is that of the store also when the VolumeReplica is a new one', () => {
    expect(learn().asked).toEqual(new Set(['west']));
    answer(7, 6);
    expect(changed).toContain(ID);
    learnAll([7, 6]);
    expect(listed()).toEqual([7, 6]);
    expect(question()).toBeUndefined();
    points = undefined;
    learnAll([7, 6], 0, 'u2');
    expect(listed()).toEqual([7, 6]);
  });

  it('is asked for once, until something gives cause to doubt it', () => {
    learnAll([1]);
    expect(learn().asked.size).toBe(0);
    // a mover ended badly: it had written its record, though
    learnAll([2, 1], 1);
    expect(listed()).toEqual([2, 1]);
    // the link came back
    revision += 1;
    learnAll([3, 2], 1);
    expect(listed()).toEqual([3, 2]);
  });

  it('is not changed by an answer to the leader before', () => {
    west.tell(RECORDS).set(ID, { attempt: 0, records: [record(9)] });
    nowMs = 5;
    expect(learn().points).toBeUndefined();
    lead();
    nowMs = 6;
    expect(learn().asked.size).toBe(1);
    expect(listed()).toEqual([]);
  });

  it('is asked for anew when a mover begins before the answer', () => {
    learn();
    const { attempt = 0 } = question() ?? {};
    stored.drop(ID, 'west');
    expect(question()).toBeUndefined();
    nowMs = 1;
    learn();
    expect(question()?.attempt).toBeGreaterThan(attempt);
  });

  it('is done without when a peer never answers, refuses, or can not be asked', () => {
    learn();
    nowMs = 15_000;
    expect(learn().asked.size).toBe(0);
    // once silent nothing waits for it, until its link comes back
    expect(learn(1).asked.size).toBe(0);
    revision += 1;
    expect(learn(1).asked.size).toBe(1);
    west.tell(RECORDS).set(ID, {
      attempt: question()?.attempt ?? 0,
      refused: { reason: 'StoreRefused', message: 'no' },
    });
    expect(learn(1)).toMatchObject({ points: undefined, told: [] });
    expect(learn(1).asked.size).toBe(0);
    // the store comes round
    answer(4);
    expect(learn(1).told).toEqual(['west']);
    expect(listed()).toEqual([4]);
    west.setUp(false);
    expect(learn(2).asked.size).toBe(0);
  });

  it('has no copy that a store made up, or gave another number', () => {
    learnAll([1]);
    learn(1);
    const told = [record(1), unsealed(2), { ...record(3), snapshotID: 'c'.repeat(64) }, record(4)];
    west.tell(RECORDS).set(ID, {
      attempt: question()?.attempt ?? -1,
      records: [...told, { ...record(4), sequence: 5 }],
    });
    expect(learn(1).forged[0]).toContain('3 copies that no mover of this cluster wrote');
    expect(points?.map((point) => [point.sequence, Object.hasOwn(point, 'seal')])).toEqual([
      [4, false],
      [1, false],
    ]);
  });

  it('says when the newest copy is gone, and nothing of a prune', () => {
    learnAll([3, 2, 1]);
    learn(1);
    answer(3, 2);
    expect(learn(1).gone).toEqual([]);
    learn(2);
    answer(2);
    expect(learn(2).gone[0]).toContain('has no copy 1-3 any more');
    expect(listed()).toEqual([2]);
  });
});
