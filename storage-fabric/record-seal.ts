/**
 * The seal of a commit record: only who has the volume's key, which home gives to its movers and to nobody else, can make one.
 * Without it a store could name copies that never were, or an old one under a new number, and home would restore it.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { CommitRecord } from '../api/commit-record.ts';

/** HMAC-SHA256, as hex, over all that a record says, with a key that is derived (HKDF, RFC 5869) from the volume's. */
export const recordSeal = (volumeKey: string, record: Omit<CommitRecord, 'seal'>): string => {
  const {
    volume,
    epoch,
    sequence,
    snapshotID,
    treeHash,
    consistency,
    cutAt,
    bytesScanned,
    bytesSent,
    salvage,
  } = record;
  const said = [volume, epoch, sequence, snapshotID, treeHash, consistency, cutAt, bytesScanned, bytesSent];
  const key = Buffer.from(hkdfSync('sha256', volumeKey.trim(), '', 'fluvia commit record', 32));
  return createHmac('sha256', key)
    .update(JSON.stringify([...said, salvage === true]))
    .digest('hex');
};

/** Whether a record is one that a mover of this volume wrote, as it wrote it. */
export const isSealed = (volumeKey: string, { seal, ...record }: CommitRecord): boolean =>
  seal !== undefined &&
  timingSafeEqual(Buffer.from(seal, 'hex'), Buffer.from(recordSeal(volumeKey, record), 'hex'));
