import type { Links } from '../../api/link.ts';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import type { VolumePlace } from '../volumes/volume-place.ts';
import { learnPoints } from './learn-points.ts';
import { listedPoints, prunedPoints, withPoint } from './plan-points.ts';
import { attemptAfter, circumstances, type Attempt } from './plan-replica.ts';
import type { ReplicaObjects } from './replica-objects.ts';
import { createStoredPoints } from './stored-points.ts';
import type { Targets } from './targets.ts';
import type { TransferState, Transfers } from './transfers.ts';
import { volumeKey } from './volume-keys.ts';

/** What a mover copied, as a recovery point; undefined before it has. */
export const pointOf = ({ wish, result }: TransferState): RecoveryPoint | undefined =>
  result === undefined
    ? undefined
    : { peer: wish.target, epoch: wish.epoch, sequence: wish.sequence, ...result };

/** What the leader remembers of one volume's movers. */
interface Memory {
  readonly attempts: Map<string, Attempt>;
  /** Movers whose end leaves open what their store holds now. */
  doubts: number;
  /** The volume's key, a secret. */
  key: string | undefined;
}

/** Which copies there are: as movers say when they end, and as stores tell. Written into the VolumeReplica's status. */
export interface CopyBooks {
  /** The volume's key. */
  keyOf(id: string): Promise<string>;
  /** How the last tries went, by peer. */
  attempts(id: string): ReadonlyMap<string, Attempt>;
  /** A mover ended, and nobody knows what its store holds now. */
  doubt(id: string): void;
  /** A mover begins at this store: an answer that is on its way may miss it. */
  begin(id: string, target: string): void;
  /** A finished copy or prune. */
  settle(id: string, state: TransferState, replica: VolumeReplica | undefined): Promise<void>;
  /** Asks the stores where there is cause; not while a mover is under way. */
  learn(
    id: string,
    replica: VolumeReplica,
    place: VolumePlace,
  ): Promise<{ readonly asked: ReadonlySet<string>; readonly isNews: boolean }>;
  /** Nobody wants copies any more. */
  close(id: string): void;
  /** The volume is gone. */
  forget(id: string): void;
}

export interface CopyBooksWorld {
  readonly deps: ControllerDeps;
  readonly links: Links;
  readonly targets: Targets;
  readonly transfers: Transfers;
  readonly replicas: ReplicaObjects;
  /** Gets a volume whose stores answered. */
  readonly onChange: (id: string) => void;
}

/** Opens them; in memory is only what a new leader learns anew. */
export const openCopyBooks = (
  { deps, links, targets, transfers, replicas, onChange }: CopyBooksWorld,
  signal: AbortSignal,
): CopyBooks => {
  const { clock, events, log } = deps;
  const memories = new Map<string, Memory>();
  const stored = createStoredPoints(links, clock, targets.revision, onChange);
  const memoryOf = (id: string): Memory => {
    const known = memories.get(id) ?? { attempts: new Map(), doubts: 0, key: undefined };
    memories.set(id, known);
    return known;
  };
  const keyOf = async (id: string): Promise<string> => {
    const memory = memoryOf(id);
    memory.key ??= await volumeKey(deps, id, signal);
    return memory.key;
  };
  const warn = (replica: VolumeReplica, reason: string, texts: readonly string[]): void => {
    for (const text of texts)
      events.record(replica, { type: 'Warning', reason, note: replicas.names.inWords(text) });
  };

  return {
    keyOf,
    attempts: (id) => memoryOf(id).attempts,
    doubt: (id) => void (memoryOf(id).doubts += 1),
    begin: (id, target) => stored.drop(id, target),
    settle: async (id, state, replica) => {
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
        await replicas.save(replica, {
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
      log.info('mover ended', {
        controller: 'storage.replica',
        volume: id,
        action: wish.action,
        peer: wish.target,
        phase: state.phase,
        bytesSent: state.result?.bytesSent,
        message: state.message,
      });
    },
    learn: async (id, replica, place) => {
      const key = await keyOf(id);
      const { doubts } = memoryOf(id);
      const learned = learnPoints(stored, targets.revision, { id, replica, place, doubts, key });
      const { asked, told, points, gone, forged } = learned;
      if (points !== undefined) {
        log.info('copies read from stores', { controller: 'storage.replica', volume: id, peers: told });
        await replicas.save(replica, { points: [...points] });
      }
      warn(replica, 'CopyGone', gone);
      warn(replica, 'CopyNotOurs', forged);
      for (const peer of told) stored.taken(id, peer);
      return { asked, isNews: points !== undefined };
    },
    close: (id) => stored.drop(id),
    forget: (id) => {
      stored.drop(id);
      memories.delete(id);
    },
  };
};
