import type { z } from 'zod';
import { StoredRecord, VolumeId } from './storage-collections.ts';

/**
 * What makes a copy a recovery point: written once, after its snapshot is in the store, at
 * `<tenant>/<volume>/fluvia/commits/<epoch>-<sequence>.json`.
 */
export const CommitRecord = StoredRecord.extend({ volume: VolumeId });
export type CommitRecord = z.infer<typeof CommitRecord>;
