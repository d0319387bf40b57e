import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensurePostgres, INITDB, POSTGRES_UID, runPostgres, tryPostgres } from '../testbed/postgresql.ts';

/** PostgreSQL's programs on the host, as tests of copies use them: what a restored folder is judged by. */
let data: string;

const postgres = (...command: readonly string[]): Promise<string> => runPostgres(data, ...command);

beforeAll(async () => {
  await ensurePostgres();
  data = mkdtempSync(join(tmpdir(), 'fluvia-postgresql-'));
  chownSync(data, POSTGRES_UID, POSTGRES_UID);
}, 300_000);

afterAll(async () => {
  await tryPostgres(data, ['pg_ctl', '-D', '/data/pg', '-m', 'immediate', 'stop']);
  rmSync(data, { recursive: true });
});

it('makes a database, takes rows, and finds it sound, or says that it is not', async () => {
  await postgres(...INITDB);
  await postgres('pg_ctl', '-D', '/data/pg', '-l', '/data/log', '-o', '-c listen_addresses=', '-w', 'start');
  await postgres('psql', '-c', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS n');
  expect(await postgres('psql', '-Atc', 'SELECT count(*) FROM t')).toBe('1000');
  await postgres('pg_amcheck', '--all', '--install-missing', '--heapallindexed', '--exclude-relation=t');
  const path = await postgres('psql', '-Atc', "SELECT pg_relation_filepath('t')");
  await postgres('pg_ctl', '-D', '/data/pg', '-m', 'fast', '-w', 'stop');
  // a byte of a row's page turns over while nobody looks
  await postgres('sh', '-c', `printf X | dd of=/data/pg/${path} bs=1 seek=8000 conv=notrunc`);
  await postgres('pg_ctl', '-D', '/data/pg', '-l', '/data/log', '-o', '-c listen_addresses=', '-w', 'start');
  await expect(postgres('pg_amcheck', 'postgres', '--table=t')).rejects.toThrow(/exited/);
});
