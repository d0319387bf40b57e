/** An object store in memory, for tests. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import type { ObjectStat, ObjectStore } from './object-store.ts';

/** The store, and its objects to look at. */
export interface FakeObjectStore extends ObjectStore {
  readonly objects: Map<string, Buffer>;
}

/** Makes an empty one. Conditional writes are decided at once, as a real one decides them. */
export const createFakeObjectStore = (): FakeObjectStore => {
  const objects = new Map<string, Buffer>();
  const statOf = (body: Buffer): ObjectStat => ({
    size: body.length,
    etag: `"${createHash('md5').update(body).digest('hex')}"`,
  });
  return {
    objects,
    get: (key, range) => {
      const body = objects.get(key);
      if (body === undefined) return Promise.reject(new FluviaError(ERROR_CODES.NOT_FOUND, `no ${key}`));
      const part = range === undefined ? body : body.subarray(range.start, (range.end ?? body.length) + 1);
      return Promise.resolve({ ...statOf(body), size: part.length, body: Readable.from([part]) });
    },
    stat: (key) => {
      const body = objects.get(key);
      return Promise.resolve(body === undefined ? undefined : statOf(body));
    },
    put: async (key, body, { sha256, signal }) => {
      const content = await buffer(body);
      signal?.throwIfAborted();
      if (createHash('sha256').update(content).digest('hex') !== sha256) {
        throw new FluviaError(ERROR_CODES.BAD_INPUT, 'mismatch');
      }
      objects.set(key, content);
    },
    putSmall: (key, body, condition) => {
      const old = objects.get(key);
      const holds =
        condition === undefined ||
        ('ifAbsent' in condition
          ? old === undefined
          : old !== undefined && statOf(old).etag === condition.ifMatch);
      if (holds) objects.set(key, body);
      return Promise.resolve(holds);
    },
    delete: (key) => {
      objects.delete(key);
      return Promise.resolve();
    },
    list: async function* (prefix) {
      for (const [key, body] of [...objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
        await Promise.resolve();
        if (key.startsWith(prefix)) yield { key, size: body.length };
      }
    },
    check: () => Promise.resolve(),
    ensureBucket: () => Promise.resolve(),
  };
};
