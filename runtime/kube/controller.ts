/** Runs a level-triggered reconciler: informers → keys → queue → reconcile. */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Change, Informer } from './informer.ts';
import type { HasMetadata } from './types.ts';
import type { WorkQueue } from './work-queue.ts';

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
export declare const watchSource: <T extends HasMetadata>(
  informer: Informer<T>,
  keys?: KeysOf<T>,
) => WatchSource;

/** runController works until `signal` aborts and the reconciles under way have returned. */
export declare const runController: (options: ControllerOptions, signal: AbortSignal) => Promise<void>;
