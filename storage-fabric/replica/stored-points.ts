import type { Links } from '../../api/link.ts';
import { RECORD_REQUESTS, RECORDS, STORE } from '../../api/storage-collections.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { StoredPoint } from './plan-points.ts';

/** What is known of the copies that a peer's store holds. */
export type StoredState =
  /** The answer is on its way. */
  | { readonly is: 'asked' }
  /** To be taken into the books, then {@link StoredPoints.taken}. */
  | { readonly is: 'told'; readonly points: readonly StoredPoint[] }
  | { readonly is: 'taken' }
  /** Nobody can be asked now, or it was refused, or no answer comes: what home has listed must do. */
  | { readonly is: 'unknown' };

/**
 * Asks stores which copies of a volume they hold: a mover's end may have been missed, a VolumeReplica made anew, a store
 * set back. In memory only: a new leader asks once.
 */
export interface StoredPoints {
  /** `cause`: with another one it is asked anew. Not to be called while a mover of the volume is under way. */
  look(volume: string, peer: string, epoch: number, cause: string): StoredState;
  /** What was told is in the books. */
  taken(volume: string, peer: string): void;
  /** An answer that is on its way may miss what begins now: it is asked again later. With no peer: all of the volume. */
  drop(volume: string, peer?: string): void;
}

/** A leader over there that has just begun, or a store with many records, takes its time. */
const PATIENCE_MS = 15_000;

interface Question {
  readonly cause: string;
  readonly attempt: number;
  /** Monotonic. */
  readonly since: number;
  isTaken: boolean;
}

/** `onChange` gets the volume when an answer came; `revision` as in `Targets`. */
export const createStoredPoints = (
  links: Links,
  clock: Clock,
  revision: (peer: string) => number,
  onChange: (volume: string) => void,
): StoredPoints => {
  /** Volume → peer → what was asked last. */
  const questions = new Map<string, Map<string, Question>>();
  /** Peers that let a question wait, with their revision: nothing waits for those. */
  const silent = new Map<string, number>();
  let last = 0;

  links.onLink((link) => {
    link.follow(RECORDS).onChange((id) => {
      for (const volume of id === undefined ? questions.keys() : [id]) onChange(volume);
    });
    link.publish(RECORD_REQUESTS).markComplete();
  });

  const withdraw = (volume: string, peer: string): void =>
    links.get(peer)?.publish(RECORD_REQUESTS).delete(volume);

  const ask = (volume: string, peer: string, epoch: number, cause: string): Question => {
    // above those of the leader before, whose answers may still stand
    last = Math.max(last + 1, clock.now().getTime());
    const question: Question = { cause, attempt: last, since: clock.monotonicMs(), isTaken: false };
    links.get(peer)?.publish(RECORD_REQUESTS).set(volume, { epoch, attempt: last });
    const ofVolume = questions.get(volume) ?? new Map<string, Question>();
    questions.set(volume, ofVolume.set(peer, question));
    return question;
  };

  return {
    look: (volume, peer, epoch, cause) => {
      const link = links.get(peer);
      const isThere = link?.isUp() === true && link.follow(STORE).get('store')?.ready === true;
      if (!isThere) return { is: 'unknown' };
      const known = questions.get(volume)?.get(peer);
      const question = known?.cause === cause ? known : ask(volume, peer, epoch, cause);
      if (question.isTaken) return { is: 'taken' };
      const told = link.follow(RECORDS).get(volume);
      const isAnswer = told?.attempt === question.attempt;
      if (isAnswer) silent.delete(peer);
      if (isAnswer && told.records !== undefined) return { is: 'told', points: told.records };
      // it stays asked: the store may come round
      if (isAnswer || silent.get(peer) === revision(peer)) return { is: 'unknown' };
      if (clock.monotonicMs() - question.since < PATIENCE_MS) return { is: 'asked' };
      silent.set(peer, revision(peer));
      return { is: 'unknown' };
    },
    taken: (volume, peer) => {
      const question = questions.get(volume)?.get(peer);
      if (question !== undefined) question.isTaken = true;
      withdraw(volume, peer);
    },
    drop: (volume, peer) => {
      const ofVolume = questions.get(volume);
      for (const [name, { isTaken }] of ofVolume ?? []) {
        if (peer !== undefined && (name !== peer || isTaken)) continue;
        withdraw(volume, name);
        ofVolume?.delete(name);
      }
      if (ofVolume?.size === 0) questions.delete(volume);
    },
  };
};
