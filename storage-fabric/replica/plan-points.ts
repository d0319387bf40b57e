/** The recovery points of a volume as its VolumeReplica lists them. Pure. */
import { keptPoints, newestFirst, SALVAGE_KEPT } from '../../api/recovery-points.ts';
import { MOST_POINTS, type RecoveryPoint, type VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';

type PointId = Pick<RecoveryPoint, 'peer' | 'epoch' | 'sequence'>;

/** Whether two are one copy in one store. */
export const isSame = (a: PointId, b: PointId): boolean =>
  a.peer === b.peer && a.epoch === b.epoch && a.sequence === b.sequence;

/** Those from which a volume may go on come first: what is on top is the newest copy that counts. */
const sorted = (points: readonly RecoveryPoint[]): readonly RecoveryPoint[] =>
  points.toSorted((a, b) => Number(a.salvage === true) - Number(b.salvage === true) || newestFirst(a, b));

/** Points beyond `keep` that may gather before the repository is pruned. */
export const SLACK = 5;

/** How many points of a peer the status lists: those that the repository has. */
export const listedPoints = (keep: number): number => keep + SLACK + 1;

/**
 * Points with `point` added, once, and at most `listed` of each peer; salvage points are not counted. Never more than the status
 * can list: peers that `spec.peers` named once may have some, too.
 */
export const withPoint = (
  points: readonly RecoveryPoint[],
  point: RecoveryPoint | undefined,
  listed: number,
): readonly RecoveryPoint[] => {
  const all = point === undefined ? points : [point, ...points.filter((other) => !isSame(other, point))];
  const counts = new Map<string, number>();
  return sorted(all)
    .filter(({ peer, salvage }) => {
      const kind = `${salvage === true ? 'salvage' : 'point'} ${peer}`;
      const count = (counts.get(kind) ?? 0) + 1;
      counts.set(kind, count);
      return count <= (salvage === true ? SALVAGE_KEPT + SLACK : listed);
    })
    .slice(0, MOST_POINTS);
};

const DAY_MS = 86_400_000;

/** Before which a salvage point was cut that goes now. */
export const salvageSince = ({ spec }: Pick<VolumeReplica, 'spec'>, now: number): string =>
  new Date(now - spec.salvageDays * DAY_MS).toISOString();

/** Points after a prune of one peer's store. */
export const prunedPoints = (
  points: readonly RecoveryPoint[],
  peer: string,
  keep: number,
  since: string | undefined,
): readonly RecoveryPoint[] =>
  sorted([
    ...points.filter((point) => point.peer !== peer),
    ...keptPoints(
      points.filter((point) => point.peer === peer),
      keep,
      since,
    ),
  ]);

/** Whether a peer's store holds enough that `keptPoints` wouldn't keep for a prune to be worth its while. */
export const mustPrune = (
  points: readonly RecoveryPoint[],
  peer: string,
  keep: number,
  since: string,
): boolean => {
  const own = points.filter((point) => point.peer === peer);
  const complete = own.filter(({ salvage }) => salvage !== true).length;
  const tails = own.length - complete;
  const staying = keptPoints(own, keep, since).filter(({ salvage }) => salvage === true).length;
  return complete > keep + SLACK || tails > staying;
};

/** The highest sequence that is believed of a peer's record: whatever it tells, there is room for more. */
const MOST_SEQUENCE = 10 ** 14;

/** A record as a store tells it. */
export type StoredPoint = Omit<RecoveryPoint, 'peer'> & { readonly seal?: string | undefined };

/**
 * Points with those of `peer` replaced by what its store has. What home knew of a point stays: that it is a tail was not
 * always written into its record. A record of an epoch that home never gave is none of this volume's.
 */
export const withStored = (
  points: readonly RecoveryPoint[],
  peer: string,
  stored: readonly StoredPoint[],
  epoch: number,
  listed: number,
): readonly RecoveryPoint[] => {
  const theirs = stored
    .filter((record) => record.epoch <= epoch && record.sequence <= MOST_SEQUENCE)
    .map(({ seal: _seal, ...record }): RecoveryPoint => {
      const told = { peer, ...record };
      return points.find((point) => isSame(point, told)) ?? told;
    });
  return withPoint([...points.filter((point) => point.peer !== peer), ...theirs], undefined, listed);
};

/** The newest point that counts of those at a peer. */
export const newestAt = (points: readonly RecoveryPoint[], peer: string): RecoveryPoint | undefined =>
  points.filter((point) => point.peer === peer && point.salvage !== true).toSorted(newestFirst)[0];

/** The next sequence of a volume: above every point and every attempt. */
export const nextSequence = (points: readonly RecoveryPoint[], lastTried: number): number =>
  Math.max(0, lastTried, ...points.map(({ sequence }) => sequence)) + 1;

/** Sequences that are given out by one write of the placeholder, so that not every copy needs one. */
const SEQUENCE_BLOCK = 100;

/** What to write onto the placeholder before `sequence` is used; undefined while that is noted already. */
export const sequenceToNote = (sequence: number, noted: number): number | undefined =>
  sequence <= noted ? undefined : sequence + SEQUENCE_BLOCK - 1;

/** Whether no copy holds any data, so that the copy of an empty volume can hide nothing. */
export const holdNothing = (points: readonly RecoveryPoint[]): boolean =>
  points.every(({ bytesScanned }) => bytesScanned === 0);
