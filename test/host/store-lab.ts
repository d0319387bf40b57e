/** A store on loopback: a real S3 server, Fluvia's front before it, and restic against that. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'node:https';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { listenStore } from '../../storage-fabric/store/listen.ts';
import type { ObjectStoreAccess } from '../../storage-fabric/store/object-store.ts';
import { createFront, type FrontOptions } from '../../storage-fabric/store/rest-server.ts';
import { createS3Store } from '../../storage-fabric/store/s3.ts';
import { signToken, tokenId, type TokenKind } from '../../storage-fabric/store/tokens.ts';
import { tryRun, type RunResult } from '../testbed/exec.ts';
import { ensureRestic } from '../testbed/restic.ts';
import { startS3 } from './s3-process.ts';

export const TENANT = 'abcdefghijklmnopqrstuvwxyz';

/** A front that listens. */
export interface RunningFront {
  readonly port: number;
  stop(): void;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly error: string | undefined;
}

export interface StoreLab {
  readonly folder: string;
  readonly access: ObjectStoreAccess;
  readonly key: Buffer;
  startFront(options?: Partial<FrontOptions> & { readonly port?: number }): Promise<RunningFront>;
  token(volume: string, kind: TokenKind, epoch: number, request?: string): string;
  /** Runs restic as a mover Job does: by environment, no secret in its arguments. */
  restic(front: RunningFront, volume: string, token: string, args: readonly string[]): Promise<RunResult>;
  /** The same, to be killed. */
  spawnRestic(front: RunningFront, volume: string, token: string, args: readonly string[]): ChildProcess;
  call(
    front: RunningFront,
    token: string,
    method: string,
    path: string,
    body?: Buffer,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  stop(): Promise<void>;
}

/**
 * Starts an S3 server with an empty bucket. `diskBytes` puts it on a disk of that size, mounted in a mount namespace of
 * its own.
 */
export const startStoreLab = async (options: { readonly diskBytes?: number } = {}): Promise<StoreLab> => {
  const folder = mkdtempSync(join(tmpdir(), 'fluvia-store-'));
  const [restic, s3] = await Promise.all([ensureRestic(), startS3(folder, options)]);
  const { access } = s3;
  const bundle = await makeServingBundle({
    commonName: 'fluvia-store',
    addresses: ['127.0.0.1'],
    now: new Date(),
    days: 1,
  });
  writeFileSync(join(folder, 'ca.crt'), bundle.ca);
  const key = randomBytes(32);
  const fronts: RunningFront[] = [];

  const resticEnv = (front: RunningFront, volume: string, token: string): NodeJS.ProcessEnv => ({
    PATH: process.env['PATH'],
    RESTIC_REPOSITORY: `rest:https://127.0.0.1:${front.port}/${TENANT}/${volume}/`,
    RESTIC_REST_USERNAME: 'fluvia',
    RESTIC_REST_PASSWORD: token,
    RESTIC_CACERT: join(folder, 'ca.crt'),
    RESTIC_PASSWORD: 'a key of home for this volume, 32 or more',
    RESTIC_CACHE_DIR: join(folder, 'cache'),
    GOMAXPROCS: '2',
  });

  return {
    folder,
    access,
    key,
    startFront: async ({ port: wanted = 0, ...rest } = {}) => {
      const stop = new AbortController();
      const handler = createFront({
        store: createS3Store(access),
        tokenKey: () => key,
        clock: systemClock,
        log: silentLogger,
        metrics: createMetrics(),
        ...rest,
      });
      const listening = await listenStore(
        handler,
        { port: wanted, host: '127.0.0.1', keys: bundle.serving },
        stop.signal,
      );
      const front = { port: (listening.address() as AddressInfo).port, stop: () => stop.abort() };
      fronts.push(front);
      return front;
    },
    token: (volume, kind, epoch, name = `${kind}-${epoch}`) =>
      signToken(key, {
        tenant: TENANT,
        volume,
        kind,
        epoch,
        expires: Math.floor(Date.now() / 1000) + 600,
        issued: Date.now(),
        id: tokenId(key, TENANT, name, 0),
      }),
    restic: (front, volume, token, resticArgs) =>
      tryRun(restic, resticArgs, { env: resticEnv(front, volume, token), cwd: folder, timeoutMs: 50_000 }),
    spawnRestic: (front, volume, token, resticArgs) =>
      spawn(restic, resticArgs, { env: resticEnv(front, volume, token), cwd: folder, stdio: 'ignore' }),
    call: (front, token, method, path, body, headers = {}) =>
      new Promise((resolve, reject) => {
        const sent = request(
          {
            host: '127.0.0.1',
            port: front.port,
            ca: bundle.ca,
            method,
            path,
            agent: false,
            headers: {
              authorization: `Bearer ${token}`,
              ...(body === undefined ? {} : { 'content-length': body.length }),
              ...headers,
            },
          },
          (response) => {
            const chunks: Buffer[] = [];
            const header = response.headers['x-fluvia-error'];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                body: Buffer.concat(chunks).toString(),
                error: typeof header === 'string' ? header : undefined,
              }),
            );
          },
        );
        sent.on('error', reject);
        sent.end(body);
      }),
    stop: async () => {
      for (const front of fronts) front.stop();
      await s3.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
