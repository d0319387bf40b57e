import { createHash } from 'node:crypto';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Collection, Publisher } from '../api/link.ts';
import { BUDGET, createBudgets, mebibytes, type LinkBudget } from './budget.ts';
import { weightOf } from './items.ts';
import { planFollowStart, planFollowStep } from './plan-follow.ts';
import { LIMITS } from './protocol.ts';

/** This side's end of a collection, and the sessions in which a peer follows it. */

interface Published {
  readonly hash: string;
  readonly json: Buffer;
  readonly weight: number;
}

/** What {@link FollowSession.next} gives: one event, in the terms of `peering.proto`. */
export type OutgoingEvent =
  | { readonly set: { readonly id: string; readonly hash: Buffer; readonly json: Buffer } }
  | { readonly delete: string }
  | { readonly complete: true };

/** One follower's view of a publisher. Changes that come faster than they are taken are coalesced per item. */
export interface FollowSession {
  /** The next event, or undefined when the follower has everything; then wait for `onReady`. */
  next(): OutgoingEvent | undefined;
  /** Called when `next` may have something again. One listener. */
  onReady(listener: () => void): void;
  close(): void;
}

/** A publisher that can be followed. */
export interface PublisherEnd<T> extends Publisher<T> {
  /** Begins a session with a follower that has `have` (id → hash, hex). */
  session(have: ReadonlyMap<string, string>): FollowSession;
}

/** JSON with sorted keys, so that equal items have equal hashes whoever built them. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );

/** Hash of an item: 128 bits are enough to tell a publisher's own items apart. */
export const hashOf = (json: Uint8Array): string =>
  createHash('sha256').update(json).digest('hex').slice(0, 32);

interface Session extends FollowSession {
  touch(id: string): void;
  completed(): void;
}

/** Makes an empty, incomplete publisher of the collection. */
export const createPublisher = <T>(
  collection: Collection,
  budget: LinkBudget = createBudgets().link(),
): PublisherEnd<T> => {
  const items = new Map<string, Published>();
  const sessions = new Set<Session>();
  let complete = false;
  let held = 0;

  /** Refuses here what the other side would refuse, so that it is said where the object is. */
  const bounded = (id: string, json: Buffer): number => {
    const where = `${collection.name} ${id.slice(0, 200)}`;
    if (id.length === 0 || id.length > LIMITS.idLength) {
      throw new FluviaError(ERROR_CODES.BAD_INPUT, `${where}: its id is empty or too long`, {
        kind: 'terminal',
      });
    }
    if (json.length > collection.maxItemBytes) {
      throw new FluviaError(
        ERROR_CODES.BAD_INPUT,
        `${where} has ${json.length} bytes, more than the ${collection.maxItemBytes} that cross a peering`,
        { kind: 'stalled', hint: 'make the object smaller' },
      );
    }
    if (!items.has(id) && items.size >= collection.maxItems) {
      throw new FluviaError(
        ERROR_CODES.QUOTA_EXCEEDED,
        `${where}: ${collection.maxItems} items are the most that cross a peering`,
        { kind: 'stalled', hint: 'open fewer namespaces to this peer' },
      );
    }
    const weight = weightOf(id, json);
    const more = weight - (items.get(id)?.weight ?? 0);
    const { name, maxBytes } = collection;
    const isFull = more > 0 && held + more > maxBytes;
    if (isFull || budget.take(more) !== undefined) {
      const limit = isFull
        ? `${mebibytes(maxBytes)} of ${name} are`
        : `${mebibytes(BUDGET.linkBytes)} of everything together are`;
      throw new FluviaError(ERROR_CODES.QUOTA_EXCEEDED, `${where}: ${limit} the most that cross a peering`, {
        kind: 'stalled',
        hint: 'open fewer namespaces to this peer, or make their objects smaller',
      });
    }
    held += more;
    return weight;
  };

  const session = (have: ReadonlyMap<string, string>): FollowSession => {
    const sent = new Map(have);
    const dirty = planFollowStart(items, sent);
    let toldComplete = false;
    let ready: () => void = () => {};
    const self: Session = {
      next: () => {
        for (const id of dirty) {
          dirty.delete(id);
          const item = items.get(id);
          const step = planFollowStep(item?.hash, sent.get(id), complete);
          if (step === 'set' && item !== undefined) {
            sent.set(id, item.hash);
            return { set: { id, hash: Buffer.from(item.hash, 'hex'), json: item.json } };
          }
          if (step === 'delete') {
            sent.delete(id);
            return { delete: id };
          }
        }
        if (!complete || toldComplete) return undefined;
        toldComplete = true;
        return { complete: true };
      },
      onReady: (listener) => (ready = listener),
      close: () => void sessions.delete(self),
      touch: (id) => {
        dirty.add(id);
        ready();
      },
      completed: () => {
        for (const id of sent.keys()) if (!items.has(id)) dirty.add(id);
        ready();
      },
    };
    sessions.add(self);
    return self;
  };

  return {
    set: (id, item) => {
      const json = Buffer.from(canonicalJson(item), 'utf8');
      const hash = hashOf(json);
      if (items.get(id)?.hash === hash) return;
      items.set(id, { hash, json, weight: bounded(id, json) });
      for (const one of sessions) one.touch(id);
    },
    delete: (id) => {
      const weight = items.get(id)?.weight;
      if (weight === undefined) return;
      items.delete(id);
      held -= weight;
      budget.take(-weight);
      for (const one of sessions) one.touch(id);
    },
    ids: () => [...items.keys()],
    markComplete: () => {
      if (complete) return;
      complete = true;
      for (const one of sessions) one.completed();
    },
    session,
  };
};
