/**
 * This cluster as a place for volumes like any peer: a link to itself, in memory. What home publishes on it is what it
 * follows on it, so that the controllers that keep and move peers' volumes do the same for home's own.
 */
import type { z } from 'zod';
import type { Collection, Links, PeerLink, Publisher, Subscriber } from '../api/link.ts';
import { HOME_PLACE } from '../api/places.ts';

type Listener = (id: string | undefined) => void;

interface Box {
  readonly items: Map<string, unknown>;
  readonly listeners: Set<Listener>;
  isComplete: boolean;
}

/** Makes the link; its `peer` is {@link HOME_PLACE}. It is always up, and has no containers. */
export const createHomeLink = (clusterID: string, signal: AbortSignal): PeerLink => {
  const boxes = new Map<string, Box>();
  const boxOf = ({ name }: Collection): Box => {
    const box = boxes.get(name) ?? { items: new Map(), listeners: new Set(), isComplete: false };
    boxes.set(name, box);
    return box;
  };
  // Later, as over the wire: whoever publishes is not called back in the middle of it.
  const tell = (box: Box, id: string | undefined): void =>
    queueMicrotask(() => {
      for (const listener of box.listeners) listener(id);
    });
  return {
    peer: HOME_PLACE,
    clusterID,
    signal,
    isUp: () => true,
    silenceMs: () => 0,
    onStateChange: () => () => {},
    publish: <S extends z.ZodType>(collection: Collection<S>): Publisher<z.infer<S>> => {
      const box = boxOf(collection);
      return {
        set: (id, item) => {
          if (JSON.stringify(box.items.get(id)) === JSON.stringify(item)) return;
          box.items.set(id, item);
          tell(box, id);
        },
        delete: (id) => {
          if (box.items.delete(id)) tell(box, id);
        },
        ids: () => [...box.items.keys()],
        markComplete: () => {
          if (box.isComplete) return;
          box.isComplete = true;
          tell(box, undefined);
        },
      };
    },
    follow: <S extends z.ZodType>(collection: Collection<S>): Subscriber<z.infer<S>> => {
      const box = boxOf(collection);
      const items = box.items as Map<string, z.infer<S>>;
      return {
        get: (id) => items.get(id),
        entries: () => items,
        isComplete: () => box.isComplete,
        onChange: (listener) => {
          box.listeners.add(listener);
          return () => box.listeners.delete(listener);
        },
      };
    },
    openContainerStream: () => Promise.reject(new Error('home has no containers of its own to stream')),
  };
};

/** The peerings, and this cluster as one more. */
export const withHome = (links: Links, home: PeerLink): Links => ({
  get: (peer) => (peer === HOME_PLACE ? home : links.get(peer)),
  list: () => [...links.list(), home],
  onLink: (listener) => {
    listener(home);
    return links.onLink(listener);
  },
  handleContainerStreams: (handler) => links.handleContainerStreams(handler),
});
