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

/** About what an id and its hash take. */
const HASH_WEIGHT = 1000;

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

  /**
   * Takes the memory for an item before it is looked at. One that is refused leaves the last valid version, so no less than that
   * is counted until {@link settle}.
   */
  const makeRoom = (id: string, weight: number): void => {
    const before = weights.get(id) ?? 0;
    const more = Math.max(0, weight - before);
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
    weights.set(id, before + more);
  };

  /** What the item takes now that it has replaced, or joined, what was there; 0: it is gone. */
  const settle = (id: string, weight: number): void => {
    const less = (weights.get(id) ?? 0) - weight;
    if (weight === 0) weights.delete(id);
    else weights.set(id, weight);
    held -= less;
    budget.take(-less);
  };

  const set = (id: string, hash: string, json: Uint8Array): void => {
    if (!hashes.has(id) && hashes.size >= collection.maxItems) {
      throw tooMuch(`the peer publishes more than ${collection.maxItems} ${collection.name}`);
    }
    if (!complete && !told.has(id) && told.size >= mostBeforeComplete(collection.maxItems)) {
      throw tooMuch(`the peer has told ${told.size} ${collection.name} and never that these are all`);
    }
    if (isId(id) && !complete) told.add(id);
    // An item over its own limit is refused unread, and only its hash is kept.
    const weight = json.length > collection.maxItemBytes ? HASH_WEIGHT : weightOf(id, json);
    if (isId(id)) makeRoom(id, weight);
    const problem = problemKey(id);
    try {
      const item = parseItem(collection, id, json);
      hashes.set(id, hash);
      items.set(id, item);
      settle(id, weight);
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
        settle(event.delete, 0);
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
