import type { ConditionInput } from '../../api/conditions.ts';
import { newestFirst } from '../../api/recovery-points.ts';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { VolumePlace } from '../volumes/plan-volume.ts';
import { holdNothing, nextSequence } from './plan-points.ts';
import { whyNoCopyTo, type Target } from './plan-target.ts';

/** What this leader tried with one target. */
export interface Attempt {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly failed: boolean;
  /** Whether the repository has to be looked after before anything else is written to it. */
  readonly unclean: boolean;
}

export interface ReplicaWorld {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly replica: VolumeReplica;
  /** Undefined: there is no such claim or it isn't bound; `why` says which. */
  readonly place: VolumePlace | undefined;
  readonly why: string;
  readonly targets: ReadonlyMap<string, Target>;
  readonly isSourceUp: boolean;
  /** Whether a mover of this volume is under way. */
  readonly isBusy: boolean;
  readonly attempts: ReadonlyMap<string, Attempt>;
  readonly lastSequence: number;
}

export interface ReplicaPlan {
  readonly start:
    | {
        readonly peer: string;
        readonly action: 'backup' | 'maintain';
        readonly sequence: number;
        readonly parent: string | undefined;
        readonly mayBeEmpty: boolean;
      }
    | undefined;
  readonly requeueAfterMs: number | undefined;
  readonly condition: ConditionInput;
}

const RETRY_MS = 15_000;

/** What is remembered of a mover that has ended. */
export const attemptAfter = (
  now: number,
  action: 'backup' | 'maintain' | 'restore',
  before: Attempt | undefined,
  result: { readonly failed: boolean; readonly cutAt: string | undefined },
): Attempt | undefined => {
  const { failed } = result;
  const isMend = action === 'maintain';
  // Neither mending nor pruning is a copy: the next one is as due as it was.
  if (isMend && !failed) return before?.failed === true ? undefined : before && { ...before, unclean: false };
  // The interval runs from cut to cut, however long a copy takes.
  const cut = Date.parse(result.cutAt ?? '');
  return {
    at: failed || Number.isNaN(cut) ? now : Math.min(now, cut),
    failed,
    unclean: failed || before?.unclean === true,
  };
};
/** Points beyond `keep` that may gather before the repository is pruned. */
const SLACK = 5;

const newestAt = (points: readonly RecoveryPoint[], peer: string): RecoveryPoint | undefined =>
  points.filter((point) => point.peer === peer).toSorted(newestFirst)[0];

const dueAt = (world: ReplicaWorld, peer: string): number => {
  const { replica, attempts } = world;
  const intervalMs = replica.spec.intervalSeconds * 1000;
  const attempt = attempts.get(peer);
  if (attempt?.failed === true) return attempt.at + Math.min(intervalMs, RETRY_MS);
  const cut = Date.parse(newestAt(replica.status?.points ?? [], peer)?.cutAt ?? '');
  const last = Math.max(attempt?.at ?? 0, Number.isNaN(cut) ? 0 : cut);
  // A clock that was set back must not stop the copies.
  return last > world.now + intervalMs ? world.now : last + intervalMs;
};

const condition = (status: 'True' | 'False', reason: string, message: string): ConditionInput => ({
  type: 'Ready',
  status,
  reason,
  message,
});

const describe = (point: RecoveryPoint): string =>
  `${point.peer}: point ${point.epoch}-${point.sequence} (${point.consistency}), cut at ${point.cutAt}`;

const conditionOf = (world: ReplicaWorld, targets: readonly string[]): ConditionInput => {
  const { replica } = world;
  const points = replica.status?.points ?? [];
  const missing = targets.filter((peer) => newestAt(points, peer) === undefined);
  const failing = targets.filter((peer) => world.attempts.get(peer)?.failed === true);
  const obstacles = targets
    .map((peer) => whyNoCopyTo(peer, world.targets.get(peer)))
    .filter((one) => one !== undefined);
  const [obstacle] = obstacles;
  if (obstacle !== undefined)
    return condition('False', obstacle.reason, obstacles.map(({ message }) => message).join('; '));
  if (failing.length > 0)
    return condition('False', 'CopyFailed', replica.status?.lastError ?? `no copy to ${failing.join(', ')}`);
  if (missing.length > 0)
    return condition('False', 'Copying', `no recovery point yet at ${missing.join(', ')}`);
  const newest = targets.map((peer) => newestAt(points, peer)).filter((point) => point !== undefined);
  return condition('True', 'Replicated', newest.map(describe).join('; '));
};

/** The peer where the volume is can't copy it. */
const silent = ({ targets }: ReplicaWorld, location: string): ConditionInput => {
  const source = targets.get(location);
  if (source === undefined)
    return condition('False', 'SourceGone', `the volume was at ${location}, which is no peer any more`);
  return source.isPaused === true
    ? condition('False', 'SourcePaused', `peer ${location} is paused: set its spec.paused to false`)
    : condition('False', 'SourceUnreachable', `peer ${location} does not answer: fluviactl info ${location}`);
};

/** What to do about one VolumeReplica: at most one mover at a time, the most overdue target first. */
export const planReplica = (world: ReplicaWorld): ReplicaPlan => {
  const { replica, place, now } = world;
  const idle = (wanted: ConditionInput, requeueAfterMs?: number): ReplicaPlan => ({
    start: undefined,
    requeueAfterMs,
    condition: wanted,
  });
  if (replica.spec.paused) return idle(condition('False', 'Paused', 'spec.paused is true'));
  if (place === undefined) return idle(condition('False', 'NoVolume', world.why));
  const targets = [...new Set(replica.spec.peers)].filter((peer) => peer !== place.location);
  if (targets.length === 0)
    return idle(
      condition('False', 'NoTarget', `the volume is at ${place.location}: name another peer in spec.peers`),
    );
  const state = conditionOf(world, targets);
  if (!place.isUsable) return idle(condition('False', 'Moving', 'the volume is being moved'));
  if (!world.isSourceUp) return idle(silent(world, place.location));
  if (world.isBusy) return idle(state);
  const due = targets
    .filter((peer) => world.targets.get(peer)?.isUp === true)
    .filter((peer) => whyNoCopyTo(peer, world.targets.get(peer)) === undefined)
    .map((peer) => ({ peer, at: dueAt(world, peer) }))
    .toSorted((a, b) => a.at - b.at || (a.peer < b.peer ? -1 : 1));
  const [first] = due;
  if (first === undefined) return idle(state, RETRY_MS);
  if (first.at > now) return idle(state, first.at - now);
  const { peer } = first;
  const points = replica.status?.points ?? [];
  const own = points.filter((point) => point.peer === peer);
  const mustMend = world.attempts.get(peer)?.unclean === true;
  const mustPrune = own.length > replica.spec.keep + SLACK;
  return {
    start: {
      peer,
      action: mustMend || mustPrune ? 'maintain' : 'backup',
      sequence: nextSequence(points, world.lastSequence),
      parent: newestAt(points, peer)?.snapshotID,
      mayBeEmpty: holdNothing(points),
    },
    requeueAfterMs: undefined,
    condition: state,
  };
};

/** How many points of a peer the status lists: those that the repository has. */
export const listedPoints = (keep: number): number => keep + SLACK + 1;
