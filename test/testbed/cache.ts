/** The cache of finished things: each in a folder named by its recipe, made under a lock and renamed into place whole. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.ts';
import { cacheRoot } from './paths.ts';
import { identify } from './processes.ts';

/** Removes drafts whose maker died. */
const sweepDrafts = (root: string): void => {
  for (const name of readdirSync(root)) {
    const pid = /^\.draft-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && identify(Number(pid)) === undefined)
      rmSync(join(root, name), { recursive: true, force: true });
  }
};

/**
 * The folder `<cache>/<key>`, made by `make` if it isn't there. Two processes that want the same at once make it
 * once; one that dies leaves nothing that looks finished.
 */
export const cached = async (
  key: string,
  make: (draft: string) => Promise<void>,
  report: (line: string) => void,
): Promise<string> => {
  const root = cacheRoot();
  const final = join(root, key);
  if (existsSync(final)) return final;
  mkdirSync(root, { recursive: true });
  await withLock(
    `${final}.lock`,
    async () => {
      if (existsSync(final)) return;
      sweepDrafts(root);
      const draft = join(root, `.draft-${process.pid}-${key}`);
      rmSync(draft, { recursive: true, force: true });
      mkdirSync(draft);
      try {
        await make(draft);
        renameSync(draft, final);
      } finally {
        rmSync(draft, { recursive: true, force: true });
      }
    },
    { onWait: (pid) => report(`waiting for process ${pid}, which is making ${key}`) },
  );
  return final;
};
