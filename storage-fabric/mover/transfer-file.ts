import { z } from 'zod';
import { TRANSFERS } from '../../api/storage-collections.ts';

/** Where a mover finds its order: a Secret volume. Nothing of it is ever in argv or in a log. */
export const TRANSFER_FOLDER = '/etc/fluvia-transfer';
/** Where the volume is mounted. */
export const VOLUME_FOLDER = '/volume';
/** Snapshots of the volume that a mover makes inside it, never copied themselves. */
export const SNAPSHOT_PREFIX = '.fluvia-snapshot-';
/** restic makes no snapshot of nothing: the copy of an empty volume holds this file only, which a restore takes away. */
export const EMPTY_MARK = '.fluvia-empty-volume';

/** The order, `transfer.json` in {@link TRANSFER_FOLDER}; secrets lie beside it in files of their own. */
export const TransferFile = TRANSFERS.schema
  .pick({
    action: true,
    volume: true,
    epoch: true,
    sequence: true,
    snapshotID: true,
    treeHash: true,
    parentSnapshotID: true,
    writerStopped: true,
    keep: true,
    mayBeEmpty: true,
    salvage: true,
    salvageSince: true,
  })
  .extend({
    /** `https://<server name>:<port><path>`, ends in a slash. */
    repository: z.url(),
  });
export type TransferFile = z.infer<typeof TransferFile>;

/** What a mover says at its end, in the container's termination message. */
export const MoverResult = z.union([
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), reason: z.string().max(128), message: z.string().max(1024) }),
]);
export type MoverResult = z.infer<typeof MoverResult>;

/** A line of a mover's output while it works. */
export const MoverProgress = z.object({ done: z.number().min(0), total: z.number().min(0) });
export type MoverProgress = z.infer<typeof MoverProgress>;
