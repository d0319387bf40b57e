/**
 * The drill "a copy killed anywhere": a mover, its link, the store's front or the S3 behind it dies at a seeded moment of a
 * copy (the mover also of a restore and of mending), while the volume is written to. After each, the newest recovery point is
 * restored and must be, by hash, the tree as it was at that point's cut; the next copy must work and nothing be left.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CommitRecord } from '../../api/commit-record.ts';
import { systemClock } from '../../runtime/clock.ts';
import { TENANT, type CopyLab, type MoverProcess, type Order } from '../host/copy-lab.ts';
import { SNAPSHOT_PREFIX } from '../../storage-fabric/mover/transfer-file.ts';
import { treeHash, writeFiles, type TreeShape } from '../host/trees.ts';
import { seededRandom } from '../support/seed.ts';
import { tryRun } from '../testbed/exec.ts';

export interface CopyKillSize {
  readonly points: number;
  readonly shape: TreeShape;
  /** Slow enough that moments fall into the transfer, too. */
  readonly bytesPerSecond: number;
  /** Whether a whole copy is made and restored after each point, and restores and mending are killed in turn, too. */
  readonly isThorough: boolean;
}

/** The bar's size, and what `npm test` does. */
export const FULL_KILLS: CopyKillSize = {
  points: 20,
  shape: { files: 1000, bytesPerFile: 128 * 1024 },
  bytesPerSecond: 16 * 2 ** 20,
  isThorough: true,
};
export const REDUCED_KILLS: CopyKillSize = {
  points: 3,
  shape: { files: 100, bytesPerFile: 64 * 1024 },
  bytesPerSecond: 4 * 2 ** 20,
  isThorough: false,
};

export interface CopyKillDrill extends CopyKillSize {
  readonly lab: CopyLab;
  readonly seed: number;
  readonly report: (line: string) => void;
}

const VICTIMS = ['mover', 'front', 'link', 'S3 server', 'frozen link'] as const;
type Victim = (typeof VICTIMS)[number];

export interface CopyKillFigures {
  readonly points: number;
  readonly killed: Readonly<Partial<Record<Victim, number>>>;
  /** Copies that came to their end although something died under them. */
  readonly survived: number;
  /** Longest from the kill until a whole new copy was there, in seconds. */
  readonly slowest: number;
}

export const VOLUME = 'v00000000000c0b1e';
const PATH = `/${TENANT}/${VOLUME}/`;
/** Of the files, rewritten before each copy. */
const SHARE = 0.3;
/** What died stays away for up to this long. */
const AWAY_MS = 3000;
const KEPT = 3;

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

/** Ends the victim, and brings it back later as its cluster would; a mover stays dead. */
const kill = async (victim: Victim, lab: CopyLab, mover: MoverProcess, awayMs: number): Promise<void> => {
  const later = (): Promise<void> => systemClock.sleep(awayMs);
  switch (victim) {
    case 'mover':
      return mover.kill();
    case 'front':
      await lab.killFront();
      await later();
      return lab.startFront();
    case 'S3 server':
      await lab.s3.stop('SIGKILL');
      await later();
      return lab.s3.start();
    case 'link':
      lab.link.cut();
      await later();
      return lab.link.heal();
    case 'frozen link':
      lab.link.freeze();
      await later();
      return lab.link.heal();
  }
};

/** Where a mover's picture of the volume lies. */
const pictureOf = (source: string, sequence: number): string => join(source, `${SNAPSHOT_PREFIX}${sequence}`);

/** Runs the drill; throws at the first thing that is not as it should be. */
export const runCopyKillDrill = async (drill: CopyKillDrill): Promise<CopyKillFigures> => {
  const { lab, shape, isThorough, report } = drill;
  const random = seededRandom(drill.seed);
  const source = await lab.subvolume('killed-source');
  const target = await lab.subvolume('killed-target');
  const client = lab.client(lab.token(VOLUME, 'maintain', 1, 'books'));
  /** Sequence of a copy → the tree that it was made of. */
  const cuts = new Map<number, string>();
  let sequence = 0;
  let slowest = 0;
  let survived = 0;
  const killed: Partial<Record<Victim, number>> = {};

  const newest = async (): Promise<CommitRecord | undefined> => (await client.commits(PATH)).at(-1);
  const order = async (): Promise<Order> => {
    sequence += 1;
    cuts.set(sequence, treeHash(source));
    const parent = await newest();
    return {
      action: 'backup',
      volume: VOLUME,
      sequence,
      ...(parent === undefined ? {} : { parentSnapshotID: parent.snapshotID }),
    };
  };
  const mend: Order = { action: 'maintain', volume: VOLUME, keep: KEPT };
  /** The mover's own work, killed once in its middle in every third case and then begun anew, as home does. */
  const repeated = async (folder: string, wish: Order, isKilled: boolean): Promise<void> => {
    if (isKilled) {
      const doomed = lab.startMover(folder, wish);
      await Promise.race([systemClock.sleep(300 + random() * 2500), doomed.ended]);
      await doomed.kill();
      await doomed.ended;
    }
    await lab.move(folder, wish);
  };
  const checkNewest = async (isKilled: boolean): Promise<number> => {
    const point = await newest();
    if (point === undefined) throw new Error('no recovery point is left');
    const { snapshotID, treeHash: tree } = point;
    await repeated(target, { action: 'restore', volume: VOLUME, snapshotID, treeHash: tree }, isKilled);
    if (treeHash(target) !== cuts.get(point.sequence)) {
      throw new Error(`what was restored is not the tree of copy ${point.sequence}`);
    }
    return point.sequence;
  };

  writeFiles(source, range(0, shape.files), shape, 'first');
  await lab.startFront({ bytesPerSecond: drill.bytesPerSecond });
  const begun = performance.now();
  await lab.move(source, await order());
  // how long a copy takes when nothing happens to it: moments are chosen within that
  let usual = performance.now() - begun;
  for (let point = 0; point < drill.points; point += 1) {
    const rewrite = (name: string): void => {
      // dice of its own: when it is called depends on the machine's pace
      const dice = seededRandom(drill.seed + point * 100 + name.length);
      const some = range(0, shape.files).filter(() => dice() < SHARE);
      writeFiles(source, some, shape, `${name} ${point}`);
      for (const n of some.slice(0, 3)) {
        rmSync(join(source, `d${Math.floor(n / 100)}`, `f${n % 100}`), { force: true });
      }
    };
    if (isThorough && point === 0) {
      rewrite('usual');
      const again = performance.now();
      await lab.move(source, await order());
      usual = performance.now() - again;
    }
    const victim = VICTIMS[point % VICTIMS.length] ?? 'mover';
    rewrite('killed');
    const wish = await order();
    const moment = random() * usual * 1.1;
    const awayMs = random() * AWAY_MS;
    const mover = lab.startMover(source, wish);
    const over = new AbortController();
    void mover.ended.then(() => over.abort());
    // the volume is in use: what is written after the cut is in no way part of the copy
    const writer = (async (): Promise<void> => {
      while (!over.signal.aborted && !existsSync(pictureOf(source, wish.sequence ?? 0)))
        await systemClock.sleep(5);
      if (!over.signal.aborted) rewrite('meanwhile');
    })();
    await systemClock.sleep(moment);
    const killedAt = performance.now();
    await kill(victim, lab, mover, awayMs);
    killed[victim] = (killed[victim] ?? 0) + 1;
    const end = await mover.ended;
    await writer;
    // a front that came back knows no limit: give it one again
    if (victim === 'front') await lab.startFront({ bytesPerSecond: drill.bytesPerSecond });
    const restored = await checkNewest(isThorough && point % 3 === 2);
    if (end?.ok === true && restored !== sequence) {
      throw new Error(`copy ${sequence} says that it is whole, and ${restored} is the newest`);
    }
    if (end?.ok === true) survived += 1;
    else await repeated(source, mend, isThorough && point % 3 === 1);
    if (isThorough || point === drill.points - 1) {
      await lab.move(source, await order());
      slowest = Math.max(slowest, (performance.now() - killedAt) / 1000);
      if ((await checkNewest(false)) !== sequence) throw new Error(`copy ${sequence} is not the newest`);
      const left = await lab.leftovers(VOLUME, source);
      if (left.length > 0) throw new Error(`left after a ${victim} was killed: ${left.join(', ')}`);
    }
    report(
      `point ${point + 1}: ${victim} killed ${(moment / 1000).toFixed(1)} s into a copy of ${(usual / 1000).toFixed(1)} s: ` +
        `${end?.ok === true ? 'it came through' : (end?.reason ?? 'it died')}; point ${restored} restored whole`,
    );
  }
  await lab.move(source, mend);
  const points = await client.commits(PATH);
  const snapshots = await lab.snapshots(VOLUME);
  if (points.length > KEPT || snapshots.length !== points.length) {
    throw new Error(`${points.length} points and ${snapshots.length} snapshots are left of ${KEPT} to keep`);
  }
  const env = lab.frontEnv(VOLUME, lab.token(VOLUME, 'maintain', 1, 'check'));
  const check = await tryRun(lab.restic, ['check', '--read-data', '--no-cache'], { env });
  if (check.code !== 0) throw new Error(`restic finds the repository damaged: ${check.stderr}`);
  return { points: drill.points, killed, survived, slowest };
};

/** The figures, for the end of a run. */
export const copyKillTable = ({ points, killed, survived, slowest }: CopyKillFigures): string =>
  [
    `a copy killed at ${points} points: ${Object.entries(killed)
      .map(([victim, times]) => `${victim} ${times}`)
      .join(', ')}`,
    `  every restored tree was one whole recovery point; nothing left behind`,
    `  ${survived} copies came through all the same; slowest from kill to the next whole copy: ${slowest.toFixed(1)} s`,
  ].join('\n');
