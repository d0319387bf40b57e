/** Commit records: a copy is a recovery point once its record was written, which happens at most once. */
import { CommitRecord } from '../../api/commit-record.ts';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { objectKey, snapshotsPrefix } from './keys.ts';
import type { ObjectStore } from './object-store.ts';

/** Most bytes of a record. */
export const COMMIT_BYTES = 8192;

const badInput = (message: string): FluviaError =>
  new FluviaError(ERROR_CODES.BAD_INPUT, message, { kind: 'terminal' });

/** Reads a small object whole. Throws NOT_FOUND, or BAD_INPUT when it is larger than `limit`. */
export const readSmall = async (store: ObjectStore, key: string, limit: number): Promise<Buffer> => {
  const { body, size } = await store.get(key);
  if (size > limit) {
    body.destroy();
    throw badInput(`${key} has ${size} bytes, more than ${limit}`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

const snapshotExists = async (store: ObjectStore, prefix: string): Promise<boolean> => {
  for await (const _ of store.list(prefix)) return true;
  return false;
};

/** What a commit is about. */
export interface CommitPlace {
  readonly tenant: string;
  readonly volume: string;
  readonly epoch: number;
  readonly sequence: number;
}

/**
 * Writes a record if there is none; returns whether there was none. The same record again is no error, so that a mover may repeat itself. Throws
 * BAD_INPUT for one that doesn't fit its place, NOT_FOUND when its snapshot isn't in the store, CONFLICT when another
 * record is there.
 */
export const writeCommit = async (store: ObjectStore, place: CommitPlace, body: Buffer): Promise<boolean> => {
  const { tenant, volume, epoch, sequence } = place;
  let json: unknown;
  try {
    json = JSON.parse(body.toString());
  } catch {
    throw badInput('the commit record is not JSON');
  }
  const parsed = CommitRecord.safeParse(json);
  if (!parsed.success)
    throw badInput(`the commit record is malformed: ${parsed.error.issues[0]?.message ?? ''}`);
  const record = parsed.data;
  if (record.volume !== volume || record.epoch !== epoch || record.sequence !== sequence) {
    throw badInput('the commit record names another volume, epoch or sequence than its path');
  }
  if (!(await snapshotExists(store, snapshotsPrefix(tenant, volume, record.snapshotID)))) {
    throw new FluviaError(ERROR_CODES.NOT_FOUND, `snapshot ${record.snapshotID} is not in the store`);
  }
  const key = objectKey({ tenant, volume, target: { kind: 'commit', epoch, sequence } });
  const text = Buffer.from(`${JSON.stringify(record)}\n`);
  if (await store.putSmall(key, text, { ifAbsent: true })) return true;
  if ((await readSmall(store, key, COMMIT_BYTES)).equals(text)) return false;
  throw new FluviaError(ERROR_CODES.CONFLICT, `another commit ${epoch}-${sequence} of ${volume} is there`, {
    kind: 'terminal',
  });
};

/** All records of a volume, in order of epoch and sequence. */
export const listCommits = async (
  store: ObjectStore,
  tenant: string,
  volume: string,
): Promise<readonly CommitRecord[]> => {
  const records: CommitRecord[] = [];
  const prefix = objectKey({ tenant, volume, target: { kind: 'commits' } });
  for await (const { key } of store.list(prefix)) {
    const parsed = CommitRecord.safeParse(JSON.parse((await readSmall(store, key, COMMIT_BYTES)).toString()));
    // never left out: whoever prunes takes away what no record names
    if (!parsed.success) {
      throw new FluviaError(ERROR_CODES.INTERNAL, `the commit record ${key} is not understood`, {
        kind: 'stalled',
        hint: 'was it written by a newer Fluvia? Bring the store to the same version',
      });
    }
    records.push(parsed.data);
  }
  return records.sort((a, b) => a.epoch - b.epoch || a.sequence - b.sequence);
};
