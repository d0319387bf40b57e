/** A store on loopback: a real S3 server, Fluvia's front before it, and restic against that. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
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
import { ensureTool } from '../testbed/tools.ts';

export const TENANT = 'abcdefghijklmnopqrstuvwxyz';

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

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

const untilListening = async (server: ChildProcess, port: number): Promise<void> => {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`versitygw exited ${server.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
    if (answer !== undefined) return;
    await systemClock.sleep(50);
  }
};

/**
 * Starts an S3 server with an empty bucket. `diskBytes` puts it on a disk of that size, mounted in a mount namespace of
 * its own.
 */
export const startStoreLab = async (options: { readonly diskBytes?: number } = {}): Promise<StoreLab> => {
  const folder = mkdtempSync(join(tmpdir(), 'fluvia-store-'));
  const [restic, versity, port] = await Promise.all([ensureRestic(), ensureTool('versitygw'), freePort()]);
  const accessKey = 'fluvia';
  const secretKey = randomBytes(16).toString('hex');
  const root = join(folder, 's3');
  mkdirSync(root);
  const gateway = versity.files['versitygw'] ?? '';
  const serve = `exec "$0" --port 127.0.0.1:${port} --quiet --keep-alive posix "$1"`;
  const mount =
    options.diskBytes === undefined ? '' : `mount -t tmpfs -o size=${options.diskBytes} none "$1" && `;
  const shell = ['sh', '-c', mount + serve, gateway, root];
  const [program = '', ...args] = options.diskBytes === undefined ? shell : ['unshare', '-m', ...shell];
  const server = spawn(program, args, {
    env: { ...process.env, ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secretKey },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await untilListening(server, port);
  const access = {
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'fluvia',
    region: 'us-east-1',
    accessKey,
    secretKey,
  };
  await createS3Store(access).ensureBucket();
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
      const { promise, resolve } = Promise.withResolvers<void>();
      server.once('exit', () => resolve());
      server.kill();
      await promise;
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
