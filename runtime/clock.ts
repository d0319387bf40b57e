/** The clock as a dependency, so that tests can hold and move it. */

/** Clock: `now` is wall time, `monotonicMs` never jumps and has no meaning across processes. */
export interface Clock {
  now(): Date;
  monotonicMs(): number;
  /** Runs `callback` once after `ms`; returns how to cancel it. */
  after(ms: number, callback: () => void): () => void;
  /** Resolves after `ms`, or as soon as `signal` aborts: it never rejects, so look at the signal afterwards. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** sleepBy makes a `sleep` out of an `after`. */
export const sleepBy =
  (after: Clock['after']): Clock['sleep'] =>
  (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const finish = (): void => {
        cancel();
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const cancel = after(ms, finish);
      signal?.addEventListener('abort', finish, { once: true });
    });

const after: Clock['after'] = (ms, callback) => {
  const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
  return () => clearTimeout(timer);
};

/** systemClock is the machine's. */
export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  after,
  sleep: sleepBy(after),
};
