/** A node's disk for volumes: a btrfs image, mounted by the node's process 1 in its own mount namespace. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run, tryRun } from './exec.ts';
import type { Journal } from './journal.ts';
import { waitUntil } from './processes.ts';

/** Sparse: takes what is written. */
const SIZE = '6G';

/** Makes the image of a node that has none; `node-init.sh` mounts it with a loop device that goes with the mount. */
export const makeVolumesImage = async (journal: Journal, nodeFolder: string): Promise<void> => {
  const image = join(nodeFolder, 'state', 'volumes.img');
  mkdirSync(join(nodeFolder, 'state'), { recursive: true });
  journal.add({ kind: 'loop', path: image });
  if (existsSync(image)) return;
  await run('truncate', ['-s', SIZE, `${image}.part`]);
  await run('mkfs.btrfs', ['-q', '-f', `${image}.part`]);
  await run('mv', [`${image}.part`, image]);
};

const devicesOf = async (image: string): Promise<readonly string[]> => {
  if (!existsSync(image)) return [];
  const { stdout } = await tryRun('losetup', ['--noheadings', '--output', 'NAME', '--associated', image]);
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
};

/** Whether no loop device holds the image any more; the kernel lets go a moment after the last mount went. */
export const removeLoop = async (image: string): Promise<boolean> => {
  for (const device of await devicesOf(image)) await tryRun('losetup', ['--detach', device]);
  return waitUntil(async () => (await devicesOf(image)).length === 0, 5000, 100);
};
