import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { Clock } from '../runtime/clock.ts';

/**
 * A token bucket of one second for what strangers cause; the returned function takes a token.
 * @throws {FluviaError} LINK_DOWN when there is none: asking again later is right.
 */
export const createTokens = (perSecond: number, clock: Clock): (() => void) => {
  let tokens = perSecond;
  let last = clock.monotonicMs();
  return () => {
    const now = clock.monotonicMs();
    tokens = Math.min(perSecond, tokens + ((now - last) / 1000) * perSecond);
    last = now;
    if (tokens < 1) {
      throw new FluviaError(ERROR_CODES.LINK_DOWN, 'the cluster is asked too often by strangers', {
        hint: 'try again in a second',
      });
    }
    tokens -= 1;
  };
};
