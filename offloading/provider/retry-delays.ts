/** How long to wait before a pod is made again that keeps being lost or refused. */
import type { Clock } from '../../runtime/clock.ts';

const FIRST_MS = 1000;
const LONGEST_MS = 300_000;
/** After so long without a try a key starts afresh. */
const FORGIVEN_MS = 900_000;

export interface RetryDelays {
  /** Milliseconds that are still to be waited; 0 when it may be tried now. */
  before(key: string): number;
  tried(key: string): void;
  forget(key: string): void;
}

/** Delays double with each try, from 1 s to 5 min. */
export const createRetryDelays = (clock: Clock): RetryDelays => {
  const tries = new Map<string, { readonly count: number; readonly at: number }>();
  return {
    before: (key) => {
      const last = tries.get(key);
      if (last === undefined) return 0;
      const delay = Math.min(FIRST_MS * 2 ** (last.count - 1), LONGEST_MS);
      return Math.max(0, Math.ceil(last.at + delay - clock.monotonicMs()));
    },
    tried: (key) => {
      const now = clock.monotonicMs();
      const last = tries.get(key);
      const count = last === undefined || now - last.at > FORGIVEN_MS ? 1 : last.count + 1;
      tries.set(key, { count, at: now });
    },
    forget: (key) => void tries.delete(key),
  };
};
