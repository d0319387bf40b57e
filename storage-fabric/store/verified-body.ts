/** A body that yields its last bytes only once its length and SHA-256 are what was announced. */
import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

/** What a body has to be. */
export interface Announced {
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
  /** Told of every chunk as it comes in. */
  readonly onBytes?: (count: number) => void;
}

const wrong = (message: string): FluviaError =>
  new FluviaError(ERROR_CODES.BAD_INPUT, message, { kind: 'terminal' });

/**
 * Passes a body on, holding back the newest chunk: whoever writes what comes out has received less than the announced
 * length until everything was verified, and an error instead of the rest when it is not.
 */
export const verifiedBody = ({ size, sha256, onBytes }: Announced): Transform => {
  const hash = createHash('sha256');
  let seen = 0;
  let held: Buffer | undefined;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      seen += chunk.length;
      onBytes?.(chunk.length);
      if (seen > size) {
        done(wrong(`the body is longer than the announced ${size} bytes`));
        return;
      }
      hash.update(chunk);
      const ready = held;
      held = chunk;
      done(null, ready);
    },
    flush(done: TransformCallback) {
      if (seen !== size) done(wrong(`the body ended after ${seen} of ${size} bytes`));
      else if (hash.digest('hex') !== sha256) done(wrong('the content has not the SHA-256 that names it'));
      else done(null, held);
    },
  });
};
