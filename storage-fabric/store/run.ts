/** The store's front as a process: keys from a folder that may be renewed under it, an S3, and its listener. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { messageOf, messageWithHint } from '../../api/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import { listenStore } from './listen.ts';
import type { ObjectStoreAccess } from './object-store.ts';
import { createRateLimit } from './rate-limit.ts';
import { createFront } from './rest-server.ts';
import { createS3Store } from './s3.ts';
import { STORE_FILES } from './store-secret.ts';

export interface RunStoreOptions {
  readonly access: ObjectStoreAccess;
  /** The access as it is by now; without it, or where it throws, it stays what it was. */
  readonly readAccess?: () => ObjectStoreAccess;
  /** Makes the bucket when it isn't there. */
  readonly makeBucket: boolean;
  /** Folder that Secret `fluvia-store` is mounted at. */
  readonly keysFolder: string;
  readonly port: number;
  readonly host?: string;
  /** Per volume. */
  readonly quotaBytes?: number;
  /** Of all volumes of one tenant together. */
  readonly tenantQuotaBytes?: number;
  /** Of all transfers together. */
  readonly bytesPerSecond?: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Told why the store can't work at the moment; undefined when it can. */
  readonly onTrouble: (reason: string | undefined) => void;
}

interface Keys {
  readonly tokenKey: Buffer;
  readonly cert: string;
  readonly key: string;
}

const CHECK_MS = 10_000;
const RETRY_MS = 2000;

const readKeys = (folder: string): Keys => ({
  tokenKey: readFileSync(join(folder, STORE_FILES.tokenKey)),
  cert: readFileSync(join(folder, STORE_FILES.certificate), 'utf8'),
  key: readFileSync(join(folder, STORE_FILES.key), 'utf8'),
});

const hasChanged = ({ access, readAccess }: RunStoreOptions): boolean => {
  if (readAccess === undefined) return false;
  try {
    return !isDeepStrictEqual(readAccess(), access);
  } catch {
    // Secrets are changed key by key: one that lacks something is no reason to stop.
    return false;
  }
};

/**
 * Serves until `signal` aborts, or the access has become another one: then it resolves, and is to be started anew. Rejects when the keys can't be
 * read or the port is taken; never for a silent S3.
 */
export const runStore = async (options: RunStoreOptions, signal: AbortSignal): Promise<void> => {
  const { clock, log, metrics, onTrouble, quotaBytes, tenantQuotaBytes, bytesPerSecond } = options;
  let keys = readKeys(options.keysFolder);
  const store = createS3Store(options.access);
  const handler = createFront({
    store,
    tokenKey: () => keys.tokenKey,
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
    ...(tenantQuotaBytes === undefined ? {} : { tenantQuotaBytes }),
    ...(bytesPerSecond === undefined ? {} : { rateLimit: createRateLimit(bytesPerSecond, clock) }),
    clock,
    log,
    metrics,
  });
  const listening = { port: options.port, ...(options.host === undefined ? {} : { host: options.host }) };
  const server = await listenStore(handler, { ...listening, keys }, signal);
  let said: string | undefined = '';
  let hasBucket = !options.makeBucket;
  while (!signal.aborted) {
    let trouble: string | undefined;
    try {
      if (!hasBucket) await store.ensureBucket();
      hasBucket = true;
      await store.check();
    } catch (error) {
      trouble = messageWithHint(error);
    }
    if (trouble !== said) {
      onTrouble(trouble);
      if (trouble === undefined) log.info('the object store answers', { bucket: options.access.bucket });
      else log.warn('the object store can not be used', { trouble });
      said = trouble;
    }
    await clock.sleep(trouble === undefined ? CHECK_MS : RETRY_MS, signal);
    if (hasChanged(options)) {
      log.info('the access to the object store was changed: starting anew with it');
      return;
    }
    try {
      const fresh = readKeys(options.keysFolder);
      if (fresh.cert !== keys.cert) {
        server.setSecureContext({ cert: fresh.cert, key: fresh.key, minVersion: 'TLSv1.3' });
        log.info('serving with a renewed certificate');
      }
      keys = fresh;
    } catch (error) {
      // the kubelet exchanges the files behind a link: next time
      log.warn('could not read the keys anew', { message: messageOf(error) });
    }
  }
};
