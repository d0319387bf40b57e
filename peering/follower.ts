import type { z } from 'zod';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Collection, Subscriber } from '../api/link.ts';
import type { FollowEvent } from '../proto/peering.ts';
import { parseItem } from './items.ts';

/** What a peer publishes in one collection, as last heard. */
export interface FollowerEnd<T> extends Subscriber<T> {
  /** What this side has (id → hash, hex), to resume from. */
  have(): ReadonlyMap<string, string>;
  /**
   * Takes one event.
   * @throws {FluviaError} QUOTA_EXCEEDED when the peer publishes more than the collection holds: end the session.
   */
  apply(event: FollowEvent): void;
  /** Why items are refused, id → message; bounded. */
  problems(): ReadonlyMap<string, string>;
}

const MOST_PROBLEMS = 20;

/** Makes an empty follower of the collection. `onError` hears of listeners that threw. */
export const createFollower = <S extends z.ZodType>(
  collection: Collection<S>,
  onError: (error: unknown) => void,
): FollowerEnd<z.infer<S>> => {
  const items = new Map<string, z.infer<S>>();
  /** Also holds refused items' hashes, so that they aren't sent again at each resume. */
  const hashes = new Map<string, string>();
  const problems = new Map<string, string>();
  const listeners = new Set<(id: string | undefined) => void>();
  let complete = false;

  const tell = (id: string | undefined): void => {
    for (const listener of listeners) {
      try {
        listener(id);
      } catch (error) {
        onError(error);
      }
    }
  };

  const set = (id: string, hash: string, json: Uint8Array): void => {
    if (!hashes.has(id) && hashes.size >= collection.maxItems) {
      throw new FluviaError(
        ERROR_CODES.QUOTA_EXCEEDED,
        `the peer publishes more than ${collection.maxItems} ${collection.name}`,
        { kind: 'stalled', hint: 'the other cluster must open less to this one' },
      );
    }
    try {
      const item = parseItem(collection, id, json);
      hashes.set(id, hash);
      items.set(id, item);
      problems.delete(id);
    } catch (error) {
      // The last valid version stays: taking a pod away because its update is malformed would be worse.
      if (id.length > 0 && id.length <= 700) hashes.set(id, hash);
      if (problems.size < MOST_PROBLEMS || problems.has(id)) problems.set(id, (error as Error).message);
      return;
    }
    tell(id);
  };

  return {
    get: (id) => items.get(id),
    entries: () => items,
    isComplete: () => complete,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    have: () => hashes,
    problems: () => problems,
    apply: (event) => {
      if (event.set !== undefined) {
        set(event.set.id, Buffer.from(event.set.hash).toString('hex').slice(0, 128), event.set.json);
      } else if (event.delete !== undefined) {
        hashes.delete(event.delete);
        problems.delete(event.delete);
        if (items.delete(event.delete)) tell(event.delete);
      } else if (event.complete === true && !complete) {
        complete = true;
        tell(undefined);
      }
    },
  };
};
