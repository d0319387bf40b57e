/** The programs as ESM bundles: one entry file each, with what is loaded lazily in chunks of its own. */
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const ROOT = join(import.meta.dirname, '../..');

/** Program → the module that it begins with. */
export const PROGRAMS = {
  'fluviad-controller': 'daemon/controller.ts',
  'fluviad-agent': 'daemon/agent.ts',
  'fluviad-fence-wait': 'daemon/fence-wait.ts',
  'fluviad-store': 'daemon/store.ts',
  'fluviad-mover': 'daemon/mover.ts',
  fluviactl: 'cli/main.ts',
} as const;

/** CommonJS packages inside an ESM bundle still call `require` for Node's own modules. */
const BANNER =
  "import { createRequire as fluviaRequire } from 'node:module'; const require = fluviaRequire(import.meta.url);";

/** Writes `<out>/<program>.mjs` and its chunks, beginning with the module `entry` (from the repository's root). */
export const bundleProgram = async (out: string, program: string, entry: string): Promise<void> => {
  await build({
    absWorkingDir: ROOT,
    entryPoints: { [program]: entry },
    outdir: out,
    outExtension: { '.js': '.mjs' },
    // one set of chunks per program: what only the controller needs never reaches an agent
    chunkNames: `${program}-[name]-[hash]`,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    // ESM first: a CommonJS package behind a dynamic import would lose its named exports
    mainFields: ['module', 'main'],
    target: 'node24',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    banner: { js: BANNER },
    logLevel: 'silent',
  });
};

/**
 * Writes all programs, and the `.proto` files that are read at run time. The bytes depend on the sources and the lockfile
 * only. Rejects with esbuild's messages when a module can't be resolved.
 */
export const bundle = async (
  out: string,
  programs: readonly (keyof typeof PROGRAMS)[] = Object.keys(PROGRAMS) as (keyof typeof PROGRAMS)[],
): Promise<void> => {
  for (const program of programs) await bundleProgram(out, program, PROGRAMS[program]);
  mkdirSync(join(out, 'proto'), { recursive: true });
  for (const name of readdirSync(join(ROOT, 'proto')).filter((file) => file.endsWith('.proto'))) {
    copyFileSync(join(ROOT, 'proto', name), join(out, 'proto', name));
  }
};
