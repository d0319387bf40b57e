import type { IncomingMessage } from 'node:http';
import type { Transform } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

/** Whether whoever sent a request left before all of it was sent. */
export const hasLeft = (request: IncomingMessage): boolean => request.destroyed && !request.complete;

/**
 * Lets a request's body flow through streams until the last one has taken it. Unlike `pipeline` it leaves the request open
 * when one of them breaks, so that its sender can still be told why; what is left of the body is let go then. Rejects when
 * the sender leaves in the middle.
 */
export const feed = async (
  request: IncomingMessage,
  first: Transform,
  ...others: readonly Transform[]
): Promise<void> => {
  const streams = [first, ...others];
  const breakAll = (error: Error): void => {
    for (const stream of streams) stream.destroy(error);
  };
  const onClose = (): void => {
    if (hasLeft(request)) {
      breakAll(new FluviaError(ERROR_CODES.BAD_INPUT, 'the body was cut short: its sender left'));
    }
  };
  request.once('close', onClose);
  // it may have left while this waited for its turn: it closes only once
  onClose();
  let last = request.pipe(first);
  for (const next of others) last = last.pipe(next);
  try {
    await Promise.all(streams.map((stream) => finished(stream, { readable: false })));
  } catch (error) {
    breakAll(error as Error);
    throw error;
  } finally {
    request.off('close', onClose);
    request.unpipe(first);
    request.resume();
  }
};
