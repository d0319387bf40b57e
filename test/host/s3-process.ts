/** A real S3 server on loopback, on a folder, with an empty bucket. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../runtime/clock.ts';
import type { ObjectStoreAccess } from '../../storage-fabric/store/object-store.ts';
import { createS3Store } from '../../storage-fabric/store/s3.ts';
import { freePort } from '../support/free-port.ts';
import { ensureTool } from '../testbed/tools.ts';

export interface S3Process {
  readonly access: ObjectStoreAccess;
  /** Where the bucket's files lie (inside another mount namespace with `diskBytes`). */
  readonly root: string;
  /** Ends it by a signal and waits. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and folder; with a secret that isn't the clients' they are refused. */
  start(secretKey?: string): Promise<void>;
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
 * Starts versitygw below `folder`. `diskBytes` puts it on a disk of that size, mounted in a mount namespace of its own:
 * such a one can't be started again with what it held.
 */
export const startS3 = async (
  folder: string,
  options: { readonly diskBytes?: number | undefined } = {},
): Promise<S3Process> => {
  const [versity, port] = await Promise.all([ensureTool('versitygw'), freePort()]);
  const accessKey = 'fluvia';
  const secretKey = randomBytes(16).toString('hex');
  const root = join(folder, 's3');
  mkdirSync(root, { recursive: true });
  const gateway = versity.files['versitygw'] ?? '';
  const serve = `exec "$0" --port 127.0.0.1:${port} --quiet --keep-alive posix "$1"`;
  const mount =
    options.diskBytes === undefined ? '' : `mount -t tmpfs -o size=${options.diskBytes} none "$1" && `;
  const shell = ['sh', '-c', mount + serve, gateway, root];
  const [program = '', ...args] = options.diskBytes === undefined ? shell : ['unshare', '-m', ...shell];
  let server: ChildProcess;
  const start = async (secret = secretKey): Promise<void> => {
    server = spawn(program, args, {
      env: { ...process.env, ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secret },
      stdio: 'ignore',
    });
    await untilListening(server, port);
  };
  await start();
  const access = {
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'fluvia',
    region: 'us-east-1',
    accessKey,
    secretKey,
  };
  await createS3Store(access).ensureBucket();
  return {
    access,
    root,
    start,
    stop: async (signal = 'SIGTERM') => {
      if (server.exitCode !== null || server.signalCode !== null) return;
      const exited = once(server, 'exit');
      server.kill(signal);
      await exited;
    },
  };
};
