/**
 * PostgreSQL from Debian 13, unpacked into the cache as a whole root of its own (its C library included) and installed
 * nowhere. The image of the demo's database is made from it, and tests run its programs on the host by `chroot`.
 */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { DEBIAN_SUITE, unpackPackages } from './debian.ts';
import { TestbedError } from './errors.ts';
import { run, tryRun, type RunOptions, type RunResult } from './exec.ts';

/** The major version that Debian 13 has. */
const MAJOR = '17';

/** PostgreSQL never runs as root; this user owns its data. */
export const POSTGRES_UID = 999;

// what its programs load, and no perl, no compiler for its queries (llvm): those are most of the packages it depends on
const PACKAGES = [
  `postgresql-${MAJOR}`,
  `postgresql-client-${MAJOR}`,
  'busybox-static',
  'libc-bin',
  'tzdata',
  ...`libaudit1 libc6 libcap-ng0 libcap2 libcom-err2 libgcc-s1 libgssapi-krb5-2 libicu76 libk5crypto3 libkeyutils1
    libkrb5-3 libkrb5support0 libldap2 liblz4-1 liblzma5 libpam0g libpcre2-8-0 libpq5 libreadline8t64 libsasl2-2
    libselinux1 libssl3t64 libstdc++6 libsystemd0 libtinfo6 libuuid1 libxml2 libxslt1.1 libxxhash0 libzstd1 zlib1g`
    .trim()
    .split(/\s+/),
] as const;

const UNUSED = [
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
  'usr/share/lintian',
  `usr/share/postgresql/${MAJOR}/man`,
  `usr/lib/postgresql/${MAJOR}/lib/bitcode`,
  `usr/lib/postgresql/${MAJOR}/lib/llvmjit.so`,
  `usr/lib/postgresql/${MAJOR}/lib/llvmjit_types.bc`,
  `usr/lib/postgresql/${MAJOR}/lib/pgxs`,
] as const;

const recipe = createHash('sha256')
  .update(JSON.stringify([PACKAGES, UNUSED]))
  .digest('hex')
  .slice(0, 8);

/** Links `folder/name` to `target` for each name that isn't there. */
const linkMissing = (folder: string, names: readonly string[], target: (name: string) => string): void => {
  for (const name of names)
    if (!existsSync(join(folder, name))) symlinkSync(target(name), join(folder, name));
};

const completeRoot = async (root: string): Promise<void> => {
  for (const path of UNUSED) rmSync(join(root, path), { recursive: true, force: true });
  // Debian's /bin and the like are links that another package makes
  linkMissing(root, ['bin', 'sbin', 'lib', 'lib64'], (name) => `usr/${name}`);
  const bin = join(root, 'usr/bin');
  linkMissing(bin, readdirSync(join(root, `usr/lib/postgresql/${MAJOR}/bin`)), (name) =>
    join(`../lib/postgresql/${MAJOR}/bin`, name),
  );
  const applets = (await run(join(bin, 'busybox'), ['--list'])).split('\n').filter(Boolean);
  linkMissing(bin, applets, () => 'busybox');
  for (const folder of ['data', 'dev', 'proc', 'tmp', 'etc', 'run', 'var/run', 'root'])
    mkdirSync(join(root, folder), { recursive: true });
  for (const folder of ['tmp', 'data']) chmodSync(join(root, folder), 0o1777);
  writeFileSync(
    join(root, 'etc/passwd'),
    `root:x:0:0:root:/root:/bin/sh\npostgres:x:${POSTGRES_UID}:${POSTGRES_UID}:PostgreSQL:/data:/bin/sh\n`,
  );
  writeFileSync(join(root, 'etc/group'), `root:x:0:\npostgres:x:${POSTGRES_UID}:\n`);
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n');
};

/** The folder with the root, from the cache or made now: PostgreSQL with its contrib modules, busybox, `/data`. */
export const ensurePostgres = async (report: (line: string) => void = () => undefined): Promise<string> => {
  const folder = await cached(
    `postgresql-${DEBIAN_SUITE}-${MAJOR}-${recipe}-${process.arch}`,
    async (draft) => {
      report(`unpacking PostgreSQL ${MAJOR} of Debian ${DEBIAN_SUITE} (once)`);
      const root = join(draft, 'root');
      const failure = await unpackPackages(draft, root, PACKAGES);
      if (failure !== undefined) {
        throw new TestbedError(
          `PostgreSQL ${MAJOR} can't be had from Debian ${DEBIAN_SUITE}: ${failure}`,
          'Give the machine a way to deb.debian.org; it needs apt-get and dpkg.',
        );
      }
      await completeRoot(root);
      await run('chroot', [root, 'postgres', '--version']);
    },
    report,
  );
  return join(folder, 'root');
};

/** Arguments of `initdb`: what the database's image uses, too. Its socket lies in the data's folder. */
export const INITDB = [
  'initdb',
  '--pgdata=/data/pg',
  '--username=postgres',
  '--auth=trust',
  '--no-locale',
  '--encoding=UTF8',
  '--data-checksums',
  '--set=unix_socket_directories=/data',
] as const;

/**
 * Runs one of PostgreSQL's programs on the host as {@link POSTGRES_UID}, inside its root, where the folder `data` is `/data`:
 * `tryPostgres(folder, ['pg_ctl', '-D', '/data/pg', '-l', '/data/log', '-w', 'start'])`. A server that is started so lives on
 * in a mount namespace of its own, and holds `data` until it is stopped; give it a log (`-l`), else this waits for its end.
 */
export const tryPostgres = async (
  data: string,
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> => {
  const root = await ensurePostgres();
  const script =
    'set -e; root=$1 data=$2; shift 2; mount --bind "$data" "$root/data"; mount --rbind /dev "$root/dev"; ' +
    `exec chroot --userspec=${POSTGRES_UID}:${POSTGRES_UID} "$root" "$@"`;
  const env = { PGHOST: '/data', PGUSER: 'postgres', PGDATABASE: 'postgres', ...options.env };
  return tryRun('unshare', ['--mount', 'sh', '-c', script, 'sh', root, data, ...command], {
    ...options,
    env,
  });
};

/** The same; throws when the program fails, else returns what it printed, without blanks around it. */
export const runPostgres = async (data: string, ...command: readonly string[]): Promise<string> => {
  const { code, stdout, stderr } = await tryPostgres(data, command);
  if (code !== 0) throw new Error(`${command[0] ?? ''} exited ${code}: ${stderr.trim() || stdout.trim()}`);
  return stdout.trim();
};
