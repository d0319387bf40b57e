import { setTimeout as sleep } from 'node:timers/promises';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { isTransient } from '../runtime/kube/errors.ts';

/** What a poll found: done with a value, or not yet and why. */
export type Progress<T> = { readonly done: T } | { readonly waitingFor: string };

/** Options of {@link waitUntil}. */
export interface WaitOptions {
  /** What is awaited, for the message of a time-out. */
  readonly what: string;
  readonly timeoutMs: number;
  readonly intervalMs?: number;
  readonly signal: AbortSignal;
  /** Shown while waiting. */
  readonly note?: (text: string) => void;
  /** What to do when it doesn't come. */
  readonly hint: string;
}

/**
 * Polls until it is done. Errors of a passing kind (the API server is busy) are waited out.
 * @throws {FluviaError} TIMEOUT that says what was still missing.
 */
export const waitUntil = async <T>(poll: () => Promise<Progress<T>>, options: WaitOptions): Promise<T> => {
  const { what, timeoutMs, intervalMs = 500, signal, note, hint } = options;
  const end = performance.now() + timeoutMs;
  let waitingFor = 'nothing was heard yet';
  for (;;) {
    try {
      const progress = await poll();
      if ('done' in progress) {
        return progress.done;
      }
      ({ waitingFor } = progress);
    } catch (error) {
      signal.throwIfAborted();
      if (!isTransient(error)) {
        throw error;
      }
      waitingFor = 'the API server does not answer';
    }
    note?.(waitingFor);
    if (performance.now() + intervalMs > end) {
      throw new FluviaError(
        ERROR_CODES.TIMEOUT,
        `${what}: not within ${Math.round(timeoutMs / 1000)} s: ${waitingFor}`,
        {
          hint,
        },
      );
    }
    await sleep(intervalMs, undefined, { signal });
  }
};
