/** The order of recovery points and of the commit records that make them. */
import type { RecoveryPoint } from './v1alpha1/volume-replica.ts';

type Ordered = Pick<RecoveryPoint, 'epoch' | 'sequence'>;

/** Newest first: by epoch, then sequence; clocks don't order. */
export const newestFirst = (a: Ordered, b: Ordered): number => b.epoch - a.epoch || b.sequence - a.sequence;

/** Points from which a volume may go on, newest first: without the tails of peers that were lost. */
export const completePoints = (points: readonly RecoveryPoint[]): readonly RecoveryPoint[] =>
  points.filter(({ salvage }) => salvage !== true).toSorted(newestFirst);
