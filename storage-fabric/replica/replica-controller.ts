import { setCondition, type ConditionInput } from '../../api/conditions.ts';
import { TWINS } from '../../api/collections.ts';
import type { Links } from '../../api/link.ts';
import { STORE } from '../../api/storage-collections.ts';
import { STORAGE_ANNOTATIONS, volumeNodeLabel } from '../../api/storage-names.ts';
import {
  VolumeReplicaKind,
  type RecoveryPoint,
  type VolumeReplica,
} from '../../api/v1alpha1/volume-replica.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { fluviaResource, PERSISTENT_VOLUME, POD } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { FIELD_MANAGER, idOfClaim, idOfVolume, isOurs, type HomeVolumes } from '../volumes/home-volumes.ts';
import { recordOf } from '../volumes/plan-source.ts';
import { isSettled } from '../volumes/plan-swap.ts';
import { placeOf, type VolumePlace } from '../volumes/plan-volume.ts';
import { learnPoints, NOTHING_LEARNED, type Learned } from './learn-points.ts';
import { createMoveActor } from './move-actor.ts';
import { moveEndOf, moveNoteOf, type MoveEnd, type MoveNote, type MoveProgress } from './move-note.ts';
import { createPlaceNames } from './place-names.ts';
import { lossText, planMove, type MoveWorld } from './plan-move.ts';
import { listedPoints, prunedPoints, salvageSince, withPoint } from './plan-points.ts';
import { attemptAfter, circumstances, planReplica, type Attempt } from './plan-replica.ts';
import { createStoredPoints } from './stored-points.ts';
import { openTargets } from './targets.ts';
import { createSequences } from './sequences.ts';
import { createTransfers, type TransferState, type TransferWish } from './transfers.ts';
import { volumeKey } from './volume-keys.ts';
import { openVolumeUsers } from './volume-users.ts';

const REPLICA = fluviaResource(VolumeReplicaKind.kind, VolumeReplicaKind.plural, true);
const BY_CLAIM = 'storage/claim';
const LOOK_AGAIN_MS = 3000;
/** While home's PersistentVolume is made anew. */
const SWAP_MS = 500;
const DEADLINE_SECONDS = 6 * 3600;

/** What the leader remembers of one volume's movers. */
interface Memory {
  readonly attempts: Map<string, Attempt>;
  /** Movers whose end leaves open what their store holds now. */
  doubts: number;
}

/** Whether a mover is the one that this step of the move wants, and not a copy or a leftover of an earlier step. */
const isOfStage = ({ wish }: TransferState, note: MoveNote | undefined, place: VolumePlace): boolean =>
  note !== undefined &&
  wish.purpose === 'move' &&
  wish.action === (note.stage === 'restore' ? 'restore' : 'backup') &&
  wish.epoch === place.epoch &&
  wish.target === note.to;

/** How old what runs now was when it came: an event about it is soon forgotten. */
const movedCondition = ({ kind, from, to, message }: MoveEnd): ConditionInput => ({
  type: 'Moved',
  status: 'True',
  reason: kind === 'failover' ? 'FailedOver' : 'Planned',
  message: `from ${from} to ${to}: ${message}`,
});

/** Copies volumes by their VolumeReplicas and moves them. Keyed by volume ID; stops when `signal` aborts. */
export const startReplicas = (
  deps: ControllerDeps,
  links: Links,
  home: HomeVolumes,
  signal: AbortSignal,
): void => {
  const { client, clock } = deps;
  const queue = createWorkQueue({ clock });
  const replicas = deps.informers.for<VolumeReplica>(REPLICA);
  const pods = deps.informers.for<Pod>(POD);
  const memories = new Map<string, Memory>();
  const names = createPlaceNames(deps.clusterName, (name) => home.peers.get(undefined, name) !== undefined);
  const transfers = createTransfers(links, clock, (volume) => queue.add(volume));

  replicas.addIndexers({
    [BY_CLAIM]: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.claimName}`],
  });
  const targets = openTargets(home, links);
  const users = openVolumeUsers(pods, home);

  const stored = createStoredPoints(links, clock, targets.revision, (volume) => queue.add(volume));
  const numbers = createSequences(client, home, signal);

  const claimKey = ({ metadata }: PersistentVolumeClaim): string =>
    `${metadata.namespace ?? ''}/${metadata.name}`;
  const memoryOf = (id: string): Memory => {
    const known = memories.get(id) ?? { attempts: new Map(), doubts: 0 };
    memories.set(id, known);
    return known;
  };
  const replicasOf = (claim: PersistentVolumeClaim): readonly VolumeReplica[] =>
    replicas
      .byIndex(BY_CLAIM, claimKey(claim))
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      // The oldest counts: it has the recovery points.
      .toSorted(
        (a, b) =>
          (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
          (a.metadata.name < b.metadata.name ? -1 : 1),
      )
      .map((replica) => names.inPlaces(replica));

  const isOffered = (id: string): boolean =>
    home.nodes
      .list()
      .some(
        ({ metadata }) =>
          metadata.deletionTimestamp === undefined && metadata.labels?.[volumeNodeLabel(id)] !== undefined,
      );

  const saveStatus = async (
    replica: VolumeReplica,
    change: Partial<NonNullable<VolumeReplica['status']>>,
  ): Promise<void> => {
    const status = names.inNames({ ...replica.status, ...change });
    if (equalJson(names.inNames(replica.status ?? {}), status)) return;
    // With the version that was read: a point that was just written must not be lost to an older picture.
    const { name, namespace, uid, resourceVersion } = replica.metadata;
    const manifest = { metadata: { name, namespace, uid, resourceVersion }, status };
    await client
      .apply(REPLICA, manifest, { fieldManager: FIELD_MANAGER, subresource: 'status', force: true, signal })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  };

  const pointOf = ({ wish, result }: TransferState): RecoveryPoint | undefined =>
    result === undefined
      ? undefined
      : { peer: wish.target, epoch: wish.epoch, sequence: wish.sequence, ...result };

  const startTransfer = async (
    claim: PersistentVolumeClaim,
    wish: Omit<TransferWish, 'id' | 'key' | 'namespace' | 'claimName' | 'deadlineSeconds'>,
  ): Promise<void> => {
    if (wish.action !== 'restore') await numbers.use(wish.volume, wish.sequence);
    stored.drop(wish.volume, wish.target);
    const key = await volumeKey(deps, wish.volume, signal);
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

  /** Takes a finished copy into the books. */
  const settle = async (
    id: string,
    state: TransferState,
    replica: VolumeReplica | undefined,
  ): Promise<void> => {
    const { wish } = state;
    const memory = memoryOf(id);
    const failed = state.phase === 'failed';
    const before = memory.attempts.get(wish.target);
    const target = targets.of(wish.namespace).get(wish.target);
    const attempt = attemptAfter(clock.now().getTime(), wish.action, before, {
      failed,
      cutAt: state.result?.cutAt,
      message: `${wish.action} to ${wish.target}: ${state.message ?? ''}`.slice(0, 900),
      with: replica === undefined ? '' : circumstances(replica, wish, target),
    });
    if (replica !== undefined) {
      const points = replica.status?.points ?? [];
      const { keep } = replica.spec;
      const isPruned = wish.action === 'maintain' && !failed;
      await saveStatus(replica, {
        lastAttemptAt: clock.now().toISOString(),
        lastError: failed ? attempt?.message : undefined,
        points: [
          ...(isPruned
            ? prunedPoints(points, wish.target, wish.keep ?? keep, wish.salvageSince)
            : withPoint(points, wish.action === 'backup' ? pointOf(state) : undefined, listedPoints(keep))),
        ],
      });
    }
    // once it is written: this is not done again
    if (attempt === undefined) memory.attempts.delete(wish.target);
    else memory.attempts.set(wish.target, attempt);
    if (failed || wish.action === 'maintain') memory.doubts += 1;
    transfers.end(id);
    deps.log.info('mover ended', {
      controller: 'storage.replica',
      volume: id,
      action: wish.action,
      peer: wish.target,
      phase: state.phase,
      bytesSent: state.result?.bytesSent,
      message: state.message,
    });
  };

  const takeLearned = async (
    id: string,
    replica: VolumeReplica,
    { points, told, gone }: Learned = NOTHING_LEARNED,
  ): Promise<void> => {
    if (points !== undefined) {
      deps.log.info('copies read from stores', { controller: 'storage.replica', volume: id, peers: told });
      await saveStatus(replica, { points: [...points] });
    }
    for (const note of gone.map((text) => names.inWords(text)))
      deps.events.record(replica, { type: 'Warning', reason: 'CopyGone', note });
    for (const peer of told) stored.taken(id, peer);
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
  const showProgress = (volume: PersistentVolume, progress: MoveProgress): Promise<void> =>
    show(volume, STORAGE_ANNOTATIONS.moveProgress, JSON.stringify(progress));

  const transferFor = (
    state: TransferState | undefined,
    point: RecoveryPoint | undefined,
  ): MoveWorld['transfer'] => {
    if (state === undefined) return undefined;
    if (state.phase === 'failed') return { state: 'failed', message: state.message ?? 'the mover failed' };
    return state.phase === 'succeeded' ? { state: 'done', point } : { state: 'running' };
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
    const state = transfers.get(id);
    const isForeign = state !== undefined && !isOfStage(state, note, place);
    // A move goes before the copies; one that is under way ends first.
    if (note !== undefined && (isForeign || state?.phase === 'failed')) memoryOf(id).doubts += 1;
    if (note !== undefined && isForeign) transfers.end(id);
    const point = state === undefined ? undefined : pointOf(state);
    const isCopying = !isForeign && (note?.stage === 'copy' || note?.stage === 'salvage');
    if (isCopying && state?.phase === 'succeeded' && point !== undefined && replica !== undefined) {
      const listed = note.stage === 'salvage' ? { ...point, salvage: true } : point;
      const points = withPoint(replica.status?.points ?? [], listed, listedPoints(replica.spec.keep));
      await saveStatus(replica, { points: [...points], lastAttemptAt: clock.now().toISOString() });
    }
    const asked = claim.metadata.annotations?.[STORAGE_ANNOTATIONS.moveTo];
    const world: MoveWorld = {
      now: clock.now().getTime(),
      note,
      place,
      wanted: asked === undefined ? undefined : names.placeOf(asked),
      users: users.at(claim, place.location).length,
      isOffered: isOffered(id),
      bareUser: users.bareAt(claim, place.location),
      waiting: users.waiting(claim),
      points: replica?.status?.points ?? [],
      allowBestEffort: replica?.spec.allowBestEffort ?? false,
      maxAgeSeconds: replica?.spec.maxAgeSeconds,
      targets: targets.of(claim.metadata.namespace ?? ''),
      isSourceLost: targets.isLost(place.location),
      sourceHeardAt: clock.now().getTime() - (links.get(place.location)?.silenceMs() ?? 0),
      transfer: note === undefined || isForeign ? undefined : transferFor(state, point),
      isBusy: (note !== undefined && isForeign) || transfers.isEnding(id),
      isAsking,
      lastSequence: numbers.last(id),
    };
    const action = planMove(world);
    // A step that writes the placeholder itself says it with that write.
    if (note === undefined && action.do !== 'note' && action.do !== 'refuse')
      await show(volume, STORAGE_ANNOTATIONS.loss, lossText(world, action));
    if (note !== undefined && state?.phase === 'running' && state.bytesTotal !== undefined)
      await showProgress(volume, { stage: note.stage, done: state.bytesDone ?? 0, total: state.bytesTotal });
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
  ): Promise<ReconcileResult> => {
    const memory = memoryOf(id);
    const plan = planReplica({
      now: clock.now().getTime(),
      replica,
      place,
      why,
      targets: targets.of(claim.metadata.namespace ?? ''),
      isSourceUp: place !== undefined && links.get(place.location)?.isUp() === true,
      isBusy: transfers.get(id) !== undefined || transfers.isEnding(id),
      asked,
      attempts: memory.attempts,
      lastSequence: numbers.last(id),
    });
    const now = clock.now().toISOString();
    const end = volume === undefined ? undefined : moveEndOf(volume);
    await saveStatus(replica, {
      volume: id,
      ...(place === undefined ? {} : { epoch: place.epoch, location: place.location }),
      conditions: [plan.condition, ...(end?.ok === true ? [movedCondition(end)] : [])].reduce(
        (list, condition) => setCondition(list, condition, now),
        replica.status?.conditions ?? [],
      ),
    });
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
    (!isSettled(volume) && volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] === undefined);

  const reconcile = async (id: string): Promise<ReconcileResult> => {
    const claim = home.claimOf(id);
    const volume = home.volumeOf(id);
    if (claim === undefined) {
      transfers.end(id);
      stored.drop(id);
      numbers.forget(id);
      memories.delete(id);
      return {};
    }
    // Home's PersistentVolume is being made anew with another source: nothing is decided, nothing written meanwhile.
    if (volume === undefined && (claim.spec.volumeName ?? '') !== '') return { requeueAfterMs: SWAP_MS };
    if (volume !== undefined && isChanging(id, volume)) return { requeueAfterMs: SWAP_MS };
    const [replica, ...others] = replicasOf(claim);
    for (const other of others) {
      const message = `VolumeReplica ${replica?.metadata.name ?? ''} copies claim ${claim.metadata.name} already: name all peers in that one, and delete this`;
      const wanted = { type: 'Ready', status: 'False', reason: 'Duplicate', message } as const;
      await saveStatus(other, {
        conditions: setCondition(other.status?.conditions ?? [], wanted, clock.now().toISOString()),
      });
    }
    const place = volume === undefined ? undefined : placeOf(volume);
    const state = transfers.get(id);
    if (state?.wish.purpose === 'replica') {
      const isStale = place === undefined || place.epoch !== state.wish.epoch || replica === undefined;
      if (isStale) {
        transfers.end(id);
        memoryOf(id).doubts += 1;
      } else if (state.phase === 'succeeded' || state.phase === 'failed') {
        await settle(id, state, replica);
        // with what was just written
        return { requeueAfterMs: 300 };
      }
    }
    let asked: ReadonlySet<string> = new Set();
    if (replica === undefined) stored.drop(id);
    else if (place !== undefined) {
      const isBusy = transfers.get(id) !== undefined || transfers.isEnding(id);
      const learned = isBusy
        ? undefined
        : learnPoints(stored, targets.revision, { id, replica, place, doubts: memoryOf(id).doubts });
      await takeLearned(id, replica, learned);
      // with what was just written
      if (learned?.points !== undefined) return { requeueAfterMs: 300 };
      if (learned !== undefined) ({ asked } = learned);
    }
    let result: ReconcileResult = {};
    if (volume !== undefined && place !== undefined) {
      try {
        const moved = await move(id, claim, volume, place, replica, asked.size > 0);
        if (moved.isMoving) return moved;
        result = moved;
      } catch (error) {
        if (!isConflict(error)) throw error;
        return { requeueAfterMs: 200 };
      }
    }
    if (replica === undefined) return result;
    const why =
      volume === undefined
        ? `claim ${claim.metadata.name} has no volume yet: it is made with the first pod that uses it`
        : 'the placeholder has no location';
    const copied = await copy(id, replica, claim, volume, place, why, asked);
    const times = [result.requeueAfterMs, copied.requeueAfterMs].filter((ms) => ms !== undefined);
    return times.length === 0 ? {} : { requeueAfterMs: Math.min(...times) };
  };

  const idOfReplica = ({ metadata, spec }: VolumeReplica): readonly string[] => {
    const claim = home.claims.get(metadata.namespace, spec.claimName);
    return claim !== undefined && isOurs(claim) ? [idOfClaim(claim)] : [];
  };

  links.onLink((link) => {
    const all = (): void => home.ids().forEach((id) => queue.add(id));
    link.onStateChange(all);
    link.follow(STORE).onChange(all);
    link.follow(TWINS).onChange(all);
  });

  /** A VolumeReplica whose claim isn't there says so. */
  const judgeOrphans = async (): Promise<void> => {
    for (const replica of replicas.list().filter((one) => idOfReplica(one).length === 0)) {
      const claim = home.claims.get(replica.metadata.namespace, replica.spec.claimName);
      const message =
        claim === undefined
          ? `there is no PersistentVolumeClaim ${replica.spec.claimName} in namespace ${replica.metadata.namespace ?? ''}: kubectl get pvc`
          : `claim ${replica.spec.claimName} is of class ${claim.spec.storageClassName ?? '(none)'}: only volumes of class fluvia can be copied`;
      const wanted = { type: 'Ready', status: 'False', reason: 'NoVolume', message } as const;
      await saveStatus(replica, {
        conditions: setCondition(replica.status?.conditions ?? [], wanted, clock.now().toISOString()),
      });
    }
  };
  const ORPHANS = 'orphans';

  void runController(
    {
      name: 'storage.replica',
      queue,
      sources: [
        watchSource(home.claims, ({ object }) => [
          ...(isOurs(object) ? [idOfClaim(object)] : []),
          ...(replicas.byIndex(BY_CLAIM, claimKey(object)).length > 0 ? [ORPHANS] : []),
        ]),
        // Whoever is no peer any more, is paused or cordoned.
        watchSource(home.peers, ({ type, object, old }) =>
          type === 'updated' && equalJson(old.spec, object.spec) ? [] : home.ids(),
        ),
        watchSource(home.volumes, ({ object }) => [idOfVolume(object)]),
        watchSource(replicas, ({ object }) => [...idOfReplica(object), ORPHANS]),
        watchSource(pods, ({ object }) =>
          (object.spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) => {
            const name = persistentVolumeClaim?.claimName;
            const claim = name === undefined ? undefined : home.claims.get(object.metadata.namespace, name);
            return claim !== undefined && isOurs(claim) ? [idOfClaim(claim)] : [];
          }),
        ),
      ],
      reconcile: async (key) => {
        if (key !== ORPHANS) return reconcile(key);
        await judgeOrphans();
        return undefined;
      },
      log: deps.log,
      clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
