/**
 * The way of a copy with real processes, each of which can be killed: a mover on a btrfs subvolume, the link, the store's
 * front, and a real S3 server behind it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bundleProgram } from '../../deploy/image/bundle.ts';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { MoverResult, SNAPSHOT_PREFIX, type TransferFile } from '../../storage-fabric/mover/transfer-file.ts';
import type { MoverPaths } from '../../storage-fabric/mover/run.ts';
import { createFrontClient, type FrontClient } from '../../storage-fabric/store/front-client.ts';
import { createS3Store } from '../../storage-fabric/store/s3.ts';
import { STORE_FILES } from '../../storage-fabric/store/store-secret.ts';
import { signToken, tokenId, type TokenKind } from '../../storage-fabric/store/tokens.ts';
import { freePort } from '../support/free-port.ts';
import { run } from '../testbed/exec.ts';
import { ensurePackages } from '../testbed/packages.ts';
import { ensureRestic } from '../testbed/restic.ts';
import type { FrontArguments } from './front-process.ts';
import { startLinkProxy, type LinkProxy } from './link-proxy.ts';
import { startS3, type S3Process } from './s3-process.ts';

export const TENANT = 'abcdefghijklmnopqrstuvwxyz';
/** What movers get as the volume's key. */
export const VOLUME_KEY = 'a key of home for this volume, 32 or more';

/** A mover that runs. */
export interface MoverProcess {
  /** How it ended; undefined when it was killed before it could say. */
  readonly ended: Promise<MoverResult | undefined>;
  /** SIGKILL to it and to the restic that it started, as the end of a container is. */
  kill(): Promise<void>;
}

export type Order = Partial<TransferFile> & Pick<TransferFile, 'action' | 'volume'>;

export interface CopyLab {
  readonly folder: string;
  readonly restic: string;
  readonly caFile: string;
  readonly s3: S3Process;
  readonly link: LinkProxy;
  /** Environment of a restic that goes to a volume's repository by the front, not by the link. */
  frontEnv(volume: string, token: string): Record<string, string>;
  token(volume: string, kind: TokenKind, epoch: number, request: string): string;
  client(token: string): FrontClient;
  /** Makes a subvolume on the lab's btrfs. */
  subvolume(name: string): Promise<string>;
  /** Starts the mover on a folder. Its token fits its order. */
  startMover(folder: string, order: Order): MoverProcess;
  /** Runs the mover to its end and returns what it said; throws when it failed. */
  move(folder: string, order: Order): Promise<unknown>;
  killFront(): Promise<void>;
  /** Starts it, or starts it anew with other limits. */
  startFront(options?: Pick<FrontArguments, 'quotaBytes' | 'bytesPerSecond'>): Promise<void>;
  /** What a killed copy could have left behind, for a volume copied from `source`; empty when nothing is. */
  leftovers(volume: string, source: string): Promise<readonly string[]>;
  /** Snapshots that lie in a volume's repository. */
  snapshots(volume: string): Promise<readonly string[]>;
  stop(): Promise<void>;
}

export interface CopyLabOptions {
  readonly diskBytes: number;
  /** Size of the disk below the S3; unlimited by default. */
  readonly s3DiskBytes?: number;
  /** Whether movers reach the front by the link, which takes some time of its own; true by default. */
  readonly byLink?: boolean;
  /** Whether mover and front run as the image has them, bundled and with its flags for Node; false by default. */
  readonly bundled?: boolean;
}

const exited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

/** Ends a process group and waits for its first process. */
const killGroup = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  const end = exited(child) ? undefined : once(child, 'exit');
  try {
    process.kill(-(child.pid ?? 0), signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  await end;
};

/** Node's flags for a role, as the image starts it. */
const flagsOf = (role: string): readonly string[] => {
  const script = readFileSync(join(import.meta.dirname, '../../deploy/image/fluviad.sh'), 'utf8');
  const flags = new RegExp(`^ +${role}\\) shift; exec /bin/node (.*) /opt`, 'm').exec(script)?.[1];
  if (flags === undefined) throw new Error(`fluviad.sh starts no ${role} with flags`);
  return flags.split(' ');
};

/** Starts everything but a mover. */
export const startCopyLab = async (options: CopyLabOptions): Promise<CopyLab> => {
  await ensurePackages(['storage']);
  const restic = await ensureRestic();
  const folder = mkdtempSync(join(tmpdir(), 'fluvia-copy-'));
  const s3 = await startS3(folder, { diskBytes: options.s3DiskBytes });

  const bundle = await makeServingBundle({
    commonName: 'fluvia-store',
    addresses: ['127.0.0.1'],
    now: new Date(),
    days: 1,
  });
  const key = randomBytes(32);
  const keysFolder = join(folder, 'keys');
  mkdirSync(keysFolder);
  writeFileSync(join(keysFolder, STORE_FILES.tokenKey), key);
  writeFileSync(join(keysFolder, STORE_FILES.certificate), bundle.serving.cert);
  writeFileSync(join(keysFolder, STORE_FILES.key), bundle.serving.key);
  const caFile = join(folder, 'ca.crt');
  writeFileSync(caFile, bundle.ca);

  const programs = join(folder, 'programs');
  /** Arguments of the node that runs a process of ours, in place of a role of the image. */
  const programOf = async (name: string, role: string): Promise<readonly string[]> => {
    if (options.bundled !== true) return [join(import.meta.dirname, `${name}.ts`)];
    await bundleProgram(programs, name, `test/host/${name}.ts`);
    return [...flagsOf(role), join(programs, `${name}.mjs`)];
  };
  const frontProgram = await programOf('front-process', 'store');
  const moverProgram = await programOf('mover-process', 'mover');

  const frontPort = await freePort();
  let front: ChildProcess | undefined;
  const killFront = async (): Promise<void> => {
    if (front === undefined || exited(front)) return;
    const end = once(front, 'exit');
    front.kill('SIGKILL');
    await end;
  };
  const startFront: CopyLab['startFront'] = async (limits = {}) => {
    await killFront();
    const args: FrontArguments = { access: s3.access, keysFolder, port: frontPort, ...limits };
    const started = spawn(process.execPath, [...frontProgram, JSON.stringify(args)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    front = started;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let said = '';
    started.stdout.on('data', (chunk: Buffer) => {
      if (said.length < 65_536) said += chunk.toString();
      if (said.includes('trouble: none')) resolve();
    });
    started.once('exit', () => reject(new Error(`the front ended: ${said}`)));
    await promise;
  };
  await startFront();
  const link = await startLinkProxy(frontPort);

  const disk = join(folder, 'disk');
  mkdirSync(disk);
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), options.diskBytes);
  await run('mkfs.btrfs', ['-q', join(folder, 'disk.img')]);
  await run('mount', ['-n', '-o', 'loop', join(folder, 'disk.img'), disk]);

  const token: CopyLab['token'] = (volume, kind, epoch, request) =>
    signToken(key, {
      tenant: TENANT,
      volume,
      kind,
      epoch,
      expires: Math.floor(Date.now() / 1000) + 7200,
      issued: Date.now(),
      id: tokenId(key, TENANT, request, 0),
    });
  const objects = async (prefix: string): Promise<readonly string[]> => {
    const keys: string[] = [];
    for await (const { key: name } of createS3Store(s3.access).list(prefix)) keys.push(name);
    return keys;
  };
  const tokenKinds = { backup: 'append', restore: 'read', maintain: 'maintain' } as const;
  const movers = new Set<ChildProcess>();
  let moves = 0;

  const startMover: CopyLab['startMover'] = (source, order) => {
    moves += 1;
    const own = join(folder, `mover-${moves}`);
    const transfer = join(own, 'transfer');
    mkdirSync(transfer, { recursive: true });
    const port = options.byLink === false ? frontPort : link.port;
    const epoch = order.epoch ?? 1;
    const whole = {
      epoch,
      sequence: 0,
      writerStopped: false,
      repository: `https://127.0.0.1:${port}/${TENANT}/${order.volume}/`,
      ...order,
    };
    writeFileSync(join(transfer, 'transfer.json'), JSON.stringify(whole));
    writeFileSync(
      join(transfer, 'token'),
      token(order.volume, tokenKinds[order.action], epoch, `move-${moves}`),
    );
    writeFileSync(join(transfer, 'key'), VOLUME_KEY);
    writeFileSync(join(transfer, 'ca.crt'), bundle.ca);
    const terminationLog = join(own, 'termination-log');
    const paths: MoverPaths = { transfer, volume: source, work: join(own, 'work'), terminationLog };
    const child = spawn(process.execPath, [...moverProgram, JSON.stringify(paths)], {
      // a group of its own: a container ends with all its processes
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, PATH: `${dirname(restic)}:${process.env['PATH'] ?? ''}` },
    });
    movers.add(child);
    const ended = once(child, 'exit').then(() => {
      movers.delete(child);
      let result: MoverResult | undefined;
      try {
        result = MoverResult.parse(JSON.parse(readFileSync(terminationLog, 'utf8')));
      } catch {
        result = undefined;
      }
      rmSync(own, { recursive: true, force: true });
      return result;
    });
    return { ended, kill: () => killGroup(child, 'SIGKILL') };
  };

  return {
    folder,
    restic,
    caFile,
    s3,
    link,
    frontEnv: (volume, ofToken) => ({
      RESTIC_REPOSITORY: `rest:https://127.0.0.1:${frontPort}/${TENANT}/${volume}/`,
      RESTIC_REST_USERNAME: 'fluvia',
      RESTIC_REST_PASSWORD: ofToken,
      RESTIC_CACERT: caFile,
      RESTIC_PASSWORD: VOLUME_KEY,
    }),
    token,
    client: (ofToken) =>
      createFrontClient({
        address: '127.0.0.1',
        port: frontPort,
        caCertificate: bundle.ca,
        serverName: '127.0.0.1',
        token: ofToken,
      }),
    subvolume: async (name) => {
      const made = join(disk, name);
      await run('btrfs', ['subvolume', 'create', made]);
      return made;
    },
    startMover,
    move: async (source, order) => {
      const end = await startMover(source, order).ended;
      if (end?.ok !== true) throw new Error(`${order.action} failed: ${JSON.stringify(end)}`);
      return end.result;
    },
    killFront,
    startFront,
    leftovers: async (volume, source) => [
      ...readdirSync(source)
        .filter((name) => name.startsWith(SNAPSHOT_PREFIX))
        .map((name) => `snapshot ${name}`),
      ...(await objects(`${TENANT}/${volume}/locks/`)),
      ...partsOf(join(s3.root, s3.access.bucket)),
    ],
    snapshots: (volume) => objects(`${TENANT}/${volume}/snapshots/`),
    stop: async () => {
      await Promise.all([...movers].map((child) => killGroup(child, 'SIGKILL')));
      await link.stop();
      await killFront();
      await s3.stop();
      await run('umount', ['-n', disk]).catch(() => undefined);
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

/** Parts of multipart uploads and files that were begun, as versitygw keeps them in its bucket. */
const partsOf = (bucket: string): readonly string[] => {
  const folder = join(bucket, '.sgwtmp');
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `part ${join(entry.parentPath, entry.name)}`);
  } catch {
    return [];
  }
};
