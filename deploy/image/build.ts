/**
 * `npm run image`: the Fluvia image as an OCI archive, without a registry. `--root DIR` also leaves the staged root, which
 * `deploy/image/Dockerfile` copies.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cached } from '../../test/testbed/cache.ts';
import { ensurePackages } from '../../test/testbed/packages.ts';
import { bundle } from './bundle.ts';
import { writeOciArchive } from './oci.ts';
import { stageInputs, stageRoot } from './stage.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The image of this checkout. */
export interface FluviaImage {
  /** Full name with a tag that names its content, so that an upgrade is seen as one. */
  readonly reference: string;
  /** Path of the OCI archive. */
  readonly archive: string;
}

/** Version of this checkout, from package.json. */
export const fluviaVersion = (): string =>
  (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;

const hashOf = (folder: string, inputs: readonly string[]): string => {
  const hash = createHash('sha256');
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  for (const path of files.map((f) => join(f.parentPath, f.name)).sort()) {
    hash
      .update(`${path.slice(folder.length)}\0`)
      .update(readFileSync(path))
      .update('\0');
  }
  for (const input of inputs) {
    hash.update(`${input}\0`);
  }
  return hash.digest('hex').slice(0, 12);
};

/** The recipe's own files count as inputs, too. */
const recipe = (): readonly string[] =>
  [
    'deploy/image/stage.ts',
    'deploy/image/oci.ts',
    'deploy/image/tar.ts',
    'deploy/image/fluviad.sh',
    'network-fabric/agent/wireguard-go.sh',
  ].map((file) => readFileSync(join(ROOT, file), 'utf8'));

const withBundles = async <T>(work: (bundles: string) => Promise<T>): Promise<T> => {
  const bundles = mkdtempSync(join(tmpdir(), 'fluvia-bundles-'));
  try {
    await bundle(bundles);
    return await work(bundles);
  } finally {
    rmSync(bundles, { recursive: true, force: true });
  }
};

/**
 * The image of this checkout, from the cache if nothing that it depends on has changed (about a second), else made now.
 * `report` gets progress lines. Throws when a program of the host is missing and can't be installed.
 */
export const ensureFluviaImage = async (
  report: (line: string) => void = () => undefined,
): Promise<FluviaImage> => {
  await ensurePackages(['buildFluvia', 'buildImages'], report);
  return withBundles(async (bundles) => {
    const hash = hashOf(bundles, [...(await stageInputs()), ...recipe()]);
    const reference = `fluvia.local/fluvia:${fluviaVersion()}-${hash.slice(0, 8)}`;
    const folder = await cached(
      `image-fluvia-${hash}`,
      async (draft) => {
        const root = join(draft, 'root');
        mkdirSync(root);
        await stageRoot(root, bundles);
        await writeOciArchive({
          name: reference,
          root,
          out: join(draft, 'image.tar'),
          entrypoint: ['/bin/fluviad'],
        });
        rmSync(root, { recursive: true });
      },
      report,
    );
    return { reference, archive: join(folder, 'image.tar') };
  });
};

/** Stages the image's root into an empty or new folder, for `docker build`. */
export const stageFluviaRoot = async (root: string): Promise<void> => {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  await withBundles((bundles) => stageRoot(root, bundles));
};

const main = async (): Promise<void> => {
  const { values } = parseArgs({ options: { root: { type: 'string' }, out: { type: 'string' } } });
  const say = (line: string): void => console.log(line);
  const { reference, archive } = await ensureFluviaImage(say);
  const out = values.out ?? join(ROOT, 'dist', `fluvia-${fluviaVersion()}.tar`);
  mkdirSync(join(out, '..'), { recursive: true });
  copyFileSync(archive, out);
  say(`${reference}\n${out}`);
  const { root } = values;
  if (root !== undefined) {
    await stageFluviaRoot(root);
    say(root);
  }
};

if (import.meta.main) {
  await main();
}
