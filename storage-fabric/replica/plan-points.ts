import { newestFirst } from '../../api/recovery-points.ts';
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';

/** Points with `point` added, once, and at most `keep` of each peer. */
export const withPoint = (
  points: readonly RecoveryPoint[],
  point: RecoveryPoint | undefined,
  keep: number,
): readonly RecoveryPoint[] => {
  const isSame = (other: RecoveryPoint): boolean =>
    other.peer === point?.peer && other.epoch === point.epoch && other.sequence === point.sequence;
  const all = [...(point === undefined ? [] : [point]), ...points.filter((other) => !isSame(other))];
  const counts = new Map<string, number>();
  return all.toSorted(newestFirst).filter(({ peer }) => {
    const count = (counts.get(peer) ?? 0) + 1;
    counts.set(peer, count);
    return count <= keep;
  });
};

/** The next sequence of a volume: above every point and every attempt. */
export const nextSequence = (points: readonly RecoveryPoint[], lastTried: number): number =>
  Math.max(0, lastTried, ...points.map(({ sequence }) => sequence)) + 1;

/** Whether no copy holds any data, so that the copy of an empty volume can hide nothing. */
export const holdNothing = (points: readonly RecoveryPoint[]): boolean =>
  points.every(({ bytesScanned }) => bytesScanned === 0);
