/**
 * restic from Debian 13, unpacked into the cache and installed nowhere: Debian 12's is too old for what the movers need
 * (`restore --delete --overwrite if-changed`, `--skip-if-unchanged`, `--retry-lock`).
 */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { DEBIAN_SUITE, unpackPackages } from './debian.ts';
import { TestbedError } from './errors.ts';
import { tryRun } from './exec.ts';
import { findProgram } from './packages.ts';

/** Oldest that will do, and what Debian 13 has. */
const WANTED = { major: 0, minor: 18 } as const;

const versionOf = async (path: string): Promise<string | undefined> => {
  const { code, stdout } = await tryRun(path, ['version'], { timeoutMs: 10_000 }).catch(() => ({
    code: 1,
    stdout: '',
  }));
  return code === 0 ? /^restic (\d+\.\d+\.\d+)/.exec(stdout)?.[1] : undefined;
};

const isNewEnough = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > WANTED.major || minor >= WANTED.minor;
};

const download = async (draft: string): Promise<void> => {
  const root = join(draft, 'root');
  const failure = await unpackPackages(draft, root, ['restic']);
  if (failure !== undefined) {
    throw new TestbedError(
      `restic ≥ 0.18 can't be had from Debian ${DEBIAN_SUITE}: ${failure}`,
      'Put a restic of 0.18 or newer into PATH, or give the machine a way to deb.debian.org.',
    );
  }
  renameSync(join(root, 'usr/bin/restic'), join(draft, 'restic'));
  rmSync(root, { recursive: true });
  const version = await versionOf(join(draft, 'restic'));
  if (version === undefined || !isNewEnough(version)) {
    throw new TestbedError(
      `Debian ${DEBIAN_SUITE} gave restic ${version ?? 'that does not start'}, and 0.18 is needed`,
      'Put a restic of 0.18 or newer into PATH.',
    );
  }
};

/** Absolute path of a restic ≥ 0.18: the machine's if it is new enough, else Debian 13's from the cache. */
export const ensureRestic = async (report: (line: string) => void = () => undefined): Promise<string> => {
  const own = findProgram('restic');
  const version = own === undefined ? undefined : await versionOf(own);
  if (own !== undefined && version !== undefined && isNewEnough(version)) return own;
  const folder = await cached(
    `restic-${DEBIAN_SUITE}-${WANTED.major}.${WANTED.minor}-${process.arch}`,
    download,
    report,
  );
  return join(folder, 'restic');
};
