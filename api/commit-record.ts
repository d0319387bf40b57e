import type { z } from 'zod';
import { VolumeId } from './storage-collections.ts';
import { RecoveryPoint } from './v1alpha1/volume-replica.ts';

/**
 * What makes a copy a recovery point: written once, after its snapshot is in the store, at
 * `<tenant>/<volume>/fluvia/commits/<epoch>-<sequence>.json`.
 */
export const CommitRecord = RecoveryPoint.omit({ peer: true }).extend({ volume: VolumeId });
export type CommitRecord = z.infer<typeof CommitRecord>;
