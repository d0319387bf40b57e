import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CommitRecord } from '../../api/commit-record.ts';
import { ERROR_CODES } from '../../api/errors.ts';
import { makeServingBundle } from '../../runtime/certificate.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { createS3Store } from '../../storage-fabric/store/s3.ts';
import { runStore } from '../../storage-fabric/store/run.ts';
import { STORE_FILES } from '../../storage-fabric/store/store-secret.ts';
import { createRateLimit } from '../../storage-fabric/store/rate-limit.ts';
import { controlToken, tokenId } from '../../storage-fabric/store/tokens.ts';
import { freePort } from '../support/free-port.ts';
import { startStoreLab, TENANT, type RunningFront, type StoreLab } from './store-lab.ts';

const MIB = 2 ** 20;
const volumeOf = (n: number): string => `v${n.toString(16).padStart(16, '0')}`;
const sha256 = (body: Buffer): string => createHash('sha256').update(body).digest('hex');

/** Every file below a folder with the hash of its content. */
const treeOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name))
      .sort()
      .map((path) => [relative(folder, path), sha256(readFileSync(path))]),
  );

const sizeOf = (folder: string): number =>
  Object.keys(treeOf(folder)).reduce((sum, path) => sum + statSync(join(folder, path)).size, 0);

const fill = (folder: string, files: number, bytes: number): void => {
  mkdirSync(folder, { recursive: true });
  for (let n = 0; n < files; n += 1) writeFileSync(join(folder, `file-${n}`), randomBytes(bytes));
};

const commitOf = (volume: string, epoch: number, sequence: number, snapshotID: string): CommitRecord => ({
  volume,
  epoch,
  sequence,
  snapshotID,
  treeHash: sha256(Buffer.from('tree')),
  consistency: 'Stopped',
  cutAt: new Date().toISOString(),
  bytesScanned: 1,
  bytesSent: 1,
});

interface Usage {
  readonly received: number;
  readonly sent: number;
  readonly stored: number;
  readonly token: { readonly received: number };
  readonly lastError?: { readonly code: string };
}

describe('a store on a real S3', () => {
  let lab: StoreLab;
  let front: RunningFront;
  beforeAll(async () => {
    lab = await startStoreLab();
    front = await lab.startFront();
  }, 600_000);
  afterAll(() => lab.stop());

  const ok = async (volume: string, token: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lab.restic(front, volume, token, args);
    expect(`${code} ${stderr}`).toMatch(/^0 /);
    return stdout;
  };
  const usage = async (volume: string, token: string, at = front): Promise<Usage> =>
    JSON.parse((await lab.call(at, token, 'GET', `/${TENANT}/${volume}/fluvia/usage`)).body) as Usage;

  it('takes a first and an incremental backup, counts the bytes, and restores the same tree', async () => {
    const volume = volumeOf(1);
    const append = lab.token(volume, 'append', 1);
    const data = join(lab.folder, 'data1');
    fill(data, 40, MIB);
    await ok(volume, append, 'init');
    await ok(volume, append, 'backup', '--no-scan', data);
    const first = await usage(volume, append);
    expect(first.received).toBeGreaterThan(sizeOf(data) * 0.99);
    expect(first.received).toBeLessThan(sizeOf(data) * 1.05);
    expect(first.stored).toBeLessThanOrEqual(first.received);
    // each token has its own count
    expect(first.token.received).toBe(first.received);
    expect((await usage(volume, lab.token(volume, 'read', 1))).token.received).toBe(0);
    writeFileSync(join(data, 'file-3'), randomBytes(MIB));
    await ok(volume, append, 'backup', '--no-scan', data);
    const second = await usage(volume, append);
    expect(second.received - first.received).toBeLessThan(3 * MIB);
    const target = join(lab.folder, 'restored1');
    await ok(volume, append, 'restore', `latest:${data}`, '--target', target);
    expect(treeOf(target)).toEqual(treeOf(data));
    expect((await usage(volume, append)).sent).toBeGreaterThan(sizeOf(data) * 0.99);
    // what lies in the bucket is what the front says, and readable in restic's own layout
    let stored = 0;
    for await (const object of createS3Store(lab.access).list(`${TENANT}/${volume}/`)) {
      if (!object.key.endsWith('fluvia/epoch.json')) stored += object.size;
    }
    expect((await usage(volume, append)).stored).toBe(stored);
  });

  it('lets append add, read restore, and only maintain delete', async () => {
    const volume = volumeOf(2);
    const append = lab.token(volume, 'append', 1);
    const data = join(lab.folder, 'data2');
    fill(data, 2, MIB);
    await ok(volume, append, 'init');
    await ok(volume, append, 'backup', data);
    await ok(volume, append, 'backup', data);
    const before = await ok(volume, append, 'snapshots', '--json');
    const forget = await lab.restic(front, volume, append, ['forget', '--keep-last', '1', '--prune']);
    expect(forget.code).not.toBe(0);
    expect(JSON.parse(await ok(volume, append, 'snapshots', '--json'))).toEqual(JSON.parse(before));
    const reader = lab.token(volume, 'read', 1);
    await ok(volume, reader, '--no-lock', 'restore', 'latest', '--target', join(lab.folder, 'restored2'));
    expect((await lab.restic(front, volume, reader, ['backup', data])).code).not.toBe(0);
    const maintain = lab.token(volume, 'maintain', 1);
    await ok(volume, maintain, 'forget', '--keep-last', '1', '--prune');
    expect(JSON.parse(await ok(volume, append, 'snapshots', '--json'))).toHaveLength(1);
    expect(JSON.parse(await ok(volume, maintain, 'check', '--read-data', '--json'))).toMatchObject({
      num_errors: 0,
    });
  });

  it('opens no other volume, tenant or path, and nothing without a token', async () => {
    const append = lab.token(volumeOf(9), 'append', 1);
    await lab.call(front, append, 'POST', `/${TENANT}/${volumeOf(9)}/config`, Buffer.from('config'));
    const get = async (path: string, token = append): Promise<number> =>
      (await lab.call(front, token, 'GET', path)).status;
    expect(await get(`/${TENANT}/${volumeOf(1)}/config`)).toBe(403);
    expect(await get(`/${TENANT.toUpperCase().toLowerCase().replace('a', 'b')}/${volumeOf(9)}/config`)).toBe(
      403,
    );
    expect(await get(`/${TENANT}/${volumeOf(9)}/../${volumeOf(1)}/config`)).toBe(404);
    expect(await get(`/${TENANT}/${volumeOf(9)}/%2e%2e/config`)).toBe(404);
    expect(await get(`/${TENANT}/${volumeOf(9)}/config`)).toBe(200);
    expect(await get(`/${TENANT}/${volumeOf(9)}/config`, `${append.slice(0, -4)}AAAA`)).toBe(401);
    expect(await get(`/${TENANT}/${volumeOf(9)}/config`, 'fst1..')).toBe(401);
  });

  it('publishes nothing of an old epoch once the epoch was raised, not even after a restart', async () => {
    const volume = volumeOf(3);
    const old = lab.token(volume, 'append', 1);
    const data = join(lab.folder, 'data3');
    fill(data, 24, MIB);
    // slow enough to be in the middle of the copy when the epoch is raised
    const slow = await lab.startFront({ rateLimit: createRateLimit(8 * MIB) });
    expect((await lab.restic(slow, volume, old, ['init'])).code).toBe(0);
    const mover = lab.spawnRestic(slow, volume, old, ['backup', data]);
    const exited = new Promise<number | null>((resolve) => mover.once('exit', (code) => resolve(code)));
    while ((await usage(volume, old, slow)).received < 4 * MIB) await systemClock.sleep(50);
    const next = lab.token(volume, 'append', 2);
    const raised = await lab.call(slow, next, 'PUT', `/${TENANT}/${volume}/fluvia/epoch`);
    expect(JSON.parse(raised.body)).toEqual({ epoch: 2 });
    const objects = async (): Promise<string[]> => {
      const keys: string[] = [];
      for await (const { key } of createS3Store(lab.access).list(`${TENANT}/${volume}/`)) keys.push(key);
      return keys.sort();
    };
    const atRaise = await objects();
    expect(await exited).not.toBe(0);
    expect(await objects()).toEqual(atRaise);
    expect(atRaise.filter((key) => key.includes('/snapshots/'))).toEqual([]);
    slow.stop();
    const restarted = await lab.startFront();
    expect((await lab.restic(restarted, volume, old, ['backup', data])).code).not.toBe(0);
    // an older front that hasn't heard of a raise elsewhere asks the store before it publishes
    const body = randomBytes(100);
    const stale = await lab.call(
      restarted,
      old,
      'POST',
      `/${TENANT}/${volume}/snapshots/${sha256(body)}`,
      body,
    );
    expect([stale.status, stale.error]).toEqual([403, ERROR_CODES.STALE_EPOCH]);
    await lab.call(front, lab.token(volume, 'append', 3), 'PUT', `/${TENANT}/${volume}/fluvia/epoch`);
    const overtaken = await lab.call(
      restarted,
      next,
      'POST',
      `/${TENANT}/${volume}/snapshots/${sha256(body)}`,
      body,
    );
    expect([overtaken.status, overtaken.error]).toEqual([403, ERROR_CODES.STALE_EPOCH]);
    restarted.stop();
  });

  it('publishes no body that is cut short, too long or not what its name says', async () => {
    const volume = volumeOf(4);
    const append = lab.token(volume, 'append', 1);
    const body = randomBytes(3 * MIB);
    const path = (content: Buffer): string => `/${TENANT}/${volume}/data/${sha256(content)}`;
    const wrongHash = await lab.call(front, append, 'POST', path(randomBytes(8)), body);
    expect([wrongHash.status, wrongHash.error]).toEqual([400, ERROR_CODES.BAD_INPUT]);
    // a half-closed connection: the headers promise more than what comes
    const socket = connect({
      host: '127.0.0.1',
      port: front.port,
      ca: readFileSync(join(lab.folder, 'ca.crt')),
    });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    socket.write(
      `POST ${path(body)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${append}\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    socket.write(body.subarray(0, 2 * MIB));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined).resume();
    socket.end();
    await closed;
    const list = await lab.call(front, append, 'GET', `/${TENANT}/${volume}/data/`);
    expect(JSON.parse(list.body)).toEqual([]);
    expect((await lab.call(front, append, 'POST', path(body), body)).status).toBe(200);
    const ranged = await lab.call(front, append, 'GET', path(body), undefined, { range: 'bytes=10-19' });
    expect([ranged.status, Buffer.byteLength(ranged.body) > 0]).toEqual([206, true]);
    const chunked = await lab.call(front, append, 'POST', path(randomBytes(9)), undefined, {
      'transfer-encoding': 'chunked',
    });
    expect(chunked.status).toBe(400);
  });

  it('takes a commit record once, for a snapshot that is there, by a token of its epoch', async () => {
    const volume = volumeOf(8);
    const append = lab.token(volume, 'append', 1);
    const data = join(lab.folder, 'data8');
    fill(data, 1, 1000);
    await ok(volume, append, 'init');
    await ok(volume, append, 'backup', data);
    const [snapshot] = JSON.parse(await ok(volume, append, 'snapshots', '--json')) as [{ id: string }];
    const put = (epoch: number, sequence: number, record: CommitRecord) =>
      lab.call(
        front,
        append,
        'PUT',
        `/${TENANT}/${volume}/fluvia/commits/${epoch}-${sequence}.json`,
        Buffer.from(JSON.stringify(record)),
      );
    const record = commitOf(volume, 1, 7, snapshot.id);
    expect((await put(1, 7, record)).status).toBe(201);
    expect((await put(1, 7, record)).status).toBe(201);
    expect((await put(1, 7, { ...record, bytesSent: 2 })).status).toBe(409);
    expect((await put(1, 8, commitOf(volume, 1, 8, 'f'.repeat(64)))).status).toBe(404);
    expect((await put(1, 9, record)).status).toBe(400);
    expect((await put(2, 9, commitOf(volume, 2, 9, snapshot.id))).status).toBe(403);
    expect((await put(1, 10, commitOf(volume, 1, 10, snapshot.id))).status).toBe(201);
    const list = await lab.call(front, append, 'GET', `/${TENANT}/${volume}/fluvia/commits/`);
    expect((JSON.parse(list.body) as CommitRecord[]).map(({ sequence }) => sequence)).toEqual([7, 10]);
    const remove = `/${TENANT}/${volume}/fluvia/commits/1-7.json`;
    expect((await lab.call(front, append, 'DELETE', remove)).status).toBe(403);
    expect((await lab.call(front, lab.token(volume, 'maintain', 1), 'DELETE', remove)).status).toBe(200);
  });

  it('forgets no revoked token over a restart', async () => {
    const volume = volumeOf(5);
    const token = lab.token(volume, 'append', 1, 'to-revoke');
    const epoch = `/${TENANT}/${volume}/fluvia/epoch`;
    expect((await lab.call(front, token, 'GET', epoch)).status).toBe(200);
    const id = tokenId(lab.key, TENANT, 'to-revoke', 0);
    const path = `/${TENANT}/-/fluvia/tokens/${id}`;
    expect((await lab.call(front, token, 'DELETE', path)).status).toBe(403);
    const control = controlToken(lab.key, TENANT, new Date());
    expect((await lab.call(front, control, 'DELETE', path)).status).toBe(200);
    expect((await lab.call(front, token, 'GET', epoch)).status).toBe(401);
    expect((await lab.call(front, control, 'GET', epoch)).status).toBe(403);
    const restarted = await lab.startFront();
    expect((await lab.call(restarted, token, 'GET', epoch)).status).toBe(401);
    restarted.stop();
  });

  it('resumes a copy after the front was killed in its middle', async () => {
    const volume = volumeOf(6);
    const append = lab.token(volume, 'append', 1);
    const data = join(lab.folder, 'data6');
    fill(data, 96, MIB);
    const doomed = await lab.startFront({ rateLimit: createRateLimit(32 * MIB) });
    expect((await lab.restic(doomed, volume, append, ['init'])).code).toBe(0);
    const mover = lab.spawnRestic(doomed, volume, append, ['backup', data]);
    const exited = new Promise((resolve) => mover.once('exit', resolve));
    while ((await usage(volume, append, doomed)).received < 60 * MIB) await systemClock.sleep(50);
    doomed.stop();
    mover.kill('SIGKILL');
    await exited;
    const again = await lab.startFront({ port: doomed.port });
    const maintain = lab.token(volume, 'maintain', 1);
    const left = (await usage(volume, append, again)).stored;
    expect((await lab.restic(again, volume, maintain, ['unlock', '--remove-all'])).code).toBe(0);
    expect((await lab.restic(again, volume, maintain, ['repair', 'index'])).code).toBe(0);
    const before = (await usage(volume, append, again)).received;
    expect((await lab.restic(again, volume, append, ['backup', data])).code).toBe(0);
    const resent = (await usage(volume, append, again)).received - before;
    expect(resent).toBeLessThan(sizeOf(data) + 4 * MIB - left * 0.9);
    const target = join(lab.folder, 'restored6');
    const restore = ['restore', `latest:${data}`, '--target', target];
    expect((await lab.restic(again, volume, append, restore)).code).toBe(0);
    expect(treeOf(target)).toEqual(treeOf(data));
    again.stop();
  });

  it('keeps a volume within its quota', async () => {
    const volume = volumeOf(7);
    const append = lab.token(volume, 'append', 1);
    const small = await lab.startFront({ quotaBytes: 2 * MIB });
    const data = join(lab.folder, 'data7');
    fill(data, 4, MIB);
    expect((await lab.restic(small, volume, append, ['init'])).code).toBe(0);
    expect((await lab.restic(small, volume, append, ['backup', data])).code).not.toBe(0);
    expect((await usage(volume, append, small)).lastError?.code).toBe(ERROR_CODES.QUOTA_EXCEEDED);
    small.stop();
  });

  it('says what to do about wrong credentials, and starts anew once they were corrected', async () => {
    const keysFolder = join(lab.folder, 'keys');
    mkdirSync(keysFolder);
    const serving = await makeServingBundle({
      commonName: 'fluvia-store',
      addresses: ['127.0.0.1'],
      now: new Date(),
      days: 1,
    });
    writeFileSync(join(keysFolder, STORE_FILES.tokenKey), lab.key);
    writeFileSync(join(keysFolder, STORE_FILES.certificate), serving.serving.cert);
    writeFileSync(join(keysFolder, STORE_FILES.key), serving.serving.key);
    const wrong = { ...lab.access, secretKey: 'wrong' };
    let mounted = wrong;
    const stop = new AbortController();
    const troubles: (string | undefined)[] = [];
    const running = runStore(
      {
        access: wrong,
        readAccess: () => mounted,
        makeBucket: false,
        keysFolder,
        port: await freePort(),
        host: '127.0.0.1',
        clock: systemClock,
        log: silentLogger,
        metrics: createMetrics(),
        onTrouble: (trouble) => troubles.push(trouble),
      },
      stop.signal,
    );
    await vi.waitFor(() => expect(troubles[0]).toMatch(/could not .*; put the right accessKey/), 10_000);
    mounted = lab.access;
    await running;
    expect(stop.signal.aborted).toBe(false);
  });

  it('says which of credentials, bucket and endpoint is wrong', async () => {
    const codeOf = async (access: Partial<StoreLab['access']>): Promise<unknown> => {
      try {
        await createS3Store({ ...lab.access, ...access }).check();
        return 'none';
      } catch (error) {
        return (error as { code: unknown }).code;
      }
    };
    expect(await codeOf({})).toBe('none');
    expect(await codeOf({ secretKey: 'wrong' })).toBe(ERROR_CODES.STORE_CREDENTIALS);
    expect(await codeOf({ accessKey: 'nobody' })).toBe(ERROR_CODES.STORE_CREDENTIALS);
    expect(await codeOf({ bucket: 'missing' })).toBe(ERROR_CODES.STORE_BUCKET);
    expect(await codeOf({ endpoint: 'http://127.0.0.1:1' })).toBe(ERROR_CODES.UNREACHABLE);
  });
});

describe('a store whose disk is full', () => {
  it('says so, and what is there stays readable', async () => {
    const lab = await startStoreLab({ diskBytes: 12 * MIB });
    try {
      const front = await lab.startFront();
      const volume = volumeOf(1);
      const append = lab.token(volume, 'append', 1);
      const data = join(lab.folder, 'data');
      fill(data, 2, MIB);
      expect((await lab.restic(front, volume, append, ['init'])).code).toBe(0);
      expect((await lab.restic(front, volume, append, ['backup', data])).code).toBe(0);
      fill(data, 20, MIB);
      const body = randomBytes(16 * MIB);
      const path = `/${TENANT}/${volume}/data/${sha256(body)}`;
      const full = await lab.call(front, append, 'POST', path, body);
      expect([full.status, full.error]).toEqual([403, ERROR_CODES.STORE_FULL]);
      const restore = ['restore', 'latest', '--target', join(lab.folder, 'restored')];
      expect(
        (await lab.restic(front, volume, lab.token(volume, 'read', 1), ['--no-lock', ...restore])).code,
      ).toBe(0);
    } finally {
      await lab.stop();
    }
  });
});
