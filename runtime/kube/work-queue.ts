/** Keyed work queue with the semantics of client-go's: a key is worked on by one worker at a time, and never lost. */
import type { Clock } from '../clock.ts';

export interface WorkQueue {
  /** Queues the key unless it waits already; a key being worked on is queued again when that is done. */
  add(key: string): void;
  /** Adds the key after `ms`; of several delays for one key the earliest counts. */
  addAfter(key: string, ms: number): void;
  /** Adds the key after its own exponential back-off and the queue's token bucket. */
  addRateLimited(key: string): void;
  /** Resets the key's back-off. */
  forget(key: string): void;
  /** How often the key was added rate-limited since it was last forgotten. */
  retries(key: string): number;
  /** Takes the next key; undefined when the queue is shut down and empty, or `signal` aborts. Must be followed by `done`. */
  take(signal?: AbortSignal): Promise<string | undefined>;
  done(key: string): void;
  /** Keys that wait now, not counting delayed ones. */
  readonly depth: number;
  /** Accepts no more keys; delayed ones are dropped, waiting ones are still given out. */
  shutDown(): void;
  /** Shuts down and resolves when no key waits or is worked on. */
  drain(): Promise<void>;
}

export interface WorkQueueOptions {
  readonly clock?: Clock | undefined;
  /** Per-key back-off: first and longest delay, default 5 ms and 300 s. */
  readonly baseDelayMs?: number | undefined;
  readonly maxDelayMs?: number | undefined;
  /** Token bucket over all rate-limited adds, default 20 per second, burst 200. */
  readonly ratePerSecond?: number | undefined;
  readonly burst?: number | undefined;
}

/** createWorkQueue makes an empty queue. */
export declare const createWorkQueue: (options?: WorkQueueOptions) => WorkQueue;
