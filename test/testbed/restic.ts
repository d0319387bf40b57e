/**
 * restic from Debian 13, unpacked into the cache and installed nowhere: Debian 12's is too old for what the movers need
 * (`restore --delete --overwrite if-changed`, `--skip-if-unchanged`, `--retry-lock`).
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { TestbedError } from './errors.ts';
import { tryRun } from './exec.ts';
import { findProgram } from './packages.ts';

/** Oldest that will do, and what Debian 13 has. */
const WANTED = { major: 0, minor: 18 } as const;
const SUITE = 'trixie';

const SOURCES = `Types: deb
URIs: http://deb.debian.org/debian
Suites: ${SUITE}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`;

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
  const apt = join(draft, 'apt');
  for (const folder of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(apt, folder), { recursive: true });
  writeFileSync(join(apt, 'debian13.sources'), SOURCES);
  writeFileSync(join(apt, 'status'), '');
  // lists, cache and sources of its own: the machine's are neither read nor changed
  const options = [
    `Dir::Etc::SourceList=${apt}/debian13.sources`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${apt}/lists`,
    `Dir::Cache=${apt}/cache`,
    `Dir::State::status=${apt}/status`,
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'Acquire::Retries=2',
    // its usual user may not write into this folder
    `APT::Sandbox::User=${process.getuid?.() === 0 ? 'root' : ''}`,
  ].flatMap((option) => ['-o', option]);
  for (const args of [
    ['update', '-q'],
    ['download', '-q', 'restic'],
  ]) {
    const { code, stderr } = await tryRun('apt-get', [...options, ...args], { cwd: draft });
    if (code !== 0) {
      throw new TestbedError(
        `restic ≥ 0.18 can't be had from Debian ${SUITE}: ${stderr.trim().split('\n').at(-1) ?? ''}`,
        'Put a restic of 0.18 or newer into PATH, or give the machine a way to deb.debian.org.',
      );
    }
  }
  const file = readdirSync(draft).find((name) => name.endsWith('.deb')) ?? '';
  await tryRun('dpkg', ['-x', file, 'root'], { cwd: draft });
  renameSync(join(draft, 'root/usr/bin/restic'), join(draft, 'restic'));
  for (const name of ['root', 'apt', file]) rmSync(join(draft, name), { recursive: true, force: true });
  const version = await versionOf(join(draft, 'restic'));
  if (version === undefined || !isNewEnough(version)) {
    throw new TestbedError(
      `Debian ${SUITE} gave restic ${version ?? 'that does not start'}, and 0.18 is needed`,
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
    `restic-${SUITE}-${WANTED.major}.${WANTED.minor}-${process.arch}`,
    download,
    report,
  );
  return join(folder, 'restic');
};
