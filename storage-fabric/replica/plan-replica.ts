import type { ConditionInput } from '../../api/conditions.ts';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { VolumePlace } from '../volumes/volume-place.ts';
import { holdNothing, mustPrune, newestAt, nextSequence, salvageSince } from './plan-points.ts';
import { whyNoCopyTo, type Target } from './plan-target.ts';

/** What this leader tried with one target. */
export interface Attempt {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Failures in a row. */
  readonly failures: number;
  /** Whether the repository has to be looked after before anything else is written to it. */
  readonly unclean: boolean;
  /** What the last failure said. */
  readonly message?: string | undefined;
  /** What it was tried with, see {@link circumstances}: with another it is tried at once. */
  readonly with: string;
}

export interface ReplicaWorld {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly replica: VolumeReplica;
  /** Undefined: there is no such claim or it isn't bound; `why` says which. */
  readonly place: VolumePlace | undefined;
  readonly why: string;
  /** The move under way, in words. */
  readonly moving?: string | undefined;
  readonly targets: ReadonlyMap<string, Target>;
  readonly isSourceUp: boolean;
  /** Whether a mover of this volume is under way. */
  readonly isBusy: boolean;
  /** Targets that are being asked which copies they hold: nothing is written there before. */
  readonly asked: ReadonlySet<string>;
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
/** A store that has room again, or another's credentials mended, is noticed no later. */
const LONGEST_RETRY_MS = 900_000;
const ASKING_MS = 1000;
/** How soon a mover under way is looked at again. */
const BUSY_MS = 15_000;

/** Milliseconds from a failure to the next try: doubled by each that follows. */
const retryMs = (failures: number, intervalMs: number): number =>
  Math.min(Math.min(intervalMs, RETRY_MS) * 2 ** (failures - 1), LONGEST_RETRY_MS);

/** What a copy depends on and people change: another spec, place, link or store is worth a try at once. */
export const circumstances = (
  { metadata }: Pick<VolumeReplica, 'metadata'>,
  place: Pick<VolumePlace, 'epoch'> | undefined,
  target: Target | undefined,
): string =>
  `${metadata.uid ?? ''}/${metadata.generation ?? 0}/${place?.epoch ?? 0}/${target?.revision ?? 0}`;

/** What is remembered of a mover that has ended. */
export const attemptAfter = (
  now: number,
  action: 'backup' | 'maintain' | 'restore',
  before: Attempt | undefined,
  result: {
    readonly failed: boolean;
    readonly cutAt: string | undefined;
    readonly message?: string | undefined;
    readonly with: string;
  },
): Attempt | undefined => {
  const { failed } = result;
  const isMend = action === 'maintain';
  // Neither mending nor pruning is a copy: the next one is as due as it was, and one that failed may be tried.
  if (isMend && !failed) return before && { ...before, unclean: false };
  // The interval runs from cut to cut, however long a copy takes.
  const cut = Date.parse(result.cutAt ?? '');
  return {
    at: failed || Number.isNaN(cut) ? now : Math.min(now, cut),
    failures: failed ? (before?.failures ?? 0) + 1 : 0,
    unclean: failed || before?.unclean === true,
    ...(failed ? { message: result.message ?? `${action} failed` } : {}),
    with: result.with,
  };
};

/** When a target that failed is tried again; undefined for one that did not. */
const retryAt = (world: ReplicaWorld, peer: string): number | undefined => {
  const { replica, place, attempts, targets } = world;
  const attempt = attempts.get(peer);
  if (attempt === undefined || attempt.failures === 0) return undefined;
  const isOther = attempt.with !== circumstances(replica, place, targets.get(peer));
  // Once it is mended the copy itself is tried.
  if (isOther || !attempt.unclean) return attempt.at;
  return attempt.at + retryMs(attempt.failures, replica.spec.intervalSeconds * 1000);
};

const dueAt = (world: ReplicaWorld, peer: string): number => {
  const { replica, attempts } = world;
  const intervalMs = replica.spec.intervalSeconds * 1000;
  const attempt = attempts.get(peer);
  const again = retryAt(world, peer);
  // A clock that was set back must not stop it.
  if (again !== undefined) return again > world.now + LONGEST_RETRY_MS ? world.now : again;
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

/** Room for words of stores in a condition. */
const MOST_TEXT = 1600;

/** Why copies fail, and when each is tried again. */
const failing = (world: ReplicaWorld, peers: readonly string[]): string => {
  const most = Math.floor(MOST_TEXT / peers.length);
  const text = (peer: string): string => {
    const { message = `no copy to ${peer}` } = world.attempts.get(peer) ?? {};
    const again = retryAt(world, peer) ?? 0;
    const next = world.isBusy || again <= world.now ? '' : `; next try at ${new Date(again).toISOString()}`;
    return `${message.slice(0, most)}${next}`;
  };
  return peers.map(text).join('; ');
};

const conditionOf = (world: ReplicaWorld, targets: readonly string[]): ConditionInput => {
  const { replica } = world;
  const points = replica.status?.points ?? [];
  const missing = targets.filter((peer) => newestAt(points, peer) === undefined);
  const failed = targets.filter((peer) => (world.attempts.get(peer)?.failures ?? 0) > 0);
  const obstacles = targets
    .map((peer) => whyNoCopyTo(peer, world.targets.get(peer)))
    .filter((one) => one !== undefined);
  const [obstacle] = obstacles;
  if (obstacle !== undefined)
    return condition('False', obstacle.reason, obstacles.map(({ message }) => message).join('; '));
  if (failed.length > 0) return condition('False', 'CopyFailed', failing(world, failed));
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
  if (!place.isMade)
    return idle(
      condition('False', 'NoVolume', 'the volume has not been made yet: the condition of its claim says why'),
    );
  if (!place.isUsable) return idle(condition('False', 'Moving', world.moving ?? 'the volume is being moved'));
  if (!world.isSourceUp) return idle(silent(world, place.location));
  // Nobody says so when a mover doesn't begin, or its peer falls silent.
  if (world.isBusy) return idle(state, BUSY_MS);
  const due = targets
    .filter((peer) => world.targets.get(peer)?.isUp === true)
    .filter((peer) => whyNoCopyTo(peer, world.targets.get(peer)) === undefined)
    .filter((peer) => !world.asked.has(peer))
    .map((peer) => ({ peer, at: dueAt(world, peer) }))
    .toSorted((a, b) => a.at - b.at || (a.peer < b.peer ? -1 : 1));
  const [first] = due;
  if (first === undefined) return idle(state, world.asked.size > 0 ? ASKING_MS : RETRY_MS);
  if (first.at > now)
    return idle(state, Math.min(first.at - now, world.asked.size > 0 ? ASKING_MS : Infinity));
  const { peer } = first;
  const points = replica.status?.points ?? [];
  const mustMend = world.attempts.get(peer)?.unclean === true;
  const isFull = mustPrune(points, peer, replica.spec.keep, salvageSince(replica, now));
  return {
    start: {
      peer,
      action: mustMend || isFull ? 'maintain' : 'backup',
      sequence: nextSequence(points, world.lastSequence),
      parent: newestAt(points, peer)?.snapshotID,
      mayBeEmpty: holdNothing(points),
    },
    requeueAfterMs: undefined,
    condition: state,
  };
};
