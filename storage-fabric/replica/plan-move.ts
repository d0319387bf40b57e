import { MOVE_ABORT } from '../../api/places.ts';
import { completePoints, newestFirst } from '../../api/recovery-points.ts';
import type { RecoveryPoint } from '../../api/v1alpha1/volume-replica.ts';
import type { VolumePlace } from '../volumes/volume-place.ts';
import type { MoveEnd, MoveNote } from './move-note.ts';
import { holdNothing, nextSequence } from './plan-points.ts';
import { unreachable, whyNoCopyTo, type Obstacle, type Target } from './plan-target.ts';

export interface MoveWorld {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly note: MoveNote | undefined;
  readonly place: VolumePlace;
  /** Peer that people asked for. */
  readonly wanted: string | undefined;
  /** Pods of home that use the volume and are bound to a virtual node; also those that are ending. */
  readonly users: number;
  /** Whether the label still stands on a node, so that kube-scheduler may send a pod there. */
  readonly isOffered: boolean;
  /** A pod there that nobody would start again, by name. */
  readonly bareUser: string | undefined;
  /** Pods of home that want it and are bound to no node. */
  readonly waiting: number;
  readonly points: readonly RecoveryPoint[];
  readonly allowBestEffort: boolean;
  readonly maxAgeSeconds: number | undefined;
  readonly targets: ReadonlyMap<string, Target>;
  /** Whether the peer where the volume is counts as lost. */
  readonly isSourceLost: boolean;
  /** Whether that peer answers but has the volume no more. */
  readonly isDataLost: boolean;
  /** Whether that peer answers, and has the volume there as it was when the move began, kept and used by nothing. */
  readonly isSourceWhole: boolean;
  /** Places that answer and have no old copy of it any more. */
  readonly goneAt: ReadonlySet<string>;
  /** When that peer was heard last, milliseconds since 1970; undefined where nobody knows. */
  readonly sourceHeardAt: number | undefined;
  /** The mover under way for this move, if there is one. */
  readonly transfer:
    | { readonly state: 'running'; readonly message?: string | undefined }
    | { readonly state: 'done'; readonly point: RecoveryPoint | undefined }
    | { readonly state: 'failed'; readonly message: string }
    | undefined;
  /** Whether another mover of this volume is still under way. */
  readonly isBusy: boolean;
  /** Whether peers are being asked which copies they hold: what to go on from is chosen after their answer. */
  readonly isAsking: boolean;
  readonly lastSequence: number;
}

export type MoveAction =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly message: string }
  /** A wish that can't be met: the annotation goes, with a word. */
  | { readonly do: 'refuse'; readonly reason: string; readonly message: string }
  /** Another wish than the move that is under way: it goes, with a word; the move goes on. */
  | { readonly do: 'drop'; readonly reason: string; readonly message: string }
  /** An unattended failover that must not happen, in words. */
  | { readonly do: 'hold'; readonly reason: string; readonly message: string }
  /** Writes the note (compare-and-swap), and raises the epoch where it says so. */
  | {
      readonly do: 'note';
      readonly note: MoveNote;
      readonly epoch: number;
      /** A place whose old copy is gone, and with it what it wrote last: there is nothing to keep or to go on from. */
      readonly forget?: string | undefined;
    }
  | { readonly do: 'evict' }
  | { readonly do: 'salvage'; readonly at: string; readonly sequence: number }
  | {
      readonly do: 'copy';
      readonly to: string;
      readonly sequence: number;
      readonly parent: string | undefined;
      readonly mayBeEmpty: boolean;
    }
  | { readonly do: 'restore'; readonly to: string; readonly point: RecoveryPoint }
  | {
      readonly do: 'end';
      readonly end: MoveEnd;
      readonly location: string;
      readonly retained: readonly string[];
      readonly diverged: readonly string[];
    };

const MAX_FAILURES = 5;
const RETRY_MS = 5000;
const LONGEST_RETRY_MS = 30_000;
const NO_POINT = 'NoRecoveryPoint';
const nothingLeft: Obstacle = {
  reason: NO_POINT,
  message: 'no peer has a complete copy; to begin with an empty volume delete the claim and make it anew',
};

const iso = (now: number): string => new Date(now).toISOString();

const refuse = (reason: string, message: string): MoveAction => ({ do: 'refuse', reason, message });

const bareUser = (pod: string): Obstacle => ({
  reason: 'BarePod',
  message: `pod ${pod} uses it and has no owner that would start it again: delete it first`,
});

const planWish = (world: MoveWorld, to: string): MoveAction => {
  const { place, targets } = world;
  if (to === place.location) return refuse('AlreadyThere', `the volume is at ${to} already`);
  if (!place.isMade)
    return refuse(
      'NotMade',
      `the volume has not been made at ${place.location} yet, so there is nothing to move: where it can't be made it is made elsewhere by itself`,
    );
  const target = targets.get(to);
  // Right after a take-over nobody has answered yet: that is no reason to refuse.
  const unheard = [to, place.location].find((peer) => targets.get(peer)?.isUnsure === true);
  if (unheard !== undefined) return { do: 'wait', message: `peer ${unheard} has not answered yet` };
  const obstacle =
    whyNoCopyTo(to, target) ?? (target?.isUp === false ? unreachable(to) : undefined) ?? target?.closed;
  if (obstacle !== undefined) return refuse(obstacle.reason, obstacle.message);
  if (targets.get(place.location)?.isPaused === true)
    return refuse(
      'SourcePaused',
      `peer ${place.location}, where the volume is, is paused: set its spec.paused to false first`,
    );
  if (world.isSourceLost)
    return refuse(
      'SourceUnreachable',
      `peer ${place.location} does not answer, so nothing can be copied from it: wait for it; the volume goes to a peer ` +
        'with a copy by itself once a pod waits for it',
    );
  if (world.isDataLost)
    return refuse('VolumeLost', `peer ${place.location} has the volume no more: its claim there was deleted`);
  if (world.bareUser !== undefined) return { do: 'refuse', ...bareUser(world.bareUser) };
  return {
    do: 'note',
    epoch: place.epoch,
    note: {
      kind: 'planned',
      from: place.location,
      to,
      // A place that was peered anew under the same name, or whose claim was deleted, has no tail.
      stage: place.diverged.includes(to) && !world.goneAt.has(to) ? 'salvage' : 'stop',
      startedAt: iso(world.now),
      failures: 0,
    },
    forget: world.goneAt.has(to) ? to : undefined,
  };
};

/** The freshest complete point from which an unattended failover may go on, or why there is none. */
export const choosePoint = (
  world: Pick<MoveWorld, 'points' | 'place' | 'targets' | 'allowBestEffort' | 'maxAgeSeconds' | 'now'>,
): RecoveryPoint | { readonly reason: string; readonly message: string } => {
  const { place, targets } = world;
  const elsewhere = completePoints(world.points).filter(({ peer }) => peer !== place.location);
  if (elsewhere.length === 0)
    return {
      reason: NO_POINT,
      message: 'no peer has a complete copy, so it waits for this one (a VolumeReplica makes copies)',
    };
  const answering = elsewhere.filter(({ peer }) => targets.get(peer)?.isUp && targets.get(peer)?.hasStore);
  const [freshest] = answering;
  if (freshest === undefined)
    return { reason: 'StoreUnreachable', message: 'no store that has a copy answers: fluviactl info' };
  const obstacle = targets.get(freshest.peer)?.closed;
  const reachable = answering.filter(({ peer }) => targets.get(peer)?.closed === undefined);
  if (reachable.length === 0 && obstacle !== undefined) return obstacle;
  const sure = reachable.find(({ consistency }) => world.allowBestEffort || consistency !== 'BestEffort');
  if (sure === undefined)
    return {
      reason: 'OnlyBestEffort',
      message: 'all copies are BestEffort: set spec.allowBestEffort on the VolumeReplica to use one',
    };
  const ageSeconds = Math.round((world.now - Date.parse(sure.cutAt)) / 1000);
  if (world.maxAgeSeconds !== undefined && ageSeconds > world.maxAgeSeconds)
    return {
      reason: 'TooOld',
      message: `the freshest copy (at ${sure.peer}) was cut at ${sure.cutAt}, spec.maxAgeSeconds is ${world.maxAgeSeconds}: raise it to use that copy`,
    };
  return sure;
};

/** Whether nothing can be lost: it was never made, and whoever was to make it is no peer any more. */
const wasNever = ({ place, targets }: MoveWorld): boolean => !place.isMade && !targets.has(place.location);

const planFailover = (world: MoveWorld): MoveAction => {
  const { place, isSourceLost, users } = world;
  if (!isSourceLost && !world.isDataLost) return { do: 'nothing' };
  if (wasNever(world)) return { do: 'nothing' };
  if (world.waiting === 0 && (isSourceLost || users === 0)) return { do: 'nothing' };
  // Pods there count until the fence's safe time has let them go: no second writer before.
  if (isSourceLost && users > 0) return { do: 'wait', message: `a pod at ${place.location} may still write` };
  if (world.isAsking) return { do: 'wait', message: 'peers are being asked which copies they hold' };
  const point = choosePoint(world);
  if ('reason' in point)
    return { do: 'hold', ...(!isSourceLost && point.reason === NO_POINT ? nothingLeft : point) };
  if (world.bareUser !== undefined) return { do: 'hold', ...bareUser(world.bareUser) };
  // They have nothing to write to.
  if (users > 0) return { do: 'evict' };
  return {
    do: 'note',
    epoch: place.epoch + 1,
    note: {
      kind: 'failover',
      from: place.location,
      to: point.peer,
      stage: 'restore',
      startedAt: iso(world.now),
      ...(isSourceLost ? { isLost: true } : {}),
      ...(isSourceLost && world.sourceHeardAt !== undefined ? { lostAt: iso(world.sourceHeardAt) } : {}),
      point,
      failures: 0,
    },
  };
};

/** Whether the volume went on without its peer, which so may have a tail of its own. Notes of earlier releases tell only when. */
const wasLost = ({ isLost, lostAt }: MoveNote): boolean => isLost === true || lostAt !== undefined;

const ended = (world: MoveWorld, note: MoveNote, ok: boolean, message: string): MoveAction => {
  const { place } = world;
  const location = ok ? note.to : place.location;
  // Its tail was kept before the stop.
  const isSalvaged = note.kind === 'planned' && note.stage !== 'salvage';
  const retained = [...new Set([...place.retained, place.location, note.to])].filter(
    (peer) => peer !== location,
  );
  return {
    do: 'end',
    location,
    diverged: ok
      ? [...new Set([...place.diverged, ...(wasLost(note) ? [note.from] : [])])].filter(
          (peer) => peer !== note.to,
        )
      : place.diverged.filter((peer) => !isSalvaged || peer !== note.to),
    // A copy that was only begun is worth nothing.
    retained: ok ? retained : retained.filter((peer) => peer !== note.to || place.retained.includes(peer)),
    end: {
      kind: note.kind,
      from: note.from,
      to: note.to,
      ok,
      endedAt: iso(world.now),
      message,
      ...(ok && note.point !== undefined ? { cutAt: note.point.cutAt } : {}),
      ...(ok && note.lostAt !== undefined ? { lostAt: note.lostAt } : {}),
    },
  };
};

/** Whether what was copied last may be the only whole one: there is nothing to go back to, so it is tried on. */
const isOnlyCopied = ({ isSourceLost, isDataLost }: MoveWorld, { stage }: MoveNote): boolean =>
  stage === 'restore' && (isSourceLost || isDataLost);

const staysText = ({ isSourceLost, isDataLost }: MoveWorld, { from }: MoveNote): string =>
  `stays at ${from}${isSourceLost || isDataLost ? '' : ', nothing is lost'}`;

const failedOnce = (world: MoveWorld, note: MoveNote, message: string): MoveAction => {
  const failures = note.failures + 1;
  if (note.kind === 'planned' && failures >= MAX_FAILURES && !isOnlyCopied(world, note))
    return ended(world, note, false, `${message}; the volume ${staysText(world, note)}`);
  return {
    do: 'note',
    epoch: world.place.epoch,
    note: { ...note, failures, failedAt: iso(world.now), message: message.slice(0, 1000) },
  };
};

/** After a failure: the next try comes after 5 s, then after twice that each time, at most 30 s. */
const isTooSoon = ({ now }: MoveWorld, { failures, failedAt }: MoveNote): boolean => {
  const waitMs = failures === 0 ? 0 : Math.min(RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
  const sinceMs = now - Date.parse(failedAt ?? '');
  // A clock that was set back must not stop it.
  return sinceMs >= 0 && sinceMs < waitMs;
};
const TOO_SOON: MoveAction = { do: 'wait', message: 'it is tried again soon' };

const planCopy = (world: MoveWorld, note: MoveNote): MoveAction => {
  const { transfer, place } = world;
  if (world.isSourceLost)
    return ended(
      world,
      note,
      false,
      `peer ${note.from} was lost while the volume was copied; it is there as it was`,
    );
  // Bound in the moment in which the label went: at home its kubelet asks nobody before it writes.
  if (world.users > 0) return { do: 'note', epoch: place.epoch, note: { ...note, stage: 'stop' } };
  if (transfer?.state === 'running') return { do: 'wait', message: 'the last delta is being copied' };
  if (transfer?.state === 'failed') return failedOnce(world, note, transfer.message);
  if (transfer?.state === 'done') {
    if (transfer.point === undefined) return failedOnce(world, note, 'the copy has no recovery point');
    return {
      do: 'note',
      epoch: place.epoch + 1,
      note: { ...note, stage: 'restore', point: transfer.point, failures: 0 },
    };
  }
  if (world.isBusy) return { do: 'wait', message: 'an earlier mover is ending' };
  if (isTooSoon(world, note)) return TOO_SOON;
  const parent = world.points.filter(({ peer }) => peer === note.to).toSorted(newestFirst)[0];
  return {
    do: 'copy',
    to: note.to,
    sequence: nextSequence(world.points, world.lastSequence),
    parent: parent?.snapshotID,
    mayBeEmpty: holdNothing(world.points),
  };
};

const planSalvage = (world: MoveWorld, note: MoveNote): MoveAction => {
  const { transfer } = world;
  // Whoever has nothing can't be copied from, however often.
  if (world.goneAt.has(note.to))
    return {
      do: 'note',
      epoch: world.place.epoch,
      note: { ...note, stage: 'stop', failures: 0 },
      forget: note.to,
    };
  if (transfer?.state === 'running')
    return { do: 'wait', message: `what ${note.to} wrote last is being kept` };
  if (transfer?.state === 'failed') return failedOnce(world, note, transfer.message);
  if (transfer?.state === 'done')
    return { do: 'note', epoch: world.place.epoch, note: { ...note, stage: 'stop', failures: 0 } };
  if (world.isBusy) return { do: 'wait', message: 'an earlier mover is ending' };
  if (isTooSoon(world, note)) return TOO_SOON;
  return { do: 'salvage', at: note.to, sequence: nextSequence(world.points, world.lastSequence) };
};

/** When a point was cut; after a loss also how much of what the lost peer wrote it may lack. */
const cutOf = (note: MoveNote, { cutAt }: RecoveryPoint): string => {
  const { from, lostAt } = note;
  if (!wasLost(note)) return `cut at ${cutAt}`;
  if (lostAt === undefined) return `cut at ${cutAt}; when ${from} was heard last is not known`;
  const seconds = Math.max(0, Math.round((Date.parse(lostAt) - Date.parse(cutAt)) / 1000));
  return `cut at ${cutAt}, ${seconds} s before ${from} was heard last`;
};

/** Whether the peer that is to get the volume does not answer, and so can neither be filled nor be written to by anybody. */
const isTargetGone = ({ targets }: MoveWorld, { to }: MoveNote): boolean => {
  const target = targets.get(to);
  return target === undefined || target.isLost === true;
};

/** After a failure: the store may not have the point any more, and a failover would try it for ever. */
const otherPoint = (world: MoveWorld, note: MoveNote, point: RecoveryPoint): RecoveryPoint | undefined => {
  const there = world.points.filter(({ peer }) => peer === note.to);
  if (
    there.length === 0 ||
    there.some(({ epoch, sequence }) => epoch === point.epoch && sequence === point.sequence)
  )
    return undefined;
  const next = choosePoint({ ...world, points: there });
  return 'reason' in next ? undefined : next;
};

/** Where a failover goes on whose target fails again and again or is no peer any more: where it came from, or another copy. */
const insteadOf = (world: MoveWorld, note: MoveNote, point: RecoveryPoint): MoveAction | undefined => {
  if (note.kind !== 'failover' || note.failures === 0) return undefined;
  const isHopeless = note.failures >= MAX_FAILURES || !world.targets.has(note.to);
  // Nobody has written anywhere else: what is there lacks nothing.
  if (world.isSourceWhole && (isHopeless || isTargetGone(world, note)))
    return ended(
      world,
      note,
      false,
      `${note.message ?? `peer ${note.to} failed`}; peer ${note.from} is back with the volume, which stays there: nothing is lost`,
    );
  if (world.isAsking) return { do: 'wait', message: 'peers are being asked which copies they hold' };
  const elsewhere = world.points.filter(({ peer }) => peer !== note.to);
  const away = isHopeless ? choosePoint({ ...world, points: elsewhere }) : undefined;
  const next = away === undefined || 'reason' in away ? otherPoint(world, note, point) : away;
  if (next === undefined) return undefined;
  const { message: _message, failedAt: _failedAt, ...rest } = note;
  // A new target has tries of its own.
  const changed =
    next.peer === note.to ? { ...note, point: next } : { ...rest, to: next.peer, point: next, failures: 0 };
  return { do: 'note', epoch: world.place.epoch, note: changed };
};

const planRestore = (world: MoveWorld, note: MoveNote): MoveAction => {
  const { transfer } = world;
  if (note.point === undefined) return ended(world, note, false, 'it has no recovery point to restore');
  if (transfer?.state === 'running') return { do: 'wait', message: `restoring at ${note.to}` };
  if (transfer?.state === 'failed') return failedOnce(world, note, transfer.message);
  if (transfer?.state === 'done') {
    const { sequence, consistency } = note.point;
    const message = `restored from point ${sequence} (${consistency}), ${cutOf(note, note.point)}`;
    return ended(world, note, true, message);
  }
  if (world.isBusy) return { do: 'wait', message: 'an earlier mover is ending' };
  if (isTooSoon(world, note)) return TOO_SOON;
  const other = insteadOf(world, note, note.point);
  if (other !== undefined) return other;
  return { do: 'restore', to: note.to, point: note.point };
};

/** A move under way, for people. */
export const moveText = ({ from, to, stage, failures, message }: MoveNote): string =>
  `the volume is being moved from ${from} to ${to} (${stage})${failures === 0 || message === undefined ? '' : `; it failed and is tried again: ${message}`}`;

/** What people are told of a volume that is lost, with or without its peer; undefined when it isn't, or is on its way. */
export const lossText = (world: MoveWorld, action: MoveAction): string | undefined => {
  if (world.note !== undefined || action.do === 'note') return undefined;
  const { location } = world.place;
  if ((!world.isSourceLost && !world.isDataLost) || wasNever(world)) return undefined;
  const silent = world.targets.has(location)
    ? `peer ${location} does not answer`
    : `there is no peer ${location} any more`;
  const lost = world.isSourceLost
    ? silent
    : `peer ${location} has the volume no more: its claim there was deleted`;
  if (action.do === 'hold') return `${lost}; no failover: ${action.message}`;
  if (action.do === 'evict') return `${lost}; its pods begin anew`;
  return action.do === 'wait' ? `${lost}; ${action.message}` : `${lost}; no pod waits for the volume`;
};

/** A planned move goes no further when its target is lost: the volume is whole where it was, and its pods wait. */
const whyGivenUp = (world: MoveWorld, note: MoveNote): string | undefined => {
  const { to } = note;
  if (note.kind !== 'planned' || !isTargetGone(world, note) || isOnlyCopied(world, note)) return undefined;
  const what = world.targets.has(to) ? `peer ${to} was lost` : `there is no peer ${to} any more`;
  return `${what} before the volume was there; it ${staysText(world, note)}`;
};

/** A person wants the volume to stay where it was. */
const planAbort = (world: MoveWorld, note: MoveNote): MoveAction => {
  const cannot =
    world.isDataLost || (note.kind === 'failover' && !world.isSourceWhole)
      ? `peer ${note.from} does not answer, or has the volume no more`
      : undefined;
  return cannot === undefined
    ? { do: 'note', epoch: world.place.epoch, note: { ...note, isTakenBack: true } }
    : {
        do: 'drop',
        reason: 'MoveUnderWay',
        message: `it can't stay at ${note.from}: ${cannot}; the ${note.kind === 'failover' ? 'failover' : 'move'} to ${note.to} goes on`,
      };
};

/** The next step of a volume's move; one step at a time, each safe to be repeated. */
export const planMove = (world: MoveWorld): MoveAction => {
  const { note, wanted } = world;
  if (note === undefined && wanted === MOVE_ABORT)
    return { do: 'drop', reason: 'NotMoving', message: 'no move is under way that could be taken back' };
  if (note === undefined) return wanted === undefined ? planFailover(world) : planWish(world, wanted);
  if (note.isTakenBack === true)
    return ended(world, note, false, `taken back by a person; the volume stays at ${note.from}`);
  if (wanted === MOVE_ABORT || wanted === note.from) return planAbort(world, note);
  if (wanted !== undefined && wanted !== note.to)
    return {
      do: 'drop',
      reason: 'MoveUnderWay',
      message: `it is being moved from ${note.from} to ${note.to}: ask again once that has ended; --abort takes it back`,
    };
  const why = whyGivenUp(world, note);
  if (why !== undefined) return ended(world, note, false, why);
  switch (note.stage) {
    case 'salvage':
      return planSalvage(world, note);
    case 'stop':
      if (world.isSourceLost) return ended(world, note, false, `peer ${note.from} was lost before the copy`);
      if (world.users > 0) return { do: 'evict' };
      if (world.isOffered) return { do: 'wait', message: 'nodes still offer it to pods' };
      return { do: 'note', epoch: world.place.epoch, note: { ...note, stage: 'copy' } };
    case 'copy':
      return planCopy(world, note);
    case 'restore':
      return planRestore(world, note);
    default:
      return note.stage satisfies never;
  }
};
