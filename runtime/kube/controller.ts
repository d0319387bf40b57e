/** Runs a level-triggered reconciler: informers → keys → queue → reconcile. */
import { FluviaError } from '../../api/errors.ts';
import { systemClock, type Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { ApiError, isConflict, isForbidden, isInvalid } from './errors.ts';
import type { Change, Informer } from './informer.ts';
import { keyOf, type HasMetadata } from './types.ts';
import { createWorkQueue, type WorkQueue } from './work-queue.ts';

/** ReconcileResult: `requeueAfterMs` asks for the key again after that time. */
export interface ReconcileResult {
  readonly requeueAfterMs?: number | undefined;
}

/** Reconcile brings the world of one key into its desired state. It may be called at any time, for a key that is gone, too. */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult | void>;

/** WatchSource is an informer with the keys that each of its changes concerns; made by {@link watchSource}. */
export interface WatchSource {
  readonly whenSynced: (signal?: AbortSignal) => Promise<void>;
  readonly subscribe: (enqueue: (key: string) => void) => () => void;
}

export interface ControllerOptions {
  /** Dotted name, used for logs, metrics and events: `offloading.pod`. */
  readonly name: string;
  readonly sources: readonly WatchSource[];
  /** Informers that `reconcile` reads without being triggered by them; they must have synced, too. */
  readonly reads?: readonly { readonly whenSynced: (signal?: AbortSignal) => Promise<void> }[] | undefined;
  readonly reconcile: Reconcile;
  /** Default 2. */
  readonly workers?: number | undefined;
  /** Give one to add keys from elsewhere. */
  readonly queue?: WorkQueue | undefined;
  readonly log: Logger;
  readonly clock?: Clock | undefined;
  readonly metrics?: Metrics | undefined;
}

/** KeysOf maps a change to the keys that must be reconciled. */
export type KeysOf<T extends HasMetadata> = (change: Change<T>) => Iterable<string>;

/** watchSource makes a source; by default the key is the object's own. */
export const watchSource = <T extends HasMetadata>(
  informer: Informer<T>,
  keys: KeysOf<T> = (change) => [keyOf(change.object)],
): WatchSource => ({
  whenSynced: (signal) => informer.whenSynced(signal),
  subscribe: (enqueue) =>
    informer.onChange((change) => {
      for (const key of keys(change)) enqueue(key);
    }),
});

/** A stalled key is looked at again this late by itself; any change of what it depends on comes sooner. */
const stalledRetryMs = 300_000;
/** A reconcile that takes longer is reported. */
const slowMs = 30_000;

type Outcome = 'ok' | 'waiting' | 'stalled' | 'terminal';

const judge = (error: unknown): Exclude<Outcome, 'ok'> => {
  if (error instanceof FluviaError) return error.kind;
  if (error instanceof ApiError) return isForbidden(error) || isInvalid(error) ? 'stalled' : 'waiting';
  return 'waiting';
};

/** runController works until `signal` aborts and the reconciles under way have returned. */
export const runController = async (options: ControllerOptions, signal: AbortSignal): Promise<void> => {
  const { name, sources, reads = [], reconcile, workers = 2, metrics } = options;
  const clock = options.clock ?? systemClock;
  const log = options.log.child({ controller: name });
  const queue = options.queue ?? createWorkQueue({ clock });
  const seconds = metrics?.histogram('fluvia_reconcile_seconds', 'Time that reconciles took.');
  const results = metrics?.counter('fluvia_reconcile_total', 'Reconciles by outcome.');
  const busySince = new Map<string, number>();
  const labels = { controller: name };

  const settle = (key: string, error: unknown): Outcome => {
    const outcome = judge(error);
    const fields = { key, err: error, retries: queue.retries(key) };
    if (outcome === 'waiting') {
      const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
      // A lost race is everyday life; only what goes on failing deserves a line.
      if (isConflict(error) && queue.retries(key) < 5) log.debug('someone else wrote first: again', fields);
      else log.warn('not yet: trying again', fields);
      if (asked > 0) queue.addAfter(key, asked);
      else queue.addRateLimited(key);
    } else {
      log.error(
        outcome === 'stalled' ? 'stalled: someone has to change something' : 'failed for good',
        fields,
      );
      queue.forget(key);
      if (outcome === 'stalled') queue.addAfter(key, stalledRetryMs * (0.8 + Math.random() * 0.4));
    }
    return outcome;
  };

  const handle = async (key: string): Promise<void> => {
    const begun = clock.monotonicMs();
    busySince.set(key, begun);
    let outcome: Outcome = 'ok';
    try {
      const result = await reconcile(key, signal);
      queue.forget(key);
      if (result?.requeueAfterMs !== undefined) queue.addAfter(key, result.requeueAfterMs);
    } catch (error) {
      if (signal.aborted) return;
      outcome = settle(key, error);
    } finally {
      busySince.delete(key);
      queue.done(key);
    }
    const tookMs = clock.monotonicMs() - begun;
    seconds?.observe(tookMs / 1000, labels);
    results?.inc({ ...labels, outcome });
    if (tookMs > slowMs) log.warn('a reconcile was slow', { key, tookMs: Math.round(tookMs) });
  };

  const work = async (): Promise<void> => {
    for (let key = await queue.take(signal); key !== undefined; key = await queue.take(signal))
      await handle(key);
  };

  const stops = sources.map((source) => source.subscribe((key) => queue.add(key)));
  const gauges = [
    metrics?.gaugeFrom('fluvia_workqueue_depth', 'Keys that wait.', () => [[queue.depth, labels]]),
    metrics?.gaugeFrom(
      'fluvia_workqueue_longest_running_seconds',
      'Age of the longest reconcile under way.',
      () => [
        [busySince.size === 0 ? 0 : (clock.monotonicMs() - Math.min(...busySince.values())) / 1000, labels],
      ],
    ),
  ];
  try {
    await Promise.all([...sources, ...reads].map((source) => source.whenSynced(signal)));
    log.info('started', { workers });
    await Promise.all(Array.from({ length: workers }, work));
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    for (const stop of [...stops, ...gauges]) stop?.();
    queue.shutDown();
    log.info('stopped');
  }
};
