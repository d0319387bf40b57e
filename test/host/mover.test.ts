import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repositoryKey } from '../../storage-fabric/mover/restic-files.ts';
import { runMover } from '../../storage-fabric/mover/run.ts';
import type { MoverResult } from '../../storage-fabric/mover/transfer-file.ts';
import { run } from '../testbed/exec.ts';
import { ensurePackages } from '../testbed/packages.ts';
import { ensureRestic } from '../testbed/restic.ts';
import { startStoreLab, TENANT, type RunningFront, type StoreLab } from './store-lab.ts';

/** The mover as its Job runs it, on a real btrfs, against a real store front. Told in order. */
const VOLUME = 'v0123456789abcdef';
const VOLUME_KEY = 'a key of home for this volume, 32 or more';
let lab: StoreLab;
let front: RunningFront;
let disk: string;
let sequence = 0;
let oldToken = '';

const random = (seed: string, bytes: number): Buffer => {
  const parts: Buffer[] = [];
  for (let n = 0; parts.length * 32 < bytes; n++)
    parts.push(createHash('sha256').update(`${seed}${n}`).digest());
  return Buffer.concat(parts).subarray(0, bytes);
};

/** Every file of a tree with its mode and the hash of its content. */
const treeOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => {
        const stat = statSync(path);
        const content = stat.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
        return [path.slice(folder.length), `${stat.mode.toString(8)} ${stat.uid} ${content}`];
      }),
  );

const subvolume = async (name: string): Promise<string> => {
  const folder = join(disk, name);
  await run('btrfs', ['subvolume', 'create', folder]);
  return folder;
};

const move = async (
  volume: string,
  transfer: Record<string, unknown>,
  token: string,
): Promise<MoverResult & { code: number }> => {
  const of = (transfer['volume'] as string | undefined) ?? VOLUME;
  const folder = join(lab.folder, 'transfer');
  mkdirSync(folder, { recursive: true });
  const order = {
    volume: VOLUME,
    epoch: 1,
    sequence: 0,
    writerStopped: false,
    repository: `https://127.0.0.1:${front.port}/${TENANT}/${of}/`,
    ...transfer,
  };
  writeFileSync(join(folder, 'transfer.json'), JSON.stringify(order));
  writeFileSync(join(folder, 'token'), token);
  writeFileSync(join(folder, 'key'), VOLUME_KEY);
  writeFileSync(join(folder, 'ca.crt'), readFileSync(join(lab.folder, 'ca.crt')));
  const terminationLog = join(lab.folder, 'termination-log');
  const code = await runMover({ transfer: folder, volume, work: join(lab.folder, 'work'), terminationLog });
  return { ...(JSON.parse(readFileSync(terminationLog, 'utf8')) as MoverResult), code };
};

interface Copy {
  readonly snapshotID: string;
  readonly treeHash: string;
  readonly consistency: string;
  readonly bytesSent: number;
  readonly bytesScanned: number;
}

const copy = async (volume: string, more: Record<string, unknown> = {}): Promise<Copy> => {
  sequence += 1;
  const epoch = (more['epoch'] as number | undefined) ?? 1;
  const of = (more['volume'] as string | undefined) ?? VOLUME;
  const token = lab.token(of, 'append', epoch, `copy-${sequence}`);
  const end = await move(volume, { action: 'backup', sequence, ...more }, token);
  if (!end.ok) throw new Error(`${end.reason}: ${end.message}`);
  return end.result as Copy;
};

beforeAll(async () => {
  await ensurePackages(['storage']);
  lab = await startStoreLab();
  front = await lab.startFront();
  process.env['PATH'] = `${dirname(await ensureRestic())}:${process.env['PATH'] ?? ''}`;
  disk = join(lab.folder, 'disk');
  mkdirSync(disk);
  const image = join(lab.folder, 'disk.img');
  writeFileSync(image, '');
  truncateSync(image, 512 * 2 ** 20);
  await run('mkfs.btrfs', ['-q', image]);
  await run('mount', ['-n', '-o', 'loop', image, disk]);
});

afterAll(async () => {
  if (disk !== undefined) await run('umount', ['-n', disk]).catch(() => undefined);
  await lab?.stop();
});

describe('the mover', () => {
  let source = '';
  let first: Copy;

  it('copies from a filesystem snapshot, and leaves none', async () => {
    source = await subvolume('source');
    chmodSync(source, 0o2750);
    for (let n = 0; n < 50; n++) {
      mkdirSync(join(source, `d${n % 5}`), { recursive: true });
      writeFileSync(join(source, `d${n % 5}/f${n}`), random(`f${n}`, 100_000));
    }
    first = await copy(source);
    expect(first.consistency).toBe('FilesystemSnapshot');
    expect(first.bytesScanned).toBe(5_000_000);
    expect(first.bytesSent).toBeGreaterThan(4_900_000);
    expect(readdirSync(source).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('makes a repository that is like any other to restic', async () => {
    const token = lab.token(VOLUME, 'append', 1, 'person');
    const cat = await lab.restic(front, VOLUME, token, ['cat', 'snapshot', first.snapshotID]);
    expect(JSON.parse(cat.stdout)).toMatchObject({ tree: first.treeHash });
    expect(await lab.restic(front, VOLUME, token, ['check', '--read-data'])).toMatchObject({ code: 0 });
  });

  it('uses a repository that restic made, or that a mover died over before it was whole', async () => {
    const small = await subvolume('small');
    writeFileSync(join(small, 'a'), 'a');
    const target = await subvolume('small-target');
    const theirs = 'v00000000000000a1';
    const append = lab.token(theirs, 'append', 1, 'person');
    expect(await lab.restic(front, theirs, append, ['init'])).toMatchObject({ code: 0 });
    const begun = 'v00000000000000a2';
    const { file } = repositoryKey(VOLUME_KEY);
    const path = `/${TENANT}/${begun}/keys/${file.name}`;
    const written = await lab.call(front, lab.token(begun, 'append', 1, 'dead'), 'POST', path, file.body);
    expect(written.status).toBe(200);
    for (const volume of [theirs, begun]) {
      const { snapshotID, treeHash } = await copy(small, { volume });
      const order = { action: 'restore', volume, snapshotID, treeHash };
      const end = await move(target, order, lab.token(volume, 'read', 1, 'restore'));
      expect(end).toMatchObject({ ok: true, result: { treeHash } });
      expect(readFileSync(join(target, 'a'), 'utf8')).toBe('a');
      rmSync(join(target, 'a'));
    }
  });

  it('sends only what changed', async () => {
    writeFileSync(join(source, 'd0/f0'), random('other', 100_000));
    rmSync(join(source, 'd1/f1'));
    const second = await copy(source, { parentSnapshotID: first.snapshotID });
    expect(second.bytesSent).toBeLessThan(400_000);
    expect(second.treeHash).not.toBe(first.treeHash);
  });

  it('restores one named point, over a stale copy too, with mode and owner of the root', async () => {
    const target = await subvolume('target');
    const token = lab.token(VOLUME, 'read', 1, 'restore');
    writeFileSync(join(target, 'stray'), 'x');
    const order = { action: 'restore', snapshotID: first.snapshotID };
    const other = await move(target, { ...order, treeHash: 'c'.repeat(64) }, token);
    expect(other).toMatchObject({ ok: false });
    expect(existsSync(join(target, 'stray'))).toBe(true);
    const end = await move(target, { ...order, treeHash: first.treeHash }, token);
    expect(end).toMatchObject({ ok: true, code: 0, result: { treeHash: first.treeHash } });
    expect(existsSync(join(target, 'stray'))).toBe(false);
    expect(existsSync(join(target, 'd1/f1'))).toBe(true);
    expect(statSync(target).mode & 0o7777).toBe(0o2750);
    const newest = await copy(source);
    await move(target, { action: 'restore', snapshotID: newest.snapshotID }, token);
    expect(treeOf(target)).toEqual(treeOf(source));
  });

  it('refuses to copy an empty volume over copies that hold something', async () => {
    const lost = await subvolume('lost');
    await expect(copy(lost)).rejects.toThrow(/the volume is empty/);
    expect(readdirSync(lost)).toEqual([]);
  });

  it('copies a volume that never held anything, and restores it as empty', async () => {
    const fresh = await subvolume('fresh');
    chmodSync(fresh, 0o700);
    const point = await copy(fresh, { mayBeEmpty: true });
    expect(point).toMatchObject({ consistency: 'FilesystemSnapshot', bytesScanned: 0 });
    expect(readdirSync(fresh)).toEqual([]);
    const target = await subvolume('fresh-target');
    writeFileSync(join(target, 'stray'), 'x');
    const token = lab.token(VOLUME, 'read', 1, 'restore');
    const end = await move(target, { action: 'restore', snapshotID: point.snapshotID }, token);
    expect(end).toMatchObject({ ok: true, code: 0 });
    expect(readdirSync(target)).toEqual([]);
    expect(statSync(target).mode & 0o7777).toBe(0o700);
  });

  it('says BestEffort where no snapshot can be made', async () => {
    const plain = join(lab.folder, 'plain');
    mkdirSync(plain);
    writeFileSync(join(plain, 'a'), 'a');
    expect((await copy(plain)).consistency).toBe('BestEffort');
  });

  it('mends the repository after a mover died, and keeps only the newest points', async () => {
    // a lock as a killed mover leaves it
    const token = lab.token(VOLUME, 'append', 1, 'dead');
    const dead = lab.spawnRestic(front, VOLUME, token, ['backup', '--host=fluvia', source]);
    await new Promise((resolve) => setTimeout(resolve, 700));
    dead.kill('SIGKILL');
    const maintain = lab.token(VOLUME, 'maintain', 1, 'maintain');
    expect(await move(source, { action: 'maintain', keep: 2 }, maintain)).toMatchObject({ ok: true });
    const locks = await lab.call(front, maintain, 'GET', `/${TENANT}/${VOLUME}/locks/`);
    expect(JSON.parse(locks.body)).toEqual([]);
    const commits = await lab.call(front, maintain, 'GET', `/${TENANT}/${VOLUME}/fluvia/commits/`);
    expect(JSON.parse(commits.body)).toHaveLength(2);
    await copy(source);
  });

  it('keeps the tail of a lost peer beside the points that count, until its time is over', async () => {
    await copy(source, { salvage: true });
    const tail = sequence;
    const [counted, newest] = [
      await copy(source).then(() => sequence),
      await copy(source).then(() => sequence),
    ];
    const maintain = lab.token(VOLUME, 'maintain', 1, 'tails');
    const listed = async (): Promise<readonly unknown[]> => {
      const { body } = await lab.call(front, maintain, 'GET', `/${TENANT}/${VOLUME}/fluvia/commits/`);
      return JSON.parse(body) as unknown[];
    };
    const prune = async (salvageSince: Date): Promise<void> => {
      const order = { action: 'maintain', keep: 2, salvageSince: salvageSince.toISOString() };
      expect(await move(source, order, maintain)).toMatchObject({ ok: true });
    };
    await prune(new Date(Date.now() - 3_600_000));
    expect(await listed()).toMatchObject([
      { sequence: tail, salvage: true },
      { sequence: counted },
      { sequence: newest },
    ]);
    await prune(new Date(Date.now() + 1000));
    expect(await listed()).toMatchObject([{ sequence: counted }, { sequence: newest }]);
  });

  it('publishes nothing with a token of an epoch that has passed', async () => {
    oldToken = lab.token(VOLUME, 'append', 1, 'old');
    await copy(source, { epoch: 2 });
    sequence += 1;
    const end = await move(source, { action: 'backup', sequence }, oldToken);
    expect(end).toMatchObject({ ok: false, code: 1 });
    expect(readdirSync(source).filter((name) => name.startsWith('.'))).toEqual([]);
    const reader = lab.token(VOLUME, 'read', 2, 'reader');
    const commits = await lab.call(front, reader, 'GET', `/${TENANT}/${VOLUME}/fluvia/commits/`);
    expect(commits.body).not.toContain(`"sequence":${sequence},`);
  });
});
