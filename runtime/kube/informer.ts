/** An informer keeps a local copy of one kind's objects, by one list and then watches only. */
import { messageOf } from '../../api/errors.ts';
import { systemClock, type Clock } from '../clock.ts';
import { silentLogger, type Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { createCache, type Change } from './cache.ts';
import type { KubeClient, WatchEvent } from './client.ts';
import { unlessAborted } from './deadline.ts';
import { ApiError, errorFromStatus, isGone } from './errors.ts';
import { informerMetrics } from './informer-metrics.ts';
import type { ResourceRef } from './resources.ts';
import { keyFor, type HasMetadata } from './types.ts';

export type { Change } from './cache.ts';

export interface InformerOptions<T extends HasMetadata> {
  readonly client: KubeClient;
  readonly resource: ResourceRef;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Name of an index → the values under which an object is found. */
  readonly indexers?: Readonly<Record<string, (object: T) => readonly string[]>> | undefined;
  /** How long to ask the server to keep a watch open: random between the two, default 300–600 s. */
  readonly watchSeconds?: readonly [shortest: number, longest: number] | undefined;
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

/** Bookmarks come about once a minute, so silence for twice that and a bit means a dead connection. */
const inactivityMs = 150_000;
const firstBackoffMs = 800;
const longestBackoffMs = 30_000;

interface Progress {
  resourceVersion: string | undefined;
  failures: number;
}

/** createInformer makes an informer; nothing happens before `start`. */
export const createInformer = <T extends HasMetadata>(options: InformerOptions<T>): Informer<T> => {
  const { client, resource, namespace, labelSelector, fieldSelector } = options;
  const [shortest, longest] = options.watchSeconds ?? [300, 600];
  const clock = options.clock ?? systemClock;
  const log = (options.log ?? silentLogger).child({
    resource: resource.plural,
    ...(namespace ? { namespace } : {}),
  });
  const metrics = informerMetrics(options.metrics, resource);
  const cache = createCache<T>({ indexers: options.indexers ?? {}, log });
  const counts = { lists: 0, watches: 0, events: 0, bookmarks: 0, errors: 0, relists: 0 };
  const synced = Promise.withResolvers<void>();
  let hasSynced = false;
  let started = false;

  const relist = async (progress: Progress, signal: AbortSignal): Promise<void> => {
    counts.lists += 1;
    if (hasSynced) counts.relists += 1;
    metrics.listed(hasSynced);
    const { items, resourceVersion } = await client.list<T>(resource, {
      namespace,
      labelSelector,
      fieldSelector,
      signal,
    });
    if (signal.aborted) return;
    cache.replace(items);
    progress.resourceVersion = resourceVersion;
    progress.failures = 0;
    hasSynced = true;
    synced.resolve();
  };

  const handle = (event: WatchEvent<T>, progress: Progress): void => {
    metrics.sawEvent(clock.monotonicMs());
    if (event.type === 'ERROR') throw errorFromStatus(`watch of ${resource.plural}`, event.object);
    progress.failures = 0;
    if (event.type === 'BOOKMARK') counts.bookmarks += 1;
    else {
      counts.events += 1;
      if (event.type === 'DELETED') cache.remove(event.object);
      else cache.put(event.object);
    }
    progress.resourceVersion = event.object.metadata.resourceVersion ?? progress.resourceVersion;
  };

  const watchOnce = async (
    progress: Progress,
    resourceVersion: string,
    signal: AbortSignal,
  ): Promise<void> => {
    counts.watches += 1;
    const timeoutSeconds = Math.round(shortest + Math.random() * (longest - shortest));
    const begun = clock.monotonicMs();
    metrics.sawEvent(begun);
    const request = {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion,
      timeoutSeconds,
      inactivityMs,
      signal,
    };
    for await (const event of client.watch<T>(resource, request)) handle(event, progress);
    metrics.restarted('ended');
    // A server that ends watches at once (a restart, an overloaded proxy) must not be asked in a busy loop.
    if (clock.monotonicMs() - begun < 1000) progress.failures += 1;
  };

  const recover = async (error: unknown, progress: Progress, signal: AbortSignal): Promise<void> => {
    if (signal.aborted) return;
    counts.errors += 1;
    metrics.restarted(error instanceof ApiError ? error.reason : 'error');
    const gone = isGone(error);
    // What can't be read once can't be read when it is sent again: only a new list gets past it.
    if (gone || (error instanceof ApiError && error.reason === 'BadWatchData'))
      progress.resourceVersion = undefined;
    progress.failures += 1;
    const fields = { err: messageOf(error), failures: progress.failures };
    if (gone) log.info('the watch is too old: listing anew', fields);
    else if (progress.failures === 1) log.info('the watch broke: trying again', fields);
    else log.warn('still no watch: trying again', fields);
  };

  const pause = async (progress: Progress, error: unknown, signal: AbortSignal): Promise<void> => {
    if (progress.failures === 0) return;
    const ceiling = Math.min(firstBackoffMs * 2 ** (progress.failures - 1), longestBackoffMs);
    const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
    await clock.sleep(Math.max(asked, ceiling * (0.5 + Math.random() / 2)), signal);
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    const progress: Progress = { resourceVersion: undefined, failures: 0 };
    while (!signal.aborted) {
      let failure: unknown;
      try {
        if (progress.resourceVersion === undefined) await relist(progress, signal);
        const from = progress.resourceVersion;
        if (from !== undefined && !signal.aborted) await watchOnce(progress, from, signal);
      } catch (error) {
        failure = error;
        await recover(error, progress, signal);
      }
      await pause(progress, failure, signal);
    }
  };

  return {
    resource,
    start: (signal) => {
      if (started) throw new TypeError(`the informer of ${resource.plural} was started twice`);
      started = true;
      const unregister = metrics.register({ objects: () => cache.size, now: () => clock.monotonicMs() });
      void run(signal).finally(unregister);
    },
    hasSynced: () => hasSynced,
    whenSynced: (signal) => unlessAborted(synced.promise, signal),
    get: (objectNamespace, name) => cache.get(keyFor(objectNamespace, name)),
    getByKey: (key) => cache.get(key),
    list: () => cache.list(),
    byIndex: (index, value) => cache.byIndex(index, value),
    onChange: (listener) => cache.onChange(listener),
    addIndexers: (indexers) => cache.addIndexers(indexers),
    counters: () => ({ ...counts }),
  };
};
