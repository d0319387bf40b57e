/** Images that the nodes of a cluster have beside what their testbed brings: kept, so that a node that was down gets them, too. */
import { constants, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { IMAGE_NAMES, STORAGE_IMAGE_NAMES, type ImageName } from '../images/images.ts';
import { importMissing } from './cluster.ts';
import { TestbedError } from './errors.ts';
import { isRunning, type NodeContext } from './node.ts';
import type { ClusterPlan } from './plan-addresses.ts';

/** What a testbed brings. */
export const imagesOf = (storage: boolean): readonly ImageName[] => [
  ...IMAGE_NAMES,
  ...(storage ? STORAGE_IMAGE_NAMES : []),
];

/** Archives that were loaded into a cluster, oldest first. */
export const loadedImages = (context: NodeContext, cluster: string): readonly string[] => {
  const folder = join(context.clusterFolder(cluster), 'images');
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.tar'))
        .sort()
        .map((name) => join(folder, name))
    : [];
};

/** Imports an OCI archive on the running nodes of a cluster, and keeps it for the others. */
export const loadImage = async (
  context: NodeContext,
  cluster: ClusterPlan,
  archive: string,
): Promise<void> => {
  const source = resolve(archive);
  if (!existsSync(source))
    throw new TestbedError(`there is no file ${source}`, 'Give the path of an OCI archive.');
  const folder = join(context.clusterFolder(cluster.name), 'images');
  mkdirSync(folder, { recursive: true });
  const label = `-${basename(source).replace(/\.tar$/, '')}.tar`;
  const older = readdirSync(folder).filter(
    (name) => /^\d+/.exec(name)?.[0] === name.slice(0, -label.length) && name.endsWith(label),
  );
  const kept = join(folder, `${Date.now()}${label}`);
  // a copy that shares blocks where the file system can: the source may be rebuilt in place
  copyFileSync(source, `${kept}.part`, constants.COPYFILE_FICLONE);
  renameSync(`${kept}.part`, kept);
  try {
    await Promise.all(
      cluster.nodes
        .filter((node) => isRunning(context, node))
        .map((node) => importMissing(context, node, [kept])),
    );
  } catch (error) {
    rmSync(kept, { force: true });
    throw error;
  }
  // what came under the same file name before is not needed by a node that was down either
  for (const name of older) rmSync(join(folder, name), { force: true });
};
