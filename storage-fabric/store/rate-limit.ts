/** A bandwidth limit that all transfers of a front share. */
import { Transform, type TransformCallback } from 'node:stream';
import { systemClock, type Clock } from '../../runtime/clock.ts';

/** Makes streams that together pass at most so many bytes in a second. */
export interface RateLimit {
  stream(): Transform;
}

/** `bytesPerSecond` has to be positive; up to one second's bytes pass at once after a pause. */
export const createRateLimit = (bytesPerSecond: number, clock: Clock = systemClock): RateLimit => {
  /** When what was passed so far would have been passed at the limit, in the clock's monotonic milliseconds. */
  let paidUntil = clock.monotonicMs() - 1000;
  return {
    stream: () =>
      new Transform({
        transform(chunk: Buffer, _encoding, done: TransformCallback) {
          const now = clock.monotonicMs();
          paidUntil = Math.max(paidUntil, now - 1000) + (chunk.length / bytesPerSecond) * 1000;
          const wait = paidUntil - now;
          if (wait <= 0) done(null, chunk);
          else clock.after(wait, () => done(null, chunk));
        },
      }),
  };
};
