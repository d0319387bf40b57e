/** The store behind an informer: frozen objects by key, indexes, and what changed told to listeners. */
import type { Logger } from '../log.ts';
import { keyOf, type HasMetadata } from './types.ts';

/** Change of the cache. `deleted` carries the last state known; after a relist that may be older than the real final one. */
export type Change<T> =
  | { readonly type: 'added'; readonly object: T; readonly old?: undefined }
  | { readonly type: 'updated'; readonly object: T; readonly old: T }
  | { readonly type: 'deleted'; readonly object: T; readonly old?: undefined };

/** Indexers: name of an index → the values under which an object is found. */
export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>;

export interface Cache<T extends HasMetadata> {
  readonly size: number;
  get(key: string): T | undefined;
  list(): readonly T[];
  byIndex(index: string, value: string): readonly T[];
  put(object: T): void;
  /** Removes the object; `object` is its final state. */
  remove(object: T): void;
  /** Makes the content equal to `objects`, telling only what differs. */
  replace(objects: readonly T[]): void;
  onChange(listener: (change: Change<T>) => void): () => void;
  addIndexers(indexers: Indexers<T>): void;
}

export interface CacheOptions<T> {
  readonly indexers: Indexers<T>;
  readonly log: Logger;
}

/** Freezes in place, without recursion: objects of peers may be nested deeply. */
export const deepFreeze = <T>(root: T): T => {
  const open: unknown[] = [root];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== 'object' || value === null || Object.isFrozen(value)) continue;
    Object.freeze(value);
    for (const inner of Object.values(value))
      if (typeof inner === 'object' && inner !== null) open.push(inner);
  }
  return root;
};

interface Index<T> {
  readonly valuesOf: (object: T) => readonly string[];
  readonly keys: Map<string, Set<string>>;
}

/** createCache makes an empty cache. */
export const createCache = <T extends HasMetadata>(options: CacheOptions<T>): Cache<T> => {
  const { log } = options;
  const objects = new Map<string, T>();
  const indexes = new Map<string, Index<T>>();
  const listeners = new Set<(change: Change<T>) => void>();

  const tell = (listener: (change: Change<T>) => void, change: Change<T>): void => {
    try {
      listener(change);
    } catch (err) {
      log.error('a listener of the informer failed', { err, key: keyOf(change.object) });
    }
  };
  const indexKey = (index: Index<T>, key: string, object: T): void => {
    for (const value of index.valuesOf(object)) {
      const keys = index.keys.get(value);
      if (keys) keys.add(key);
      else index.keys.set(value, new Set([key]));
    }
  };
  const unindexKey = (index: Index<T>, key: string, object: T): void => {
    for (const value of index.valuesOf(object)) {
      const keys = index.keys.get(value);
      keys?.delete(key);
      if (keys?.size === 0) index.keys.delete(value);
    }
  };
  const store = (key: string, object: T | undefined): T | undefined => {
    const old = objects.get(key);
    for (const index of indexes.values()) {
      if (old) unindexKey(index, key, old);
      if (object) indexKey(index, key, object);
    }
    if (object) objects.set(key, object);
    else objects.delete(key);
    return old;
  };
  const trim = (object: T): T => {
    if ('managedFields' in object.metadata)
      delete (object.metadata as { managedFields?: unknown }).managedFields;
    return deepFreeze(object);
  };
  const put = (object: T): void => {
    const key = keyOf(object);
    const known = objects.get(key);
    if (known && known.metadata.resourceVersion === object.metadata.resourceVersion) return;
    const kept = trim(object);
    const replacesOther = known && known.metadata.uid !== kept.metadata.uid;
    if (replacesOther) remove(known);
    const old = store(key, kept);
    const change: Change<T> = old ? { type: 'updated', object: kept, old } : { type: 'added', object: kept };
    for (const listener of listeners) tell(listener, change);
  };
  const remove = (object: T): void => {
    const old = store(keyOf(object), undefined);
    if (!old) return;
    const change: Change<T> = { type: 'deleted', object: old === object ? old : trim(object) };
    for (const listener of listeners) tell(listener, change);
  };
  const addIndexers = (indexers: Indexers<T>): void => {
    for (const [name, valuesOf] of Object.entries(indexers)) {
      if (indexes.has(name)) continue;
      const index: Index<T> = { valuesOf, keys: new Map() };
      for (const [key, object] of objects) indexKey(index, key, object);
      indexes.set(name, index);
    }
  };
  addIndexers(options.indexers);

  return {
    get size() {
      return objects.size;
    },
    get: (key) => objects.get(key),
    list: () => [...objects.values()],
    byIndex: (name, value) => {
      const index = indexes.get(name);
      if (!index) throw new TypeError(`there is no index ${name}`);
      return [...(index.keys.get(value) ?? [])]
        .map((key) => objects.get(key))
        .filter((object) => object !== undefined);
    },
    put,
    remove,
    replace: (all) => {
      const kept = new Set(all.map(keyOf));
      for (const [key, object] of objects) if (!kept.has(key)) remove(object);
      for (const object of all) put(object);
    },
    onChange: (listener) => {
      // A set entry of its own, so that one function can be registered twice.
      const own = (change: Change<T>): void => listener(change);
      for (const object of objects.values()) tell(own, { type: 'added', object });
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    addIndexers,
  };
};
