import { chmodSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import type { MoverResult } from '../../storage-fabric/mover/transfer-file.ts';
import { REDUCED_KILLS, runCopyKillDrill } from '../drills/copy-kills.ts';
import { REDUCED_POSTGRES, runPostgresDrill } from '../drills/copy-postgres.ts';
import { SEED } from '../support/seed.ts';
import { ensurePostgres } from '../testbed/postgresql.ts';
import { startCopyLab, TENANT, type CopyLab } from './copy-lab.ts';
import { writeFiles } from './trees.ts';

/** Copies with real processes, things that die under them, and stores that refuse. */
const MIB = 2 ** 20;
/** More than one of restic's packs of 16 MiB. */
const FILES = 48;
const BYTES_PER_SECOND = 8 * MIB;
let lab: CopyLab;
let source: string;

const volumeOf = (n: number): string => `v${n.toString(16).padStart(16, '0')}`;
const pathOf = (volume: string): string => `/${TENANT}/${volume}/`;
const received = async (volume: string): Promise<number> => {
  const client = lab.client(lab.token(volume, 'read', 1, 'look'));
  return (await client.usage(pathOf(volume))).received;
};
/** Copies the source, and does something to the store once a part of the bytes came there. */
const copy = async (
  volume: string,
  sequence: number,
  meanwhile: () => Promise<unknown> = () => Promise.resolve(),
): Promise<MoverResult | undefined> => {
  const before = await received(volume);
  const mover = lab.startMover(source, { action: 'backup', volume, sequence });
  const over = new AbortController();
  void mover.ended.then(() => over.abort());
  while (!over.signal.aborted && (await received(volume)) < before + 2 * MIB) await systemClock.sleep(50);
  await meanwhile();
  return mover.ended;
};
const published = async (volume: string, epoch = 1): Promise<number> => {
  const client = lab.client(lab.token(volume, 'read', epoch, 'look'));
  return (await client.commits(pathOf(volume))).length + (await lab.snapshots(volume)).length;
};
const isClean = (): boolean => !readdirSync(source).some((name) => name.startsWith('.'));

beforeAll(async () => {
  await ensurePostgres();
  lab = await startCopyLab({ diskBytes: 2 ** 30 });
  source = await lab.subvolume('source');
  chmodSync(source, 0o755);
  writeFiles(
    source,
    Array.from({ length: FILES }, (_, n) => n),
    { bytesPerFile: MIB / 2 },
    'x',
  );
}, 600_000);

afterAll(() => lab?.stop());

describe('a mover in the middle of a copy', () => {
  it('of an old epoch publishes nothing once the epoch was raised, and says so', async () => {
    const volume = volumeOf(1);
    await lab.startFront({ bytesPerSecond: BYTES_PER_SECOND });
    const end = await copy(volume, 1, () =>
      lab.client(lab.token(volume, 'append', 2, 'next')).raise(pathOf(volume)),
    );
    expect(end).toMatchObject({ ok: false, reason: 'StaleEpoch' });
    expect(await published(volume, 2)).toBe(0);
    expect(isClean()).toBe(true);
  });

  it('that has its quota used up says so, publishes nothing, and copies once there is room', async () => {
    const volume = volumeOf(2);
    await lab.startFront({ quotaBytes: 20 * MIB });
    const end = await copy(volume, 1);
    expect(end).toMatchObject({ ok: false, reason: 'StoreQuotaExceeded' });
    expect(JSON.stringify(end)).toContain("ask the store's owner for a larger quota");
    expect(await published(volume)).toBe(0);
    expect(isClean()).toBe(true);
    await lab.startFront();
    expect(await lab.startMover(source, { action: 'maintain', volume }).ended).toMatchObject({ ok: true });
    expect(await copy(volume, 2)).toMatchObject({ ok: true });
    expect(await published(volume)).toBe(2);
  });

  it('whose store loses its rights at its S3 says that they are wrong', async () => {
    const volume = volumeOf(3);
    await lab.startFront({ bytesPerSecond: BYTES_PER_SECOND });
    const end = await copy(volume, 1, async () => {
      await lab.s3.stop();
      await lab.s3.start('not the one that the front has');
    });
    await lab.s3.stop();
    await lab.s3.start();
    expect(end).toMatchObject({ ok: false, reason: 'StoreCredentials' });
    expect(JSON.stringify(end)).toContain('put the right accessKey and secretKey into');
    expect(await published(volume)).toBe(0);
  });

  it(`leaves one whole recovery point, whatever dies (seed ${SEED})`, async () => {
    const figures = await runCopyKillDrill({ lab, ...REDUCED_KILLS, seed: SEED, report: () => undefined });
    expect(figures.points).toBe(REDUCED_KILLS.points);
  }, 300_000);

  it('takes a database under writes as it was at one moment', async () => {
    await lab.startFront();
    const figures = await runPostgresDrill({ lab, ...REDUCED_POSTGRES, report: () => undefined });
    expect(figures.points).toBe(REDUCED_POSTGRES.points);
  }, 300_000);
});
