/** The images of the testbed itself, made without a registry from this folder's sources and the host's programs. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeOciArchive } from '../../deploy/image/oci.ts';
import { cached } from '../testbed/cache.ts';
import { run } from '../testbed/exec.ts';
import { ensurePackages } from '../testbed/packages.ts';
import { ensurePostgres, POSTGRES_UID } from '../testbed/postgresql.ts';
import { ensureTool } from '../testbed/tools.ts';
import { compileStatic, programPath, stageProgram, stampOf } from './stage.ts';

const here = dirname(fileURLToPath(import.meta.url));
const source = (file: string): string => join(here, file);

interface ImageRecipe {
  readonly entrypoint: readonly string[];
  readonly cmd?: readonly string[];
  /** Default root. */
  readonly user?: string;
  /** Everything that the image's bytes depend on, as text; read without building anything. */
  readonly inputs: () => Promise<readonly string[]>;
  readonly stage: (root: string) => Promise<void>;
}

const text = (file: string): string => readFileSync(source(file), 'utf8');

/** busybox and a link for each of its commands. */
const stageBusybox = async (root: string, without: readonly string[] = []): Promise<void> => {
  const busybox = programPath('busybox');
  await stageProgram(root, busybox);
  const applets = (await run(busybox, ['--list']))
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox' && !without.includes(name));
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet));
};

/** Users, host names and folders that programs expect. */
const stageEtc = (root: string): void => {
  for (const folder of ['etc', 'tmp', 'var', 'run', 'root'])
    mkdirSync(join(root, folder), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n');
};

// busybox's own ip and nft-less sh would win over the real ones: its shell prefers its applets to PATH
const REAL_TOOLS = ['ip', 'nft', 'curl'] as const;

/** Every image by its short name; its full name is `fluvia.local/<short>:1`. */
const RECIPES = {
  pause: {
    entrypoint: ['/pause'],
    inputs: async () => [text('pause.c')],
    stage: (root) => compileStatic(source('pause.c'), join(root, 'pause')),
  },
  coredns: {
    entrypoint: ['/coredns'],
    inputs: async () => [(await ensureTool('coredns')).dir],
    stage: async (root) => stageProgram(root, (await ensureTool('coredns')).files.coredns ?? '', '.'),
  },
  busybox: {
    entrypoint: [],
    cmd: ['/bin/sh'],
    inputs: async () => [stampOf(programPath('busybox'))],
    stage: async (root) => {
      await stageBusybox(root);
      stageEtc(root);
    },
  },
  web: {
    entrypoint: ['/web'],
    inputs: async () => [text('web.c'), stampOf(programPath('busybox'))],
    // with a shell, as most images have: `kubectl exec` is to show something
    stage: async (root) => {
      await stageBusybox(root);
      stageEtc(root);
      await compileStatic(source('web.c'), join(root, 'web'), ['-pthread']);
    },
  },
  tools: {
    entrypoint: [],
    cmd: ['/bin/sh'],
    inputs: async () => ['busybox', 'dash', ...REAL_TOOLS].map((name) => stampOf(programPath(name))),
    stage: async (root) => {
      await stageBusybox(root, ['sh', ...REAL_TOOLS]);
      await stageProgram(root, programPath('dash'), 'bin', 'sh');
      for (const name of REAL_TOOLS) await stageProgram(root, programPath(name));
      stageEtc(root);
    },
  },
  'local-path': {
    entrypoint: ['/local-path-provisioner'],
    inputs: async () => [(await ensureTool('local-path')).dir],
    stage: async (root) => {
      const { files } = await ensureTool('local-path');
      await stageProgram(root, files['local-path-provisioner'] ?? '', '.');
      stageEtc(root);
    },
  },
  // what makes a volume: a shell and btrfs
  'volume-helper': {
    entrypoint: [],
    cmd: ['/bin/sh'],
    inputs: async () => ['busybox', 'dash', 'btrfs'].map((name) => stampOf(programPath(name))),
    stage: async (root) => {
      await stageBusybox(root, ['sh']);
      await stageProgram(root, programPath('dash'), 'bin', 'sh');
      await stageProgram(root, programPath('btrfs'));
      stageEtc(root);
    },
  },
  versitygw: {
    entrypoint: ['/versitygw'],
    inputs: async () => [(await ensureTool('versitygw')).dir],
    stage: async (root) => {
      await stageProgram(root, (await ensureTool('versitygw')).files.versitygw ?? '', '.');
      stageEtc(root);
    },
  },
  postgresql: {
    entrypoint: ['/bin/database'],
    user: `${POSTGRES_UID}:${POSTGRES_UID}`,
    inputs: async () => [await ensurePostgres(), text('database.sh')],
    stage: async (root) => {
      await run('cp', ['-a', `${await ensurePostgres()}/.`, root]);
      copyFileSync(source('database.sh'), join(root, 'usr/bin/database'));
      chmodSync(join(root, 'usr/bin/database'), 0o755);
    },
  },
} as const satisfies Record<string, ImageRecipe>;

export type ImageName = keyof typeof RECIPES;

/** Images that only a testbed with volumes needs. */
export const STORAGE_IMAGE_NAMES = [
  'local-path',
  'volume-helper',
  'versitygw',
] as const satisfies readonly ImageName[];

/** Images that every testbed has: those with volumes have more, and `postgresql` is loaded by who runs it. */
export const IMAGE_NAMES = (Object.keys(RECIPES) as readonly ImageName[]).filter(
  (name) => name !== 'postgresql' && !(STORAGE_IMAGE_NAMES as readonly ImageName[]).includes(name),
);

/** Full name of an image, for pod specs. */
export const imageReference = (name: ImageName): string => `fluvia.local/${name}:1`;

/** The OCI archive of an image, from the cache or made now. */
export const ensureImage = async (
  name: ImageName,
  report: (line: string) => void = () => undefined,
): Promise<string> => {
  const recipe: ImageRecipe = RECIPES[name];
  await ensurePackages(['buildImages'], report);
  const hash = createHash('sha256');
  for (const part of [...(await recipe.inputs()), text('images.ts'), text('stage.ts')])
    hash.update(`${part}\0`);
  const folder = await cached(
    `image-${name}-${hash.digest('hex').slice(0, 12)}`,
    async (draft) => {
      const root = join(draft, 'root');
      mkdirSync(root);
      await recipe.stage(root);
      await writeOciArchive({
        name: imageReference(name),
        root,
        out: join(draft, 'image.tar'),
        entrypoint: recipe.entrypoint,
        ...(recipe.cmd === undefined ? {} : { cmd: recipe.cmd }),
        ...(recipe.user === undefined ? {} : { user: recipe.user }),
      });
      rmSync(root, { recursive: true });
    },
    report,
  );
  return join(folder, 'image.tar');
};
