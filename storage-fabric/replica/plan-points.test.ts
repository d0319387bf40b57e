import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keptPoints } from '../../api/recovery-points.ts';
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import {
  listedPoints,
  mustPrune,
  newestAt,
  nextSequence,
  prunedPoints,
  sequenceToNote,
  SLACK,
  withPoint,
  withStored,
} from './plan-points.ts';

const NOW = Date.parse('2026-11-25T03:00:00Z');
const DAY = 86_400_000;
const SINCE = new Date(NOW - 30 * DAY).toISOString();
const point = (peer: string, sequence: number, more: Partial<RecoveryPoint> = {}): RecoveryPoint => ({
  peer,
  epoch: 1,
  sequence,
  snapshotID: 'a'.repeat(64),
  treeHash: 'b'.repeat(64),
  consistency: 'FilesystemSnapshot',
  cutAt: new Date(NOW - 1000).toISOString(),
  bytesScanned: 1,
  bytesSent: 1,
  ...more,
});
const tail = (peer: string, sequence: number, ageDays = 0): RecoveryPoint =>
  point(peer, sequence, { salvage: true, cutAt: new Date(NOW - ageDays * DAY).toISOString() });
const record = ({ peer: _peer, ...rest }: RecoveryPoint): Omit<RecoveryPoint, 'peer'> => rest;
const sequences = (points: readonly RecoveryPoint[]): readonly number[] =>
  points.map(({ sequence }) => sequence);

const anyPoints = fc.array(
  fc.record({
    peer: fc.constantFrom('a', 'b'),
    sequence: fc.integer({ min: 0, max: 30 }),
    salvage: fc.boolean(),
  }),
);
const made = (list: readonly { peer: string; sequence: number; salvage: boolean }[]) =>
  list.map(({ peer, sequence, salvage }) => (salvage ? tail(peer, sequence) : point(peer, sequence)));

describe('points', () => {
  it('keep the newest of each peer, each once', () => {
    fc.assert(
      fc.property(anyPoints, fc.integer({ min: 1, max: 5 }), (list, keep) => {
        const added = point('a', 31);
        const kept = withPoint(withPoint(made(list), added, keep), added, keep);
        expect(kept.filter(({ peer, sequence }) => peer === 'a' && sequence === 31)).toHaveLength(1);
        const complete = kept.filter(({ peer, salvage }) => peer === 'a' && salvage !== true);
        expect(complete.length).toBeLessThanOrEqual(keep);
        expect(withPoint(kept, undefined, keep)).toEqual(kept);
        // what is on top is shown by kubectl as the newest copy
        expect(kept[0]?.sequence).toBe(31);
      }),
    );
  });

  it('get ever higher sequences', () => {
    fc.assert(
      fc.property(anyPoints, fc.nat(40), (list, tried) => {
        const all = made(list);
        const next = nextSequence(all, tried);
        expect(all.every(({ sequence }) => sequence < next) && tried < next).toBe(true);
      }),
    );
  });

  it('are noted by blocks before they are used', () => {
    expect(sequenceToNote(1, 0)).toBe(100);
    expect(sequenceToNote(100, 100)).toBeUndefined();
    expect(sequenceToNote(101, 100)).toBe(200);
  });
});

describe('tails of lost peers', () => {
  const counted = [5, 4, 3].map((sequence) => point('west', sequence));

  it('push out none of the points that keep counts, and are not listed before them', () => {
    const all = [tail('west', 9), tail('west', 8), ...counted];
    expect(sequences(keptPoints(all, 3, SINCE))).toEqual([5, 4, 3, 9, 8]);
    expect(sequences(withPoint(all, undefined, 3))).toEqual([5, 4, 3, 9, 8]);
    expect(newestAt(all, 'west')?.sequence).toBe(5);
  });

  it('are never more than the status can list, the newest of them', () => {
    const of = (peer: string): readonly RecoveryPoint[] =>
      Array.from({ length: 600 }, (_, i) => point(peer, i + 1));
    const listed = withPoint([...of('east'), ...of('west')], undefined, listedPoints(600));
    expect(listed).toHaveLength(1000);
    expect(Math.min(...listed.map(({ sequence }) => sequence))).toBe(101);
  });

  it('stay, the newest three, for the days of the spec', () => {
    const all = [...counted, tail('west', 9), tail('west', 8), tail('west', 7, 29), tail('west', 6, 1)];
    expect(sequences(keptPoints(all, 3, SINCE))).toEqual([5, 4, 3, 9, 8, 7]);
    expect(sequences(keptPoints([tail('west', 9, 31), ...counted], 3, SINCE))).toEqual([5, 4, 3]);
    // a time that is none takes nothing away
    expect(keptPoints([{ ...tail('west', 9), cutAt: '?' }], 3, SINCE)).toHaveLength(1);
  });

  it('are pruned when their time has come, and never again and again', () => {
    const old = [...counted, tail('west', 2, 31)];
    expect(mustPrune(old, 'west', 3, SINCE)).toBe(true);
    expect(mustPrune(old, 'east', 3, SINCE)).toBe(false);
    expect(mustPrune(prunedPoints(old, 'west', 3, SINCE), 'west', 3, SINCE)).toBe(false);
    expect(mustPrune([...counted, tail('west', 2)], 'west', 3, SINCE)).toBe(false);
  });
});

describe('a prune', () => {
  it('of one peer leaves those of the others listed, which still have to be pruned', () => {
    const many = (peer: string) =>
      Array.from({ length: listedPoints(3) }, (_, index) => point(peer, index + 1));
    const points = prunedPoints([...many('east'), ...many('west')], 'west', 3, SINCE);
    expect(points.filter(({ peer }) => peer === 'west')).toHaveLength(3);
    expect(points.filter(({ peer }) => peer === 'east')).toHaveLength(3 + SLACK + 1);
    expect(mustPrune(points, 'east', 3, SINCE)).toBe(true);
  });
});

describe('what a store tells', () => {
  it('replaces what was listed of it: points that were missed come, points that went go', () => {
    const listed = [point('east', 1), point('west', 2), point('west', 3)];
    const told = [record(point('west', 3)), record(point('west', 4))];
    const points = withStored(listed, 'west', told, 1, 9);
    expect(points.map(({ peer, sequence }) => `${peer} ${sequence}`)).toEqual(['west 4', 'west 3', 'east 1']);
    expect(nextSequence(points, 0)).toBe(5);
    expect(withStored(points, 'west', told, 1, 9)).toEqual(points);
  });

  it('makes no point of a tail: neither by its record nor by one from before records said so', () => {
    const listed = [tail('west', 3)];
    const told = [record(point('west', 3)), record(tail('west', 4))];
    expect(withStored(listed, 'west', told, 1, 9).every(({ salvage }) => salvage === true)).toBe(true);
  });

  it('is not believed when home can not have asked for it', () => {
    const told = [record(point('west', 1, { epoch: 2 })), record(point('west', 10 ** 15 - 1))];
    expect(withStored([], 'west', told, 1, 9)).toEqual([]);
  });
});
