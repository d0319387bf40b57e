import { sleepBy, systemClock, type Clock } from '../../runtime/clock.ts';

/**
 * A clock that runs `factor` times as fast, for what is given time and would keep a test waiting. Its wall clock does only
 * where `isWallFast` says so: what an API server stamps stays behind that.
 */
export const fastClock = (factor: number, isWallFast = false): Clock => {
  const begun = Date.now();
  const after: Clock['after'] = (ms, callback) => systemClock.after(ms / factor, callback);
  return {
    now: () => (isWallFast ? new Date(begun + (Date.now() - begun) * factor) : new Date()),
    monotonicMs: () => systemClock.monotonicMs() * factor,
    after,
    sleep: sleepBy(after),
  };
};
