/** A read-only picture of the volume to copy from: a btrfs snapshot, made without privileges beside the volume's files. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Consistency } from '../../api/v1alpha1/volume-replica.ts';
import { execTool } from '../../runtime/host/exec.ts';
import { SNAPSHOT_PREFIX } from './transfer-file.ts';

export interface Picture {
  /** Where to copy from. */
  readonly folder: string;
  readonly consistency: Extract<Consistency, 'FilesystemSnapshot' | 'BestEffort'>;
}

/** Takes a snapshot away; deleting a subvolume needs a capability, emptying a writable one doesn't. */
const remove = async (folder: string): Promise<void> => {
  await execTool('btrfs', ['property', 'set', '-f', folder, 'ro', 'false']).catch(() => undefined);
  rmSync(folder, { recursive: true, force: true });
};

/** Removes every snapshot that movers left in the volume. Only one mover works on a volume at a time. */
export const removeSnapshots = async (volume: string): Promise<void> => {
  for (const name of readdirSync(volume).filter((entry) => entry.startsWith(SNAPSHOT_PREFIX)))
    await remove(join(volume, name));
};

/** Makes the picture: a snapshot where the volume's root is a subvolume, else the live volume itself. */
export const takePicture = async (volume: string, sequence: number): Promise<Picture> => {
  const folder = join(volume, `${SNAPSHOT_PREFIX}${sequence}`);
  try {
    await execTool('btrfs', ['subvolume', 'snapshot', '-r', volume, folder], { timeoutMs: 120_000 });
    return { folder, consistency: 'FilesystemSnapshot' };
  } catch {
    return { folder: volume, consistency: 'BestEffort' };
  }
};
