import { isDeepStrictEqual } from 'node:util';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { isSealed } from '../record-seal.ts';
import type { VolumePlace } from '../volumes/volume-place.ts';
import { isSame, listedPoints, newestAt, withStored } from './plan-points.ts';
import type { StoredPoints } from './stored-points.ts';

/** What stores told of a volume's copies. */
export interface Learned {
  /** Peers whose answer is still awaited. */
  readonly asked: ReadonlySet<string>;
  /** Peers whose answer is in `points`. */
  readonly told: readonly string[];
  /** The true list; undefined while the status has it already. */
  readonly points: readonly RecoveryPoint[] | undefined;
  /** Newest copies that their store has lost, in words. */
  readonly gone: readonly string[];
  /** Stores that told of copies which no mover of home wrote, in words. */
  readonly forged: readonly string[];
}

export interface LearnWorld {
  readonly id: string;
  readonly replica: VolumeReplica;
  readonly place: VolumePlace;
  /** Raised when the end of a mover leaves open what its store holds. */
  readonly doubts: number;
  /** The volume's key: a store is believed only what was sealed with it, or what home knew by itself. */
  readonly key: string;
}

/**
 * Makes the list of points true: what stores hold counts, and not what this leader, or one before it, happened to hear. Asked
 * anew when a link to the store or to the movers came back, the store is another, the VolumeReplica or its list was lost,
 * or a mover ended badly. Not while a mover is under way: its record may be written at any moment.
 */
export const learnPoints = (
  stored: StoredPoints,
  revision: (peer: string) => number,
  { id, replica, place, doubts, key }: LearnWorld,
): Learned => {
  const known = replica.status?.points;
  const asked = new Set<string>();
  const told: string[] = [];
  const gone: string[] = [];
  const forged: string[] = [];
  let points: readonly RecoveryPoint[] = known ?? [];
  for (const peer of new Set([...replica.spec.peers, ...points.map((point) => point.peer)])) {
    const links = `${revision(peer)}/${revision(place.location)}`;
    const list = `${replica.metadata.uid ?? ''}/${known === undefined ? 'none' : 'some'}`;
    const state = stored.look(id, peer, place.epoch, `${links}/${list}/${doubts}`);
    if (state.is === 'asked') asked.add(peer);
    if (state.is !== 'told') continue;
    const before = newestAt(points, peer);
    const believed = state.points.filter(
      (record) =>
        isSealed(key, { ...record, volume: id }) ||
        points.some((point) => isSame(point, { peer, epoch: record.epoch, sequence: record.sequence })),
    );
    if (believed.length < state.points.length)
      forged.push(
        `the store of peer ${peer} names ${state.points.length - believed.length} copies that no mover of this cluster wrote: they are passed over`,
      );
    points = withStored(points, peer, believed, place.epoch, listedPoints(replica.spec.keep));
    told.push(peer);
    // a prune never takes the newest
    if (before !== undefined && !points.includes(before))
      gone.push(
        `the store of peer ${peer} has no copy ${before.epoch}-${before.sequence} any more: was it set back or emptied?`,
      );
  }
  const isNews = told.length > 0 && !isDeepStrictEqual(known, points);
  return { asked, told, points: isNews ? points : undefined, gone, forged };
};
