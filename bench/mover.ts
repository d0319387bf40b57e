/** Our mover against plain restic: 1 GiB in 10,000 files, then 5 % of them rewritten (often), then all of it restored. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, BenchResult } from './main.ts';
import { startCopyLab, TENANT, VOLUME_KEY, type CopyLab } from '../test/host/copy-lab.ts';
import { treeHash, writeFiles } from '../test/host/trees.ts';
import { run } from '../test/testbed/exec.ts';

const FILES = 10_000;
const BYTES_PER_FILE = Math.ceil(2 ** 30 / FILES);
/** Every twentieth file is rewritten: 5 %. */
const EVERY = 20;
const ROUNDS = 3;
/** Of each round: they are short, and the machine's pace varies from one second to the next. */
const SECOND_SYNCS = 5;
const MIN_RATE_RATIO = 0.85;
const MAX_SENT = 0.06;

const volumeOf = (n: number): string => `v${n.toString(16).padStart(16, '0')}`;

const medianOf = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

const secondsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
};

interface Copied {
  readonly snapshotID: string;
  readonly treeHash: string;
}

/** Runs restic straight against the S3, as a person would. */
const plain = (lab: CopyLab, repository: string, args: readonly string[], cwd?: string): Promise<string> =>
  run(lab.restic, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: {
      RESTIC_REPOSITORY: `s3:${lab.s3.access.endpoint}/${lab.s3.access.bucket}/${repository}`,
      AWS_ACCESS_KEY_ID: lab.s3.access.accessKey,
      AWS_SECRET_ACCESS_KEY: lab.s3.access.secretKey,
      RESTIC_PASSWORD: VOLUME_KEY,
      RESTIC_CACHE_DIR: join(lab.folder, `cache-${repository}`),
      // as the mover sets it
      GOMAXPROCS: '2',
    },
  });

/** One way of doing the whole bench. */
interface Way {
  /** Bytes that the store counted of a round, where it counts. */
  received?(round: number): Promise<number>;
  /** Of a repository that isn't there yet. */
  first(round: number): Promise<unknown>;
  second(round: number): Promise<unknown>;
  restore(round: number, target: string): Promise<unknown>;
  /** Takes the round's repository away. */
  forget(round: number): void;
}

type Step = 'first' | 'second' | 'restore';
const STEPS: readonly Step[] = ['first', ...Array<Step>(SECOND_SYNCS).fill('second'), 'restore'];

const ours = (lab: CopyLab, source: string): Way => {
  const points = new Map<number, Copied>();
  let sequence = 1;
  return {
    received: async (round) => {
      const volume = volumeOf(round);
      const client = lab.client(lab.token(volume, 'read', 1, 'look'));
      return (await client.usage(`/${TENANT}/${volume}/`)).received;
    },
    first: async (round) => {
      const order = { action: 'backup', volume: volumeOf(round), sequence: 1 } as const;
      points.set(round, (await lab.move(source, order)) as Copied);
    },
    second: async (round) => {
      sequence += 1;
      const { snapshotID } = points.get(round) ?? { snapshotID: undefined };
      const order = {
        action: 'backup',
        volume: volumeOf(round),
        sequence,
        ...(snapshotID === undefined ? {} : { parentSnapshotID: snapshotID }),
      } as const;
      points.set(round, (await lab.move(source, order)) as Copied);
    },
    restore: async (round, target) => {
      const point = points.get(round);
      if (point === undefined) throw new Error('restored before it was copied');
      const { snapshotID, treeHash: tree } = point;
      await lab.move(target, { action: 'restore', volume: volumeOf(round), snapshotID, treeHash: tree });
    },
    forget: (round) =>
      rmSync(join(lab.s3.root, lab.s3.access.bucket, TENANT, volumeOf(round)), { recursive: true }),
  };
};

const theirs = (lab: CopyLab, source: string): Way => {
  const name = (round: number): string => `plain-${round}`;
  const restore = ['restore', 'latest', '--delete', '--overwrite=if-changed', '--sparse', '--verify'];
  return {
    first: async (round) => {
      await plain(lab, name(round), ['init']);
      await plain(lab, name(round), ['backup', '.'], source);
    },
    second: (round) => plain(lab, name(round), ['backup', '.'], source),
    restore: (round, target) => plain(lab, name(round), [...restore, '--target', target]),
    forget: (round) => rmSync(join(lab.s3.root, lab.s3.access.bucket, name(round)), { recursive: true }),
  };
};

const runBench = async (lab: CopyLab): Promise<BenchResult> => {
  const source = await lab.subvolume('source');
  const sent: number[] = [];
  const ways: readonly Way[] = [ours(lab, source), theirs(lab, source)];
  const seconds: Record<Step, [number[], number[]]> = {
    first: [[], []],
    second: [[], []],
    restore: [[], []],
  };
  const everyNth = Array.from({ length: FILES / EVERY }, (_, n) => n * EVERY);
  const all = Array.from({ length: FILES }, (_, n) => n);
  writeFiles(source, all, { bytesPerFile: BYTES_PER_FILE }, 'first');
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [turn, step] of STEPS.entries()) {
      // they take turns at going first: the machine's caches and pace favour neither
      const order = (round + turn) % 2 === 0 ? [0, 1] : [1, 0];
      if (step === 'second') {
        writeFiles(source, everyNth, { bytesPerFile: BYTES_PER_FILE }, `round ${round}, turn ${turn}`);
      }
      await run('sync', []);
      for (const way of order) {
        const target = step === 'restore' ? await lab.subvolume(`target-${round}-${way}`) : '';
        const before = await ways[way]?.received?.(round);
        const took = await secondsOf(async () => ways[way]?.[step](round, target));
        seconds[step][way as 0 | 1].push(took);
        const after = await ways[way]?.received?.(round);
        if (step === 'second' && before !== undefined && after !== undefined) {
          sent.push((after - before) / (FILES * BYTES_PER_FILE));
        }
        if (step !== 'restore') continue;
        if (treeHash(target) !== treeHash(source)) throw new Error('what was restored is another tree');
        await run('btrfs', ['subvolume', 'delete', target]);
      }
    }
    for (const way of ways) way.forget(round);
  }
  // turn by turn: the two of a turn met the machine at about the same pace
  const ratioOf = (step: Step): number => {
    const [mine, others] = seconds[step];
    return medianOf(mine.map((own, turn) => (others[turn] ?? Number.NaN) / own));
  };
  const lineOf = (name: string, step: Step, limit: string): string => {
    const [mine, others] = seconds[step].map((list) => list.map((s) => s.toFixed(1)).join(', '));
    return `${name}: ${ratioOf(step).toFixed(2)} of plain restic's rate${limit} (mover ${mine} s; restic ${others} s)`;
  };
  const most = Math.max(...sent);
  return {
    lines: [
      lineOf('first sync', 'first', `, at least ${MIN_RATE_RATIO}`),
      lineOf('second sync, 5 % of the files rewritten', 'second', `, at least ${MIN_RATE_RATIO}`),
      `second sync sends ${(most * 100).toFixed(2)} % of the bytes as the store counts them, at most ${MAX_SENT * 100} %`,
      lineOf('restore and verify', 'restore', ''),
    ],
    isWithinLimit:
      ratioOf('first') >= MIN_RATE_RATIO && ratioOf('second') >= MIN_RATE_RATIO && most <= MAX_SENT,
  };
};

/** The bench, see `npm run bench`. */
export const moverBench: Bench = {
  name: 'mover',
  description: `1 GiB in ${FILES} files by the mover and the store's front, against restic straight to the same S3; ${ROUNDS} rounds, each with ${SECOND_SYNCS} second syncs, in turn`,
  run: async () => {
    const lab = await startCopyLab({ diskBytes: 6 * 2 ** 30, byLink: false, bundled: true });
    try {
      return await runBench(lab);
    } finally {
      await lab.stop();
    }
  },
};
