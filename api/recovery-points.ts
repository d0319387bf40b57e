/** The order of recovery points and of the commit records that make them. */
import type { RecoveryPoint } from './v1alpha1/volume-replica.ts';

type Ordered = Pick<RecoveryPoint, 'epoch' | 'sequence'>;

/** Newest first: by epoch, then sequence; clocks don't order. */
export const newestFirst = (a: Ordered, b: Ordered): number => b.epoch - a.epoch || b.sequence - a.sequence;

/** Salvage points that a store keeps at most, beside the recovery points that `spec.keep` counts. */
export const SALVAGE_KEPT = 3;

type Kept = Ordered & Pick<RecoveryPoint, 'salvage' | 'cutAt'>;

/**
 * The points of one store that stay, newest first: the `keep` newest from which a volume may go on, then the newest salvage
 * points that were cut since `salvageSince` (RFC 3339; all when missing). The tail of a lost peer is for people: it neither
 * takes the place of a point that counts nor stays for ever.
 */
export const keptPoints = <P extends Kept>(
  points: readonly P[],
  keep: number,
  salvageSince: string | undefined,
): readonly P[] => {
  const since = Date.parse(salvageSince ?? '');
  const sorted = points.toSorted(newestFirst);
  const salvage = sorted.filter((point) => point.salvage === true && !(Date.parse(point.cutAt) < since));
  return [
    ...sorted.filter((point) => point.salvage !== true).slice(0, keep),
    ...salvage.slice(0, SALVAGE_KEPT),
  ];
};

/** Points from which a volume may go on, newest first: without the tails of peers that were lost. */
export const completePoints = (points: readonly RecoveryPoint[]): readonly RecoveryPoint[] =>
  points.filter(({ salvage }) => salvage !== true).toSorted(newestFirst);
