import type { z } from 'zod';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Collection, Subscriber } from '../api/link.ts';
import type { FollowEvent } from '../proto/peering.ts';
import { BUDGET, createBudgets, mebibytes, type LinkBudget } from './budget.ts';
import { parseItem, weightOf } from './items.ts';
import { LIMITS } from './protocol.ts';

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

/** Most ids that are taken before `complete`. A tenth more than items, so that a publisher in motion isn't cut off. */
const mostBeforeComplete = (maxItems: number): number => maxItems + Math.max(100, Math.ceil(maxItems / 10));

/** A hash of a peer as it is kept. It is cut before it is text: a part of a text keeps all of it in memory. */
export const hashText = (hash: Uint8Array): string =>
  Buffer.from(hash.subarray(0, LIMITS.hashBytes)).toString('hex');

const isId = (id: string): boolean => id.length > 0 && id.length <= LIMITS.idLength;
const problemKey = (id: string): string => (isId(id) ? id : `an id of ${id.length} characters`);

const tooMuch = (what: string): FluviaError =>
  new FluviaError(ERROR_CODES.QUOTA_EXCEEDED, what, {
    kind: 'stalled',
    hint: 'the other cluster must open less to this one',
  });

/** Makes an empty follower of the collection. `onError` hears of listeners that threw. */
export const createFollower = <S extends z.ZodType>(
  collection: Collection<S>,
  onError: (error: unknown) => void,
  budget: LinkBudget = createBudgets().link(),
): FollowerEnd<z.infer<S>> => {
  const items = new Map<string, z.infer<S>>();
  /** Also holds refused items' hashes, so that they aren't sent again at each resume. */
  const hashes = new Map<string, string>();
  const problems = new Map<string, string>();
  /** Id → what it takes. */
  const weights = new Map<string, number>();
  let held = 0;
  /**
   * Ids told before `complete`. Until then nobody takes an object away for a deletion, so what was deleted goes on counting:
   * else a peer that never says `complete` would have objects made without end.
   */
  const told = new Set<string>();
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

  /** Before the item is looked at: one that is refused then holds what was taken for it until it goes. */
  const makeRoom = (id: string, json: Uint8Array): void => {
    const before = weights.get(id) ?? 0;
    // An item over its own limit is refused unread, and only its hash is kept.
    const weight = json.length > collection.maxItemBytes ? Math.max(before, 1000) : weightOf(id, json);
    const more = weight - before;
    const { name, maxBytes } = collection;
    if (more > 0 && held + more > maxBytes) {
      throw tooMuch(`the peer publishes more than ${mebibytes(maxBytes)} of ${name}`);
    }
    const limit = budget.take(more);
    if (limit === 'link') {
      throw tooMuch(
        `the peer publishes more than ${mebibytes(BUDGET.linkBytes)} in all: no room for its ${name}`,
      );
    }
    if (limit === 'all') {
      throw tooMuch(
        `all peers together publish more than this cluster’s controller holds: no room for the ${name} of this one`,
      );
    }
    held += more;
    weights.set(id, weight);
  };

  const giveBack = (id: string): void => {
    const weight = weights.get(id) ?? 0;
    weights.delete(id);
    held -= weight;
    budget.take(-weight);
  };

  const set = (id: string, hash: string, json: Uint8Array): void => {
    if (!hashes.has(id) && hashes.size >= collection.maxItems) {
      throw tooMuch(`the peer publishes more than ${collection.maxItems} ${collection.name}`);
    }
    if (!complete && !told.has(id) && told.size >= mostBeforeComplete(collection.maxItems)) {
      throw tooMuch(`the peer has told ${told.size} ${collection.name} and never that these are all`);
    }
    if (isId(id) && !complete) told.add(id);
    if (isId(id)) makeRoom(id, json);
    const problem = problemKey(id);
    try {
      const item = parseItem(collection, id, json);
      hashes.set(id, hash);
      items.set(id, item);
      problems.delete(problem);
    } catch (error) {
      // The last valid version stays: taking a pod away because its update is malformed would be worse.
      if (isId(id)) hashes.set(id, hash);
      if (problems.size < MOST_PROBLEMS || problems.has(problem))
        problems.set(problem, (error as Error).message);
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
        set(event.set.id, hashText(event.set.hash), event.set.json);
      } else if (event.delete !== undefined) {
        hashes.delete(event.delete);
        giveBack(event.delete);
        problems.delete(problemKey(event.delete));
        if (items.delete(event.delete)) tell(event.delete);
      } else if (event.complete === true && !complete) {
        complete = true;
        told.clear();
        tell(undefined);
      }
    },
  };
};
