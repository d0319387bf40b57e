/** A consumer at the other end of a link in memory: what it tells, and what it was told. */
import type { z } from 'zod';
import type { Collection, PeerLink } from '../../api/link.ts';

/** What the consumer publishes. */
export interface Told<T> {
  set(id: string, item: T): void;
  delete(id: string): void;
  /** Says that everything was told. */
  markComplete(): void;
  /** Tells all of these, and that they are all. */
  fill(items: ReadonlyMap<string, T>): void;
}

/** What the provider publishes. */
export interface Heard<T> {
  readonly items: ReadonlyMap<string, T>;
  readonly complete: boolean;
}

export interface FakeConsumer {
  readonly link: PeerLink;
  told<S extends z.ZodType>(collection: Collection<S>): Told<z.infer<S>>;
  heard<S extends z.ZodType>(collection: Collection<S>): Heard<z.infer<S>>;
  setUp(up: boolean): void;
}

interface Box {
  readonly items: Map<string, unknown>;
  readonly listeners: Set<(id: string | undefined) => void>;
  complete: boolean;
}

/** Makes a consumer; what is published to it must pass the collection's schema, as on a real link. */
export const createFakeConsumer = (peer: string, clusterID: string, signal: AbortSignal): FakeConsumer => {
  const boxes = new Map<string, Box>();
  const box = (key: string): Box => {
    const found = boxes.get(key) ?? { items: new Map(), listeners: new Set(), complete: false };
    boxes.set(key, found);
    return found;
  };
  const notify = ({ listeners }: Box, id: string | undefined): void => {
    for (const listener of listeners) listener(id);
  };
  const states = new Set<() => void>();
  let up = true;
  const link: PeerLink = {
    peer,
    clusterID,
    signal,
    isUp: () => up,
    silenceMs: () => (up ? 0 : 60_000),
    onStateChange: (listener) => {
      states.add(listener);
      return () => states.delete(listener);
    },
    publish: (collection) => {
      const sent = box(`heard ${collection.name}`);
      return {
        set: (id, item) => void sent.items.set(id, collection.schema.parse(JSON.parse(JSON.stringify(item)))),
        delete: (id) => void sent.items.delete(id),
        ids: () => [...sent.items.keys()],
        markComplete: () => {
          sent.complete = true;
        },
      };
    },
    follow: <S extends z.ZodType>(collection: Collection<S>) => {
      const told = box(`told ${collection.name}`);
      return {
        get: (id: string) => told.items.get(id) as z.infer<S> | undefined,
        entries: () => told.items as ReadonlyMap<string, z.infer<S>>,
        isComplete: () => told.complete,
        onChange: (listener: (id: string | undefined) => void) => {
          told.listeners.add(listener);
          return () => told.listeners.delete(listener);
        },
      };
    },
    openContainerStream: () => Promise.reject(new Error('a consumer serves no streams')),
  };
  return {
    link,
    told: <S extends z.ZodType>(collection: Collection<S>): Told<z.infer<S>> => {
      const told = box(`told ${collection.name}`);
      const set = (id: string, item: z.infer<S>): void => {
        told.items.set(id, collection.schema.parse(item));
        notify(told, id);
      };
      const markComplete = (): void => {
        told.complete = true;
        notify(told, undefined);
      };
      return {
        set,
        delete: (id) => {
          if (told.items.delete(id)) notify(told, id);
        },
        markComplete,
        fill: (items) => {
          for (const [id, item] of items) set(id, item);
          markComplete();
        },
      };
    },
    heard: <S extends z.ZodType>(collection: Collection<S>) =>
      box(`heard ${collection.name}`) as Heard<z.infer<S>>,
    setUp: (next) => {
      up = next;
      for (const listener of states) listener();
    },
  };
};
