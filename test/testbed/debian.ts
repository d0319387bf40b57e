/** Packages of one Debian suite, fetched and unpacked without being installed, whatever Debian this machine has. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryRun } from './exec.ts';

/** Debian 13, for what must be newer than the machine's own, or the same on every machine. */
export const DEBIAN_SUITE = 'trixie';

const SOURCES = `Types: deb
URIs: http://deb.debian.org/debian
Suites: ${DEBIAN_SUITE}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`;

/**
 * Unpacks packages into `root`, which is made; `draft` is a folder for what is fetched on the way and is clean again
 * afterwards. Returns apt's or dpkg's last words when it failed, else undefined.
 */
export const unpackPackages = async (
  draft: string,
  root: string,
  packages: readonly string[],
): Promise<string | undefined> => {
  const apt = join(draft, 'apt');
  for (const folder of ['lists/partial', 'cache/archives/partial', 'debs'])
    mkdirSync(join(apt, folder), { recursive: true });
  writeFileSync(join(apt, 'debian.sources'), SOURCES);
  writeFileSync(join(apt, 'status'), '');
  // lists, cache and sources of its own: the machine's are neither read nor changed
  const options = [
    `Dir::Etc::SourceList=${apt}/debian.sources`,
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
  const debs = join(apt, 'debs');
  const lastWords = (stderr: string): string => stderr.trim().split('\n').at(-1) ?? '';
  try {
    for (const args of [
      ['update', '-q'],
      ['download', '-q', ...packages],
    ]) {
      const { code, stderr } = await tryRun('apt-get', [...options, ...args], { cwd: debs });
      if (code !== 0) return lastWords(stderr);
    }
    mkdirSync(root, { recursive: true });
    for (const file of readdirSync(debs).sort()) {
      const { code, stderr } = await tryRun('dpkg', ['-x', join(debs, file), root]);
      if (code !== 0) return lastWords(stderr);
    }
    return undefined;
  } finally {
    rmSync(apt, { recursive: true, force: true });
  }
};
