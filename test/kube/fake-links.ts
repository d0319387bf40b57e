import type { z } from 'zod';
import type {
  Collection,
  ContainerStreamRequest,
  ContainerStreamResponse,
  Links,
  PeerLink,
  Publisher,
  Subscriber,
} from '../../api/link.ts';

/** What one side published, seen from the other: a map with listeners. */
export interface Box<T> {
  readonly items: Map<string, T>;
  complete: boolean;
  set(id: string, item: T): void;
  delete(id: string): void;
  onChange(listener: (id: string | undefined) => void): () => void;
}

const createBox = <T>(): Box<T> => {
  const listeners = new Set<(id: string | undefined) => void>();
  const items = new Map<string, T>();
  const notify = (id: string | undefined): void => {
    for (const listener of listeners) listener(id);
  };
  return {
    items,
    complete: false,
    set: (id, item) => {
      if (JSON.stringify(items.get(id)) === JSON.stringify(item)) return;
      items.set(id, item);
      notify(id);
    },
    delete: (id) => {
      if (items.delete(id)) notify(id);
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};

/** A peer's side of a link in memory: `sent` is what we published, `tell` what the peer publishes. */
export interface FakePeer {
  readonly link: PeerLink;
  sent<S extends z.ZodType>(collection: Collection<S>): Box<z.infer<S>>;
  tell<S extends z.ZodType>(collection: Collection<S>): Box<z.infer<S>>;
  setUp(up: boolean): void;
  /** A process that has just begun has not heard a peer that is down. */
  setUnheard(): void;
  serve(handler: (request: ContainerStreamRequest) => ContainerStreamResponse): void;
}

/** Makes a peer whose items are checked by the schemas as the real link does. */
export const createFakePeer = (peer: string, clusterID: string, signal: AbortSignal): FakePeer => {
  const boxes = new Map<string, Box<unknown>>();
  const box = (key: string): Box<unknown> => {
    const found = boxes.get(key) ?? createBox<unknown>();
    boxes.set(key, found);
    return found;
  };
  const states = new Set<() => void>();
  let isUp = true;
  let wasHeard = true;
  let handler: ((request: ContainerStreamRequest) => ContainerStreamResponse) | undefined;
  const link: PeerLink = {
    peer,
    clusterID,
    signal,
    isUp: () => isUp,
    silenceMs: () => (isUp ? 0 : wasHeard ? 60_000 : Infinity),
    onStateChange: (listener) => {
      states.add(listener);
      return () => states.delete(listener);
    },
    publish: <S extends z.ZodType>(collection: Collection<S>): Publisher<z.infer<S>> => {
      const mine = box(`sent ${collection.name}`);
      return {
        set: (id, item) => mine.set(id, collection.schema.parse(JSON.parse(JSON.stringify(item)))),
        delete: (id) => mine.delete(id),
        ids: () => [...mine.items.keys()],
        markComplete: () => {
          mine.complete = true;
        },
      };
    },
    follow: <S extends z.ZodType>(collection: Collection<S>): Subscriber<z.infer<S>> => {
      const theirs = box(`told ${collection.name}`) as Box<z.infer<S>>;
      return {
        get: (id) => theirs.items.get(id),
        entries: () => theirs.items,
        isComplete: () => theirs.complete,
        onChange: (listener) => theirs.onChange(listener),
      };
    },
    openContainerStream: async (request) => {
      if (handler === undefined) throw new Error('nobody serves streams');
      return handler(request);
    },
  };
  return {
    link,
    sent: <S extends z.ZodType>(collection: Collection<S>) =>
      box(`sent ${collection.name}`) as Box<z.infer<S>>,
    tell: <S extends z.ZodType>(collection: Collection<S>) =>
      box(`told ${collection.name}`) as Box<z.infer<S>>,
    setUp: (up) => {
      isUp = up;
      wasHeard ||= up;
      for (const listener of states) listener();
    },
    setUnheard: () => {
      wasHeard = false;
    },
    serve: (next) => {
      handler = next;
    },
  };
};

/** The links to these peers. */
export const createFakeLinks = (peers: readonly FakePeer[]): Links => ({
  get: (name) => peers.find((peer) => peer.link.peer === name)?.link,
  list: () => peers.map((peer) => peer.link),
  onLink: (listener) => {
    for (const peer of peers) listener(peer.link);
    return () => {};
  },
  handleContainerStreams: () => {},
});
