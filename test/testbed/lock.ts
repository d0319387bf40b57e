/** A lock between processes of one machine: a file that names its holder. A dead holder's lock is broken. */
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TestbedError } from './errors.ts';
import { identify, isAlive, sleep, type ProcessId } from './processes.ts';

const holderOf = (path: string): ProcessId | 'gone' | 'unreadable' => {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProcessId;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : 'unreadable';
  }
};

let counter = 0;

/** Takes the lock if it is free or its holder is dead. The lock file appears with its content (a hard link), never empty. */
const tryTake = (path: string): boolean => {
  const draft = `${path}.${process.pid}.${counter++}`;
  const write = (): void => writeFileSync(draft, JSON.stringify(identify(process.pid)));
  mkdirSync(dirname(path), { recursive: true });
  try {
    try {
      write();
      linkSync(draft, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return false; // its folder went away with another holder; made again by the next try
      if (code !== 'EEXIST') throw error;
    }
    const holder = holderOf(path);
    if (holder === 'gone' || (typeof holder === 'object' && isAlive(holder))) return false;
    // move it aside rather than delete it: of several that judged it dead, only one moves the dead one
    const aside = `${draft}.dead`;
    renameSync(path, aside);
    const moved = holderOf(aside);
    if (typeof moved === 'object' && isAlive(moved)) {
      try {
        linkSync(aside, path);
      } catch {
        // somebody took the free place; the one moved aside will notice no harm, as its section is idempotent
      }
    }
    rmSync(aside, { force: true });
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
};

/**
 * Runs `work` while holding the lock at `path`. Waits for a living holder, calling `onWait` once; throws after
 * `withinMs`.
 */
export const withLock = async <T>(
  path: string,
  work: () => Promise<T>,
  options: { readonly withinMs?: number; readonly onWait?: (pid: number) => void } = {},
): Promise<T> => {
  const end = Date.now() + (options.withinMs ?? 30 * 60_000);
  let told = false;
  while (!tryTake(path)) {
    const holder = holderOf(path);
    if (typeof holder === 'object' && isAlive(holder)) {
      if (!told) options.onWait?.(holder.pid);
      told = true;
      if (Date.now() > end) {
        throw new TestbedError(
          `process ${holder.pid} has held ${path} for too long`,
          `Wait for it, or end process ${holder.pid}.`,
        );
      }
      await sleep(100);
    } else {
      await sleep(5);
    }
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
};

/** Removes what processes left in a folder that were killed in the middle of taking a lock. */
export const sweepLockDrafts = (folder: string): void => {
  for (const name of readdirSync(folder)) {
    const pid = /lock\.(\d+)\.\d+(\.dead)?$/.exec(name)?.[1];
    if (pid !== undefined && identify(Number(pid)) === undefined) rmSync(join(folder, name), { force: true });
  }
};
