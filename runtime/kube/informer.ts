/** An informer keeps a local copy of one kind's objects, by one list and then watches only. */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { KubeClient } from './client.ts';
import type { ResourceRef } from './resources.ts';
import type { HasMetadata } from './types.ts';

/** Change of the cache. `deleted` carries the last state known; after a relist that may be older than the real final one. */
export type Change<T> =
  | { readonly type: 'added'; readonly object: T; readonly old?: undefined }
  | { readonly type: 'updated'; readonly object: T; readonly old: T }
  | { readonly type: 'deleted'; readonly object: T; readonly old?: undefined };

export interface InformerOptions<T extends HasMetadata> {
  readonly client: KubeClient;
  readonly resource: ResourceRef;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Name of an index → the values under which an object is found. */
  readonly indexers?: Readonly<Record<string, (object: T) => readonly string[]>> | undefined;
  /** Trims an object before it is kept, to save memory. `metadata.managedFields` is always dropped. */
  readonly transform?: ((object: T) => T) | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}

/** InformerCounters count since the start. */
export interface InformerCounters {
  readonly lists: number;
  readonly watches: number;
  readonly events: number;
  readonly bookmarks: number;
  readonly errors: number;
  readonly relists: number;
}

/** Informer's objects are deeply frozen and shared: copy before you change one. */
export interface Informer<T extends HasMetadata> {
  readonly resource: ResourceRef;
  /** Lists and watches until `signal` aborts; call it once. It never throws: failures are retried with back-off. */
  start(signal: AbortSignal): void;
  hasSynced(): boolean;
  /** Resolves after the first complete list; rejects when `signal` aborts before. */
  whenSynced(signal?: AbortSignal): Promise<void>;
  get(namespace: string | undefined, name: string): T | undefined;
  getByKey(key: string): T | undefined;
  list(): readonly T[];
  /** @throws {TypeError} when there is no such index. */
  byIndex(index: string, value: string): readonly T[];
  /** Calls `listener` for each later change, and at once with `added` for each object already there; returns how to stop. */
  onChange(listener: (change: Change<T>) => void): () => void;
  /** Adds indexes that aren't there yet. */
  addIndexers(indexers: Readonly<Record<string, (object: T) => readonly string[]>>): void;
  counters(): InformerCounters;
}

/** createInformer makes an informer; nothing happens before `start`. */
export declare const createInformer: <T extends HasMetadata>(options: InformerOptions<T>) => Informer<T>;
