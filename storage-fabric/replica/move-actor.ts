import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import type { ReconcileResult } from '../../runtime/kube/controller.ts';
import { PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD } from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { FIELD_MANAGER } from '../volumes/home-volumes.ts';
import type { VolumePlace } from '../volumes/volume-place.ts';
import type { MoveNote } from './move-note.ts';
import type { MoveAction } from './plan-move.ts';
import type { Transfers, TransferWish } from './transfers.ts';

const LOOK_AGAIN_MS = 3000;
const RETRY_MS = 5000;

/** A transfer without what is the same for all of a claim. */
export type TransferOrder = Omit<TransferWish, 'id' | 'key' | 'namespace' | 'claimName' | 'deadlineSeconds'>;

/** The volume that is moved. */
export interface MovedVolume {
  readonly id: string;
  readonly volume: PersistentVolume;
  readonly claim: PersistentVolumeClaim;
  readonly place: VolumePlace;
}

export interface MoveActorOptions {
  readonly deps: ControllerDeps;
  readonly transfers: Transfers;
  readonly startTransfer: (claim: PersistentVolumeClaim, order: TransferOrder) => Promise<void>;
  /** A text for people. */
  readonly inWords: (text: string) => string;
  /** Pods that use the claim where its volume is. */
  readonly usersOf: (claim: PersistentVolumeClaim, location: string) => readonly Pod[];
}

/** Does the steps of moves. */
export interface MoveActor {
  act(moved: MovedVolume, action: MoveAction): Promise<ReconcileResult>;
  /** Whether the cache doesn't show yet what was written last: nothing must be decided by such a picture. */
  isBehind(id: string, volume: PersistentVolume): boolean;
  /** Whether the wish that the cache still shows on the claim has been answered and dropped. */
  isDropped(claim: PersistentVolumeClaim): boolean;
}

/** Longest that the cache is waited for: somebody else may have written since. */
const BEHIND_MS = 5000;

/** Places as an annotation, without one of them. */
const listed = (places: readonly string[], without?: string): string | null => {
  const left = places.filter((place) => place !== without);
  return left.length === 0 ? null : left.join(',');
};

/** Does one step of a move. What it writes onto the placeholder is a compare-and-swap: a conflict means look again. */
export const createMoveActor = (
  { deps, transfers, startTransfer, inWords, usersOf }: MoveActorOptions,
  signal: AbortSignal,
): MoveActor => {
  const { client, clock } = deps;
  /** Volume → why its failover waits, as was said last. */
  const held = new Map<string, string>();
  /** Volume → its note as written last, and when. */
  const written = new Map<string, { readonly move: string | undefined; readonly at: number }>();

  const patchVolume = async (
    id: string,
    volume: PersistentVolume,
    annotations: Readonly<Record<string, string | null>>,
  ): Promise<void> => {
    const { name, uid, resourceVersion } = volume.metadata;
    // The version makes it a compare-and-swap: only one hand raises an epoch.
    const body = { metadata: { uid, resourceVersion, annotations } };
    await client.patch(PERSISTENT_VOLUME, name, undefined, body, {
      type: 'merge',
      fieldManager: FIELD_MANAGER,
      signal,
    });
    const move = annotations[STORAGE_ANNOTATIONS.move];
    if (move !== undefined) written.set(id, { move: move ?? undefined, at: clock.monotonicMs() });
  };
  /** By UID: the version of the claim whose wish was dropped last. */
  const dropped = new Map<string, string>();
  const dropWish = async (claim: PersistentVolumeClaim): Promise<void> => {
    if (claim.metadata.annotations?.[STORAGE_ANNOTATIONS.moveTo] === undefined) return;
    const { name, namespace, uid = '', resourceVersion } = claim.metadata;
    const body = { metadata: { uid, annotations: { [STORAGE_ANNOTATIONS.moveTo]: null } } };
    await client.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, body, {
      type: 'merge',
      fieldManager: FIELD_MANAGER,
      signal,
    });
    if (resourceVersion !== undefined) dropped.set(uid, resourceVersion);
  };
  const say = (
    claim: PersistentVolumeClaim,
    type: 'Normal' | 'Warning',
    reason: string,
    note: string,
  ): void => deps.events.record(claim, { type, reason, note: inWords(note) });

  const noteAnnotations = (note: MoveNote, epoch: number): Record<string, string> => ({
    [STORAGE_ANNOTATIONS.move]: JSON.stringify(
      note.message === undefined ? note : { ...note, message: inWords(note.message).slice(0, 1024) },
    ),
    [STORAGE_ANNOTATIONS.epoch]: String(epoch),
  });

  const act: MoveActor['act'] = async ({ id, volume, claim, place }, action) => {
    switch (action.do) {
      case 'nothing':
        return {};
      case 'wait':
        return { requeueAfterMs: LOOK_AGAIN_MS };
      case 'hold':
        if (held.get(id) !== action.message)
          say(claim, 'Warning', action.reason, `no failover: ${action.message}`);
        held.set(id, action.message);
        return { requeueAfterMs: LOOK_AGAIN_MS };
      case 'refuse':
        // Whoever waits reads it there: were the wish dropped first, a conflict would leave them without an answer.
        await patchVolume(id, volume, {
          [STORAGE_ANNOTATIONS.lastMove]: JSON.stringify({
            kind: 'planned',
            from: place.location,
            to: (claim.metadata.annotations?.[STORAGE_ANNOTATIONS.moveTo] ?? '').slice(0, 63),
            ok: false,
            endedAt: clock.now().toISOString(),
            message: inWords(action.message),
          }),
        });
        say(claim, 'Warning', action.reason, `not moved: ${action.message}`);
        await dropWish(claim);
        return {};
      case 'drop':
        say(claim, 'Warning', action.reason, `not moved: ${action.message}`);
        await dropWish(claim);
        return {};
      case 'note': {
        transfers.end(id);
        const { forget } = action;
        await patchVolume(id, volume, {
          ...noteAnnotations(action.note, action.epoch),
          [STORAGE_ANNOTATIONS.loss]: null,
          ...(forget === undefined
            ? {}
            : {
                [STORAGE_ANNOTATIONS.retained]: listed(place.retained, forget),
                [STORAGE_ANNOTATIONS.diverged]: listed(place.diverged, forget),
              }),
        });
        if (forget !== undefined && place.diverged.includes(forget))
          say(
            claim,
            'Warning',
            'NothingToSalvage',
            `peer ${forget} has its old copy no more: what it wrote before it was lost can't be kept`,
          );
        const { kind, from, to, stage, failures, message } = action.note;
        say(
          claim,
          failures > 0 ? 'Warning' : 'Normal',
          kind === 'failover' ? 'Failover' : 'Moving',
          failures > 0 ? `${stage} failed: ${message ?? ''}` : `${stage}: from ${from} to ${to}`,
        );
        return failures > 0 ? { requeueAfterMs: RETRY_MS } : {};
      }
      case 'evict':
        for (const { metadata } of usersOf(claim, place.location).filter(
          (pod) => pod.metadata.deletionTimestamp === undefined,
        ))
          await client.delete(POD, metadata.name, metadata.namespace, { uid: metadata.uid, signal });
        return { requeueAfterMs: LOOK_AGAIN_MS };
      case 'salvage':
        await startTransfer(claim, {
          volume: id,
          action: 'backup',
          purpose: 'move',
          runner: action.at,
          target: action.at,
          epoch: place.epoch,
          sequence: action.sequence,
          writerStopped: true,
          // nothing goes on from a tail
          mayBeEmpty: true,
          salvage: true,
        });
        return { requeueAfterMs: LOOK_AGAIN_MS };
      case 'copy':
        await startTransfer(claim, {
          volume: id,
          action: 'backup',
          purpose: 'move',
          runner: place.location,
          target: action.to,
          epoch: place.epoch,
          sequence: action.sequence,
          parentSnapshotID: action.parent,
          writerStopped: true,
          mayBeEmpty: action.mayBeEmpty,
        });
        return { requeueAfterMs: LOOK_AGAIN_MS };
      case 'restore':
        await startTransfer(claim, {
          volume: id,
          action: 'restore',
          purpose: 'move',
          runner: action.to,
          target: action.to,
          epoch: place.epoch,
          sequence: action.point.sequence,
          snapshotID: action.point.snapshotID,
          treeHash: action.point.treeHash,
          writerStopped: false,
        });
        return { requeueAfterMs: LOOK_AGAIN_MS };
      case 'end': {
        transfers.end(id);
        await dropWish(claim);
        await patchVolume(id, volume, {
          [STORAGE_ANNOTATIONS.move]: null,
          [STORAGE_ANNOTATIONS.moveProgress]: null,
          [STORAGE_ANNOTATIONS.location]: action.location,
          [STORAGE_ANNOTATIONS.retained]: listed(action.retained),
          [STORAGE_ANNOTATIONS.diverged]: listed(action.diverged),
          [STORAGE_ANNOTATIONS.lastMove]: JSON.stringify({
            ...action.end,
            message: inWords(action.end.message),
          }),
        });
        const { ok, kind, to, message } = action.end;
        const reason = ok ? (kind === 'failover' ? 'FailedOver' : 'Moved') : 'MoveFailed';
        say(claim, ok ? 'Normal' : 'Warning', reason, ok ? `now at ${to}: ${message}` : message);
        return {};
      }
      default:
        return action satisfies never;
    }
  };
  return {
    act,
    isDropped: ({ metadata: { uid = '', resourceVersion } }) => {
      const at = dropped.get(uid);
      if (at === undefined) return false;
      if (at === resourceVersion) return true;
      dropped.delete(uid);
      return false;
    },
    isBehind: (id, volume) => {
      const last = written.get(id);
      if (last === undefined) return false;
      const isSeen = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] === last.move;
      if (!isSeen && clock.monotonicMs() - last.at < BEHIND_MS) return true;
      written.delete(id);
      return false;
    },
  };
};
