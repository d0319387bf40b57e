/** Keyed work queue with the semantics of client-go's: a key is worked on by one worker at a time, and never lost. */
import { systemClock, type Clock } from '../clock.ts';

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

interface TokenBucket {
  /** Takes one token and returns how long to wait for it, in milliseconds. */
  reserve(): number;
}

const createTokenBucket = (clock: Clock, ratePerSecond: number, burst: number): TokenBucket => {
  let tokens = burst;
  let last = clock.monotonicMs();
  return {
    reserve: () => {
      const now = clock.monotonicMs();
      tokens = Math.min(burst, tokens + ((now - last) / 1000) * ratePerSecond) - 1;
      last = now;
      return tokens >= 0 ? 0 : (-tokens / ratePerSecond) * 1000;
    },
  };
};

/** createWorkQueue makes an empty queue. */
export const createWorkQueue = (options: WorkQueueOptions = {}): WorkQueue => {
  const { clock = systemClock, baseDelayMs = 5, maxDelayMs = 300_000 } = options;
  const bucket = createTokenBucket(clock, options.ratePerSecond ?? 20, options.burst ?? 200);
  /** Wait for a worker, in order. */
  const waiting = new Set<string>();
  /** Were added while being worked on: wait again afterwards. */
  const dirty = new Set<string>();
  const processing = new Set<string>();
  const delayed = new Map<string, { readonly at: number; readonly cancel: () => void }>();
  const failures = new Map<string, number>();
  const takers: (() => void)[] = [];
  const drained: (() => void)[] = [];
  let closed = false;

  const wakeOne = (): void => takers.shift()?.();
  const checkDrained = (): void => {
    if (!closed || waiting.size > 0 || processing.size > 0 || dirty.size > 0) return;
    for (const wake of takers.splice(0)) wake();
    for (const resolve of drained.splice(0)) resolve();
  };
  const add = (key: string): void => {
    if (closed) return;
    if (processing.has(key)) {
      dirty.add(key);
      return;
    }
    if (waiting.has(key)) return;
    waiting.add(key);
    wakeOne();
  };
  const addAfter = (key: string, ms: number): void => {
    if (closed) return;
    if (ms <= 0) {
      add(key);
      return;
    }
    const at = clock.monotonicMs() + ms;
    const known = delayed.get(key);
    if (known && known.at <= at) return;
    known?.cancel();
    const cancel = clock.after(ms, () => {
      delayed.delete(key);
      add(key);
    });
    delayed.set(key, { at, cancel });
  };
  const next = (): string | undefined => {
    for (const key of waiting) {
      waiting.delete(key);
      processing.add(key);
      return key;
    }
    return undefined;
  };
  const shutDown = (): void => {
    closed = true;
    for (const { cancel } of delayed.values()) cancel();
    delayed.clear();
    checkDrained();
  };

  return {
    add,
    addAfter,
    addRateLimited: (key) => {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      const backoff = Math.min(baseDelayMs * 2 ** Math.min(count, 50), maxDelayMs);
      addAfter(key, Math.max(backoff, bucket.reserve()));
    },
    forget: (key) => void failures.delete(key),
    retries: (key) => failures.get(key) ?? 0,
    take: async (signal) => {
      for (;;) {
        if (signal?.aborted) break;
        const key = next();
        if (key !== undefined || closed) return key;
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            signal?.removeEventListener('abort', leave);
            resolve();
          };
          const leave = (): void => {
            takers.splice(takers.indexOf(wake), 1);
            resolve();
          };
          takers.push(wake);
          signal?.addEventListener('abort', leave, { once: true });
        });
      }
      // This taker may have been woken for a key in the moment of its abort: hand the key to another.
      if (waiting.size > 0) wakeOne();
      return undefined;
    },
    done: (key) => {
      processing.delete(key);
      if (dirty.delete(key) && !waiting.has(key)) {
        waiting.add(key);
        wakeOne();
      }
      checkDrained();
    },
    get depth() {
      return waiting.size;
    },
    shutDown,
    drain: () => {
      shutDown();
      return new Promise((resolve) => {
        drained.push(resolve);
        checkDrained();
      });
    },
  };
};
