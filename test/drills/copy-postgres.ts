/**
 * The drill "a database copied under writes": PostgreSQL under pgbench on a btrfs subvolume, copied again and again by the
 * mover while it writes. Each recovery point is restored, and the database on it must start, be found sound by pg_amcheck,
 * have all that was committed before the cut, and add up.
 */
import { chownSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CommitRecord } from '../../api/commit-record.ts';
import type { CopyLab } from '../host/copy-lab.ts';
import { run, type RunResult } from '../testbed/exec.ts';
import { waitUntil } from '../testbed/processes.ts';
import { INITDB, POSTGRES_UID, runPostgres, tryPostgres } from '../testbed/postgresql.ts';

export interface PostgresSize {
  readonly points: number;
  /** pgbench's: 100 000 accounts, 15 MB, each. */
  readonly scale: number;
  readonly clients: number;
  /** A copy that takes less doesn't count: a short one hides what a long one shows. */
  readonly minSeconds: number;
}

/** The bar's size, and what `npm test` does. */
export const FULL_POSTGRES: PostgresSize = { points: 20, scale: 20, clients: 4, minSeconds: 30 };
export const REDUCED_POSTGRES: PostgresSize = { points: 2, scale: 1, clients: 2, minSeconds: 0 };

export interface PostgresDrill extends PostgresSize {
  readonly lab: CopyLab;
  readonly report: (line: string) => void;
}

export interface PostgresFigures {
  readonly points: number;
  /** Of the copies that count, in seconds. */
  readonly shortest: number;
  readonly longest: number;
  /** Transactions committed between the first cut and the last. */
  readonly transactions: number;
}

const VOLUME = 'v000000000000db00';
/** How much longer than it must a copy is made to take, by a limit of the store's bandwidth. */
const MARGIN = 1.3;
const PGBENCH_SECONDS = 7200;

const START = ['pg_ctl', '-D', '/data/pg', '-l', '/data/log', '-w', 'start', '-o'] as const;
// little WAL, so that copies are of tables
const SETTINGS = '-c listen_addresses= -c max_wal_size=64MB';

/** The four sums that every transaction of pgbench changes by the same. */
const ADDS_UP = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)
  AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)
  AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)`;
const COMMITTED = 'SELECT count(*) FROM pgbench_history';

const query = (data: string, sql: string): Promise<string> => runPostgres(data, 'psql', '-Atc', sql);
const stop = (data: string, how: 'fast' | 'immediate'): Promise<unknown> =>
  tryPostgres(data, ['pg_ctl', '-D', '/data/pg', '-m', how, '-w', 'stop']);

/**
 * Stops the source, and waits until its process is gone from the table: what is restored names it as its server, and would take one
 * that is dead but not yet reaped for one that runs. Where it is restored for good, that is another machine.
 */
const end = async (source: string): Promise<void> => {
  const [pid = ''] = readFileSync(join(source, 'pg/postmaster.pid'), 'utf8').split('\n');
  await stop(source, 'immediate');
  if (!(await waitUntil(() => !existsSync(`/proc/${pid}`), 30_000)))
    throw new Error(`process ${pid}, PostgreSQL that was stopped, is never reaped`);
};

interface Point {
  readonly sequence: number;
  readonly snapshotID: string;
  readonly treeHash: string;
  /** Transactions that were committed when the copy began. */
  readonly committed: number;
}

const Copied = CommitRecord.pick({ snapshotID: true, treeHash: true, consistency: true, bytesSent: true });

/** Starts a server; throws with what it logged when it doesn't start. */
const start = async (data: string): Promise<void> => {
  const { code, stderr } = await tryPostgres(data, [...START, SETTINGS]);
  if (code === 0) return;
  const log = readFileSync(join(data, 'log'), 'utf8').split('\n').slice(-30).join('\n');
  throw new Error(`PostgreSQL does not start: ${stderr.trim()}\n${log}`);
};

/** Starts what was restored, and judges it. Returns the transactions that it has. */
const judge = async (data: string, point: Point): Promise<number> => {
  await start(data);
  try {
    await runPostgres(data, 'pg_amcheck', '--all', '--install-missing', '--heapallindexed');
    const found = z.coerce.number().parse(await query(data, COMMITTED));
    if (found < point.committed) {
      throw new Error(`copy ${point.sequence} lost ${point.committed - found} committed transactions`);
    }
    if ((await query(data, ADDS_UP)) !== 't') throw new Error(`copy ${point.sequence} doesn't add up`);
    return found;
  } finally {
    await stop(data, 'fast');
  }
};

/** Runs the drill; throws at the first copy that is not a sound database. */
export const runPostgresDrill = async (drill: PostgresDrill): Promise<PostgresFigures> => {
  const { lab, minSeconds, report } = drill;
  const source = await lab.subvolume('database');
  chownSync(source, POSTGRES_UID, POSTGRES_UID);
  await runPostgres(source, ...INITDB);
  await start(source);
  const points: Point[] = [];
  const took: number[] = [];
  try {
    await runPostgres(source, 'pgbench', '--initialize', '--quiet', `--scale=${drill.scale}`);
    const load = ['pgbench', `--client=${drill.clients}`, `--time=${PGBENCH_SECONDS}`, '--no-vacuum'];
    let ended: RunResult | undefined;
    const writers = tryPostgres(source, load).then((result) => (ended = result));
    let parent: string | undefined;
    for (let sequence = 1; points.length < drill.points; sequence += 1) {
      if (ended !== undefined) throw new Error(`pgbench ended: ${ended.stderr}`);
      const committed = z.coerce.number().parse(await query(source, COMMITTED));
      const begun = performance.now();
      const result = await lab.move(source, {
        action: 'backup',
        volume: VOLUME,
        sequence,
        ...(parent === undefined ? {} : { parentSnapshotID: parent }),
      });
      const { snapshotID, treeHash, consistency, bytesSent } = Copied.parse(result);
      if (consistency !== 'FilesystemSnapshot') throw new Error(`a copy from ${consistency}`);
      const seconds = (performance.now() - begun) / 1000;
      parent = snapshotID;
      const counts = seconds >= minSeconds;
      if (counts) {
        points.push({ sequence, snapshotID, treeHash, committed });
        took.push(seconds);
      }
      report(
        `copy ${sequence}: ${seconds.toFixed(1)} s, ${(bytesSent / 2 ** 20).toFixed(1)} MiB sent, cut after ${committed} transactions` +
          (counts ? '' : ': too short to count'),
      );
      if (minSeconds > 0 && (!counts || seconds > minSeconds * 2)) {
        await lab.startFront({ bytesPerSecond: Math.ceil(bytesSent / (minSeconds * MARGIN)) });
      }
    }
    await end(source);
    await writers;
  } finally {
    await stop(source, 'immediate');
  }
  await lab.startFront();
  const found: number[] = [];
  for (const point of points) {
    const { sequence, snapshotID, treeHash } = point;
    const target = await lab.subvolume(`database-${sequence}`);
    await lab.move(target, { action: 'restore', volume: VOLUME, snapshotID, treeHash });
    found.push(await judge(target, point));
    report(`copy ${sequence}: starts, sound, ${found.at(-1)} transactions`);
    await run('btrfs', ['subvolume', 'delete', target]);
  }
  return {
    points: points.length,
    shortest: Math.min(...took),
    longest: Math.max(...took),
    transactions: (found.at(-1) ?? 0) - (found[0] ?? 0),
  };
};

/** The figures, for the end of a run. */
export const postgresTable = ({ points, shortest, longest, transactions }: PostgresFigures): string =>
  [
    `PostgreSQL under pgbench: ${points} copies of ${shortest.toFixed(0)}–${longest.toFixed(0)} s, ${transactions} transactions between them`,
    '  every one restored started, passed pg_amcheck, added up and had all that was committed before its cut',
  ].join('\n');
