/** What a mover does: copy, restore, look after the repository. Each is safe to be killed anywhere and begun anew. */
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommitRecord } from '../../api/commit-record.ts';
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';
import { keptPoints } from '../../api/recovery-points.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { FrontUsage } from '../store/front-client.ts';
import { recordSeal } from '../record-seal.ts';
import { removeSnapshots, takePicture } from './filesystem-snapshot.ts';
import { backupArguments, parseRootTag, resticTime, restoreArguments, rootTag } from './plan-restic.ts';
import type { Repository } from './repository.ts';
import type { Restic } from './restic.ts';
import type { StoreClient } from './store-client.ts';
import { EMPTY_MARK, type MoverProgress, type TransferFile } from './transfer-file.ts';

export interface MoverWorld {
  readonly transfer: TransferFile;
  readonly volume: string;
  /** The volume's key, a secret. */
  readonly key: string;
  /** A folder of the mover's own. */
  readonly work: string;
  readonly restic: Restic;
  readonly repository: Repository;
  readonly store: StoreClient;
  /** What the front had counted for the volume when the mover began; rejects when the store can't be used. */
  readonly begun: Promise<FrontUsage>;
  readonly clock: Clock;
  readonly onProgress: (progress: MoverProgress) => void;
}

/** What home learns of a copy. */
export type CopyResult = Omit<CommitRecord, 'volume' | 'epoch' | 'sequence' | 'seal'>;

const bad = (message: string): FluviaError =>
  new FluviaError(ERROR_CODES.BAD_INPUT, message, { kind: 'terminal' });

/** What a filesystem has before anybody wrote to it (ext4). */
const MADE_BY_MKFS: ReadonlySet<string> = new Set(['lost+found']);

/** What restic copies in place of an empty volume. */
const emptyFolder = (work: string): string => {
  const folder = join(work, 'empty');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, EMPTY_MARK), '');
  return folder;
};

/** Copies the volume and writes the commit record; without the record nothing counts. */
export const backup = async (world: MoverWorld): Promise<CopyResult> => {
  const { transfer, volume, restic, repository, store, clock } = world;
  await removeSnapshots(volume);
  const { mode, uid, gid } = statSync(volume);
  const cut = clock.now();
  const picture = await takePicture(volume, transfer.sequence);
  let removal: Promise<void> | undefined;
  try {
    const before = await world.begun;
    const isEmpty = readdirSync(picture.folder).every((name) => MADE_BY_MKFS.has(name));
    if (isEmpty && transfer.mayBeEmpty !== true)
      throw bad(
        'the volume is empty, and its earlier copies are not: if that is right, write something first',
      );
    // a parent says that there is one
    if (transfer.parentSnapshotID === undefined) await repository.ensure();
    const summary = await restic.run(
      backupArguments({
        tag: rootTag({ mode, uid, gid }),
        time: resticTime(cut),
        parent: transfer.parentSnapshotID,
      }),
      { cwd: isEmpty ? emptyFolder(world.work) : picture.folder, onProgress: world.onProgress },
    );
    if (summary.snapshotID === undefined) throw bad('restic ended well but named no snapshot');
    // the picture has served: it goes while the store is asked and told
    removal = removeSnapshots(volume);
    removal.catch(() => undefined);
    const [{ tree }, usage] = await Promise.all([repository.snapshot(summary.snapshotID), store.usage()]);
    const result: CopyResult = {
      snapshotID: summary.snapshotID,
      treeHash: tree,
      consistency: transfer.writerStopped ? 'Stopped' : picture.consistency,
      cutAt: cut.toISOString(),
      bytesScanned: summary.bytes,
      // a front that was started anew in between counts from nought
      bytesSent: Math.max(summary.bytesAdded, usage.received - before.received),
    };
    const { volume: id, epoch, sequence } = transfer;
    const salvage = transfer.salvage === true ? { salvage: true } : {};
    const record = { ...result, ...salvage, volume: id, epoch, sequence };
    await store.writeCommit({ ...record, seal: recordSeal(world.key, record) });
    return result;
  } finally {
    await (removal ?? removeSnapshots(volume));
  }
};

/** Makes the volume equal to a recovery point. Until it ends well the volume is used by nothing. */
export const restore = async (world: MoverWorld): Promise<object> => {
  const { transfer, volume, restic, repository } = world;
  const { snapshotID } = transfer;
  if (snapshotID === undefined) throw bad('a restore names a snapshot');
  await removeSnapshots(volume);
  await world.begun;
  const { tree, tags = [] } = await repository.snapshot(snapshotID);
  if (transfer.treeHash !== undefined && transfer.treeHash !== tree)
    throw bad(`snapshot ${snapshotID} has tree ${tree}, the recovery point ${transfer.treeHash}`);
  await restic.run(restoreArguments(snapshotID, volume), { onProgress: world.onProgress });
  rmSync(join(volume, EMPTY_MARK), { force: true });
  const root = parseRootTag(tags);
  if (root !== undefined) {
    chownSync(volume, root.uid, root.gid);
    chmodSync(volume, root.mode);
  }
  return { snapshotID, treeHash: tree };
};

/**
 * After an unclean end: removes snapshots and locks of dead movers and mends the index; then keeps only the points that
 * `keptPoints` says, and no snapshot in the store that no record names: a mover that died before its record left it.
 */
export const maintain = async (world: MoverWorld): Promise<object> => {
  const { transfer, restic, repository, store, volume } = world;
  await removeSnapshots(volume);
  await world.begun;
  await repository.ensure();
  await restic.text(['unlock', '--remove-all']);
  await restic.text(['repair', 'index']);
  const commits = await store.commits();
  const staying = new Set(keptPoints(commits, transfer.keep ?? commits.length, transfer.salvageSince));
  // the record first: a recovery point that is named must be whole
  for (const commit of commits.filter((one) => !staying.has(one)))
    await store.deleteCommit(commit.epoch, commit.sequence);
  const kept = new Set([...staying].map(({ snapshotID }) => snapshotID));
  const gone = (await restic.snapshots()).filter((id) => !kept.has(id));
  if (gone.length > 0) await restic.text(['forget', ...gone, '--prune']);
  return { forgotten: gone.length };
};
