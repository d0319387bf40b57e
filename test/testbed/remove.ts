/** Taking a testbed away, from its journal alone: works after a success, a failure, and a SIGKILL of `up`. */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { removeCgroups } from './cgroups.ts';
import { releaseSlots } from './claims.ts';
import { TestbedError } from './errors.ts';
import { Journal, removalOrder, type Resource } from './journal.ts';
import { sweepLockDrafts } from './lock.ts';
import { removeLink, removeNetns } from './network.ts';
import { bootId, endTree } from './node.ts';
import { testbedsRoot } from './paths.ts';
import { removeLoop } from './volumes.ts';
import { stateFolder } from './state.ts';

const ofKind = <K extends Resource['kind']>(
  resources: readonly Resource[],
  kind: K,
): readonly Extract<Resource, { kind: K }>[] =>
  resources.filter((resource): resource is Extract<Resource, { kind: K }> => resource.kind === kind);

const removeResources = async (
  resources: readonly Resource[],
  folder: string,
): Promise<readonly string[]> => {
  const boot = bootId();
  const left: string[] = [];
  const ended = await Promise.all(
    ofKind(resources, 'process')
      .filter((process) => process.bootId === boot)
      .map(async (process) => ((await endTree(process, 0)) ? [] : [`process ${process.pid}`])),
  );
  left.push(...ended.flat());
  left.push(
    ...(await removeCgroups(ofKind(resources, 'cgroup').map(({ path }) => path))).map(
      (path) => `cgroup ${path}`,
    ),
  );
  for (const { path } of ofKind(resources, 'loop')) {
    if (!(await removeLoop(path))) left.push(`loop device of ${path}`);
  }
  for (const { name } of ofKind(resources, 'link')) {
    await removeLink(name);
    if (existsSync(`/sys/class/net/${name}`)) left.push(`link ${name}`);
  }
  await Promise.all(ofKind(resources, 'netns').map(({ name }) => removeNetns(name)));
  left.push(
    ...ofKind(resources, 'netns')
      .filter(({ name }) => existsSync(`/run/netns/${name}`))
      .map(({ name }) => `netns ${name}`),
  );
  if (left.length === 0)
    await releaseSlots(
      ofKind(resources, 'claim').map(({ path }) => path),
      folder,
    );
  return left;
};

/** Removes what was left by processes that were killed in the middle of taking a testbed's lock. */
export const tidyRoots = (): void => {
  const root = testbedsRoot();
  if (existsSync(root)) sweepLockDrafts(root);
};

/** Removes the empty folders above the testbeds, after the last one's lock is gone too. */
export const removeEmptyRoots = (): void => {
  for (const folder of [testbedsRoot(), dirname(testbedsRoot())]) {
    try {
      rmdirSync(folder);
    } catch {
      return; // another testbed lives there, or it is gone
    }
  }
};

/** Takes everything away that a testbed's journal names, then its folder. Call it under the testbed's lock. */
export const removeTestbed = async (name: string): Promise<void> => {
  const folder = stateFolder(name);
  const resources = removalOrder(new Journal(join(folder, 'journal.jsonl')).read());
  const left = await removeResources(resources, folder);
  if (left.length > 0) {
    throw new TestbedError(
      `testbed ${name} is not gone: ${left.join(', ')}`,
      'Run `npm run testbed -- down` again; its inventory is kept.',
    );
  }
  // the journal goes last: while there is a folder, there is an inventory
  for (const entry of existsSync(folder) ? readdirSync(folder) : []) {
    if (entry !== 'journal.jsonl')
      rmSync(join(folder, entry), { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
  rmSync(folder, { recursive: true, force: true });
  tidyRoots();
};
