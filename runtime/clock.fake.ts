/** A clock that stands still until a test moves it. */
import { sleepBy, type Clock } from './clock.ts';

export interface FakeClock extends Clock {
  /** Moves time on, running timers in order, each followed by the microtasks it started. */
  advance(ms: number): Promise<void>;
  /** Timers that wait. */
  readonly pending: number;
}

/** settle lets all promises that can go on do so. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
};

/** createFakeClock starts at `start`, default 2026-01-01. */
export const createFakeClock = (start = Date.UTC(2026, 0, 1)): FakeClock => {
  let elapsed = 0;
  let serial = 0;
  const timers = new Map<number, { readonly at: number; readonly run: () => void }>();
  const after: Clock['after'] = (ms, callback) => {
    const id = (serial += 1);
    timers.set(id, { at: elapsed + Math.max(0, ms), run: callback });
    return () => void timers.delete(id);
  };
  const nextBefore = (limit: number): number | undefined => {
    let best: number | undefined;
    for (const [id, timer] of timers) {
      if (timer.at <= limit && (best === undefined || timer.at < (timers.get(best)?.at ?? 0))) best = id;
    }
    return best;
  };
  return {
    now: () => new Date(start + elapsed),
    monotonicMs: () => elapsed,
    after,
    sleep: sleepBy(after),
    advance: async (ms) => {
      const target = elapsed + ms;
      await settle();
      for (let id = nextBefore(target); id !== undefined; id = nextBefore(target)) {
        const timer = timers.get(id);
        timers.delete(id);
        elapsed = Math.max(elapsed, timer?.at ?? elapsed);
        timer?.run();
        await settle();
      }
      elapsed = target;
      await settle();
    },
    get pending() {
      return timers.size;
    },
  };
};
