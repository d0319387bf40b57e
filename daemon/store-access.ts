/** How the front reaches the object store: the keys of its Secret, mounted as files, so that a corrected one is seen. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { ObjectStoreAccess } from '../storage-fabric/store/object-store.ts';

const read = (folder: string, key: string): string | undefined => {
  try {
    const text = readFileSync(join(folder, key), 'utf8').trim();
    return text === '' ? undefined : text;
  } catch {
    return undefined;
  }
};

/** Reads `endpoint`, `bucket`, `accessKey`, `secretKey` and `region` (`us-east-1` when missing). Throws BAD_INPUT for a missing one. */
export const readStoreAccess = (folder: string): ObjectStoreAccess => {
  const required = (key: string): string => {
    const value = read(folder, key);
    if (value !== undefined) return value;
    throw new FluviaError(ERROR_CODES.BAD_INPUT, `the object store's Secret has no ${key} (${folder})`, {
      kind: 'stalled',
      hint: 'put endpoint, bucket, accessKey and secretKey into it',
    });
  };
  return {
    endpoint: required('endpoint'),
    bucket: required('bucket'),
    region: read(folder, 'region') ?? 'us-east-1',
    accessKey: required('accessKey'),
    secretKey: required('secretKey'),
  };
};
