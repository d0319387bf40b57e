import { setCondition, type ConditionInput } from '../../api/conditions.ts';
import { TWINS } from '../../api/collections.ts';
import type { Links } from '../../api/link.ts';
import { STORE, VOLUME_STATUS } from '../../api/storage-collections.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict } from '../../runtime/kube/errors.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import { PERSISTENT_VOLUME } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { FIELD_MANAGER, idOfClaim, idOfVolume, isOurs, type HomeVolumes } from '../volumes/home-volumes.ts';
import { recordOf } from '../volumes/plan-source.ts';
import { isSettled } from '../volumes/plan-swap.ts';
import { isLostData } from '../volumes/volume-items.ts';
import { isOffered } from '../volumes/plan-volume.ts';
import { placeOf, type VolumePlace } from '../volumes/volume-place.ts';
import { openCopyBooks, pointOf } from './copy-books.ts';
import { createMoveActor, type TransferOrder } from './move-actor.ts';
import {
  moveEndOf,
  moveNoteOf,
  moveProgressOf,
  type MoveEnd,
  type MoveNote,
  type MoveProgress,
} from './move-note.ts';
import { lossText, moveText, planMove, type MoveWorld } from './plan-move.ts';
import { listedPoints, salvageSince, withPoint } from './plan-points.ts';
import { planReplica } from './plan-replica.ts';
import { watchPlaces } from './place-loss.ts';
import { isOfAnother, openReplicas } from './replica-objects.ts';
import { openTargets } from './targets.ts';
import { createSequences } from './sequences.ts';
import { createTransfers, type TransferState } from './transfers.ts';
import type { VolumeUsers } from '../volumes/volume-users.ts';

const LOOK_AGAIN_MS = 3000;
/** While home's PersistentVolume is made anew. */
const SWAP_MS = 500;
/** The list of copies was just written, and the cache shows it soon. */
const BEHIND_MS = 100;
/** Longer than a mover usually takes to begin: then people are told what it waits for. */
const USUAL_WAIT_MS = 15_000;
const DEADLINE_SECONDS = 6 * 3600;

/** Whether a mover is the one that this step of the move wants, and not a copy or a leftover of an earlier step. */
const isOfStage = ({ wish }: TransferState, note: MoveNote | undefined, place: VolumePlace): boolean =>
  note !== undefined &&
  wish.purpose === 'move' &&
  wish.action === (note.stage === 'restore' ? 'restore' : 'backup') &&
  wish.epoch === place.epoch &&
  wish.target === note.to;

/** How far a mover is, or what it has been waiting for for longer than all do. */
const progressOf = (state: TransferState | undefined, { stage }: MoveNote): MoveProgress | undefined => {
  if (state?.phase === 'running' && state.bytesTotal !== undefined)
    return { stage, done: state.bytesDone ?? 0, total: state.bytesTotal };
  const isWaiting = state?.phase === 'asking' || state?.phase === 'pending';
  return isWaiting && state.message !== undefined && (state.waitedMs === 0 || state.waitedMs > USUAL_WAIT_MS)
    ? { stage, done: 0, total: 0, message: state.message }
    : undefined;
};

/** How old what runs now was when it came: an event about it is soon forgotten. */
const movedCondition = ({ kind, from, to, message }: MoveEnd): ConditionInput => ({
  type: 'Moved',
  status: 'True',
  reason: kind === 'failover' ? 'FailedOver' : 'Planned',
  message: `from ${from} to ${to}: ${message}`,
});

export interface ReplicaControllerOptions {
  readonly deps: ControllerDeps;
  readonly links: Links;
  readonly home: HomeVolumes;
  readonly pods: Informer<Pod>;
  readonly users: VolumeUsers;
}

/** Copies volumes by their VolumeReplicas and moves them. Keyed by volume ID; stops when `signal` aborts. */
export const startReplicas = (
  { deps, links, home, pods, users }: ReplicaControllerOptions,
  signal: AbortSignal,
): void => {
  const { client, clock } = deps;
  const queue = createWorkQueue({ clock });
  const replicas = openReplicas(deps, home, signal);
  const { names } = replicas;
  const places = watchPlaces(links, home.peers, clock, signal);
  const transfers = createTransfers(links, places, clock, (volume) => queue.add(volume));
  const targets = openTargets(home, links, places);
  const onChange = (volume: string): void => queue.add(volume);
  const books = openCopyBooks({ deps, links, targets, transfers, replicas, onChange }, signal);
  const numbers = createSequences(client, home, signal);

  const startTransfer = async (claim: PersistentVolumeClaim, wish: TransferOrder): Promise<void> => {
    if (wish.action !== 'restore') await numbers.use(wish.volume, wish.sequence);
    books.begin(wish.volume, wish.target);
    const key = await books.keyOf(wish.volume);
    const stamp = clock.now().getTime().toString(36);
    transfers.start({
      ...wish,
      id: `${wish.volume}-${wish.action}-${wish.epoch}-${wish.sequence}-${stamp}`,
      key,
      namespace: claim.metadata.namespace ?? '',
      claimName: claim.metadata.name,
      deadlineSeconds: DEADLINE_SECONDS,
    });
  };

  const actor = createMoveActor(
    {
      deps,
      transfers,
      startTransfer,
      inWords: (text) => names.inWords(text),
      usersOf: (claim, location) => users.at(claim, location),
    },
    signal,
  );

  /** Writes what is only for people, and so needs no compare-and-swap. */
  const show = async (
    volume: PersistentVolume,
    annotation: string,
    value: string | undefined,
  ): Promise<void> => {
    if (volume.metadata.annotations?.[annotation] === value) return;
    const { name, uid } = volume.metadata;
    const body = { metadata: { uid, annotations: { [annotation]: value ?? null } } };
    await client.patch(PERSISTENT_VOLUME, name, undefined, body, {
      type: 'merge',
      fieldManager: FIELD_MANAGER,
      signal,
    });
  };
  const showProgress = async (
    volume: PersistentVolume,
    progress: MoveProgress | undefined,
  ): Promise<void> => {
    // How far it was stays, what it waited for does not.
    if (progress === undefined && moveProgressOf(volume)?.message === undefined) return;
    const value = progress === undefined ? undefined : names.inWords(JSON.stringify(progress));
    await show(volume, STORAGE_ANNOTATIONS.moveProgress, value);
  };

  /** Told only of a copy that is to be kept, so never of one that is being made. */
  const isGoneAt = (peer: string, id: string): boolean =>
    targets.state(peer) === 'up' && links.get(peer)?.follow(VOLUME_STATUS).get(id)?.phase === 'Gone';

  const transferFor = (
    state: TransferState | undefined,
    point: RecoveryPoint | undefined,
  ): MoveWorld['transfer'] => {
    if (state === undefined) return undefined;
    if (state.phase === 'failed') return { state: 'failed', message: state.message ?? 'the mover failed' };
    return state.phase === 'succeeded'
      ? { state: 'done', point }
      : { state: 'running', message: state.message };
  };

  const move = async (
    id: string,
    claim: PersistentVolumeClaim,
    volume: PersistentVolume,
    place: VolumePlace,
    replica: VolumeReplica | undefined,
    isAsking: boolean,
  ): Promise<ReconcileResult & { readonly isMoving: boolean }> => {
    if (actor.isBehind(id, volume)) return { requeueAfterMs: 100, isMoving: true };
    const note = moveNoteOf(volume);
    // Of a later release, or written by hand: the volume is on its way, and whatever was begun here would be a second move.
    if (note === undefined && volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] !== undefined)
      return { isMoving: true };
    const state = transfers.get(id);
    const isForeign = state !== undefined && !isOfStage(state, note, place);
    // A move goes before the copies; one that is under way ends first.
    if (note !== undefined && (isForeign || state?.phase === 'failed')) books.doubt(id);
    if (note !== undefined && isForeign) transfers.end(id);
    const point = state === undefined ? undefined : pointOf(state);
    const isCopying = !isForeign && (note?.stage === 'copy' || note?.stage === 'salvage');
    if (isCopying && state?.phase === 'succeeded' && point !== undefined && replica !== undefined) {
      const listed = note.stage === 'salvage' ? { ...point, salvage: true } : point;
      const points = withPoint(replica.status?.points ?? [], listed, listedPoints(replica.spec.keep));
      await replicas.save(replica, { points: [...points], lastAttemptAt: clock.now().toISOString() });
    }
    const asked = claim.metadata.annotations?.[STORAGE_ANNOTATIONS.moveTo];
    const sourceState = targets.state(place.location);
    const told = links.get(place.location)?.follow(VOLUME_STATUS).get(id);
    const world: MoveWorld = {
      now: clock.now().getTime(),
      note,
      place,
      wanted: asked === undefined || actor.isDropped(claim) ? undefined : names.placeOf(asked),
      users: users.at(claim, place.location).length,
      isOffered: isOffered(id, home.nodes.list()),
      bareUser: users.bareAt(claim, place.location),
      waiting: users.waiting(claim),
      points: replica?.status?.points ?? [],
      allowBestEffort: replica?.spec.allowBestEffort ?? false,
      maxAgeSeconds: replica?.spec.maxAgeSeconds,
      targets: targets.of(claim.metadata.namespace ?? ''),
      isSourceLost: sourceState === 'lost',
      isDataLost: isLostData(told),
      // Only while a move stands is it told to be retained: this was said since the move began.
      isSourceWhole: sourceState === 'up' && told?.phase === 'Bound' && told.state === 'retained',
      goneAt: new Set([...place.retained, ...place.diverged].filter((peer) => isGoneAt(peer, id))),
      sourceHeardAt: places.heardAt(place.location),
      transfer: note === undefined || isForeign ? undefined : transferFor(state, point),
      isBusy: (note !== undefined && isForeign) || transfers.isEnding(id),
      isAsking,
      lastSequence: numbers.last(id),
    };
    const action = planMove(world);
    // A step that writes the placeholder itself says it with that write. What was said stays until it is known again.
    if (note === undefined && sourceState !== 'unsure' && action.do !== 'note' && action.do !== 'refuse')
      await show(volume, STORAGE_ANNOTATIONS.loss, lossText(world, action));
    if (note !== undefined && action.do === 'wait')
      await showProgress(volume, isForeign ? undefined : progressOf(state, note));
    const isMoving = note !== undefined || (action.do !== 'nothing' && action.do !== 'hold');
    return { ...(await actor.act({ id, volume, claim, place }, action)), isMoving };
  };

  const copy = async (
    id: string,
    replica: VolumeReplica,
    claim: PersistentVolumeClaim,
    volume: PersistentVolume | undefined,
    place: VolumePlace | undefined,
    why: string,
    asked: ReadonlySet<string>,
    isMoving: boolean,
  ): Promise<ReconcileResult> => {
    const note = volume === undefined ? undefined : moveNoteOf(volume);
    const plan = planReplica({
      now: clock.now().getTime(),
      replica,
      place,
      why,
      moving: note === undefined ? undefined : moveText(note),
      targets: targets.of(claim.metadata.namespace ?? ''),
      isSourceUp: place !== undefined && links.get(place.location)?.isUp() === true,
      isBusy: transfers.get(id) !== undefined || transfers.isEnding(id),
      asked,
      attempts: books.attempts(id),
      lastSequence: numbers.last(id),
    });
    const now = clock.now().toISOString();
    const end = volume === undefined ? undefined : moveEndOf(volume);
    await replicas.save(replica, {
      volume: id,
      ...(place === undefined ? {} : { epoch: place.epoch, location: place.location }),
      conditions: [plan.condition, ...(end?.ok === true ? [movedCondition(end)] : [])].reduce(
        (list, condition) => setCondition(list, condition, now),
        replica.status?.conditions ?? [],
      ),
    });
    if (isMoving) return {};
    if (plan.start === undefined || place === undefined) return { requeueAfterMs: plan.requeueAfterMs };
    await startTransfer(claim, {
      volume: id,
      action: plan.start.action,
      purpose: 'replica',
      runner: place.location,
      target: plan.start.peer,
      epoch: place.epoch,
      sequence: plan.start.sequence,
      parentSnapshotID: plan.start.parent,
      writerStopped: false,
      keep: replica.spec.keep,
      ...(plan.start.action === 'maintain'
        ? { salvageSince: salvageSince(replica, clock.now().getTime()) }
        : {}),
      mayBeEmpty: plan.start.mayBeEmpty,
    });
    return { requeueAfterMs: LOOK_AGAIN_MS };
  };

  const isChanging = (id: string, volume: PersistentVolume): boolean =>
    recordOf(home.homeClaimOf(id)) !== undefined ||
    // One that was never made has no other source to wait for.
    (!isSettled(volume) &&
      placeOf(volume)?.isMade === true &&
      volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] === undefined);

  const reconcile = async (id: string): Promise<ReconcileResult> => {
    const claim = home.claimOf(id);
    const volume = home.volumeOf(id);
    if (claim === undefined) {
      transfers.end(id);
      books.forget(id);
      numbers.forget(id);
      return {};
    }
    // Home's PersistentVolume is being made anew with another source: nothing is decided, nothing written meanwhile.
    if (volume === undefined && (claim.spec.volumeName ?? '') !== '') return { requeueAfterMs: SWAP_MS };
    if (volume !== undefined && isChanging(id, volume)) return { requeueAfterMs: SWAP_MS };
    const [replica, ...others] = replicas.of(claim);
    if (replica !== undefined && replicas.isBehind(replica)) return { requeueAfterMs: BEHIND_MS };
    if (replica !== undefined && isOfAnother(replica, id)) {
      await replicas.renew(replica, id);
      return { requeueAfterMs: BEHIND_MS };
    }
    for (const other of others) {
      const message = `VolumeReplica ${replica?.metadata.name ?? ''} copies claim ${claim.metadata.name} already: name all peers in that one, and delete this`;
      await replicas.refuse(other, 'Duplicate', message);
    }
    const place = volume === undefined ? undefined : placeOf(volume);
    const state = transfers.get(id);
    if (state?.wish.purpose === 'replica') {
      const isStale = place === undefined || place.epoch !== state.wish.epoch || replica === undefined;
      if (isStale) {
        transfers.end(id);
        books.doubt(id);
      } else if (state.phase === 'succeeded' || state.phase === 'failed') {
        await books.settle(id, state, replica);
        // with what was just written
        return { requeueAfterMs: 300 };
      }
    }
    let asked: ReadonlySet<string> = new Set();
    const isBusy = transfers.get(id) !== undefined || transfers.isEnding(id);
    if (replica === undefined) books.close(id);
    else if (place !== undefined && !isBusy) {
      const learned = await books.learn(id, replica, place);
      // with what was just written
      if (learned.isNews) return { requeueAfterMs: 300 };
      ({ asked } = learned);
    }
    let result: ReconcileResult & { readonly isMoving?: boolean } = {};
    if (volume !== undefined && place !== undefined) {
      try {
        result = await move(id, claim, volume, place, replica, asked.size > 0);
      } catch (error) {
        if (!isConflict(error)) throw error;
        return { requeueAfterMs: 200 };
      }
    }
    const { isMoving = false } = result;
    // A move that listed a point has written over what was read.
    if (replica === undefined || (isMoving && replicas.isBehind(replica))) return result;
    const why =
      volume === undefined
        ? `claim ${claim.metadata.name} has no volume yet: it is made with the first pod that uses it`
        : 'the placeholder has no location';
    const copied = await copy(id, replica, claim, volume, place, why, asked, isMoving);
    const times = [result.requeueAfterMs, copied.requeueAfterMs].filter((ms) => ms !== undefined);
    return times.length === 0 ? {} : { requeueAfterMs: Math.min(...times) };
  };

  const all = (): void => home.ids().forEach((id) => queue.add(id));
  places.onLoss(all);
  links.onLink((link) => {
    link.onStateChange(all);
    link.follow(STORE).onChange(all);
    link.follow(VOLUME_STATUS).onChange((id) => (id === undefined ? all() : queue.add(id)));
    link.follow(TWINS).onChange(all);
  });

  const ORPHANS = 'orphans';

  void runController(
    {
      name: 'storage.replica',
      queue,
      sources: [
        watchSource(home.claims, ({ object }) => [
          ...(isOurs(object) ? [idOfClaim(object)] : []),
          ...(replicas.of(object).length > 0 ? [ORPHANS] : []),
        ]),
        // Whoever is no peer any more, is paused or cordoned.
        watchSource(home.peers, ({ type, object, old }) =>
          type === 'updated' && equalJson(old.spec, object.spec) ? [] : home.ids(),
        ),
        watchSource(home.volumes, ({ object }) => [idOfVolume(object)]),
        watchSource(replicas.informer, ({ object }) => [...replicas.idsOf(object), ORPHANS]),
        watchSource(pods, ({ object }) => users.volumesOf(object)),
      ],
      reconcile: async (key) => {
        if (key !== ORPHANS) return reconcile(key);
        await replicas.refuseOrphans();
        return undefined;
      },
      log: deps.log,
      clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
