import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

/** The rules of docs/architecture.md, held by scanning every import. */

const ROOT = join(import.meta.dirname, '..');
const TOP = [
  'api',
  'proto',
  'runtime',
  'peering',
  'network-fabric',
  'storage-fabric',
  'offloading',
  'daemon',
  'cli',
  'deploy',
];

interface Import {
  readonly file: string;
  /** Path from the root for relative imports, else the package or `node:` name. */
  readonly target: string;
  readonly typeOnly: boolean;
}

const sourceFiles = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));

const IMPORT =
  /^(?:import|export)\s+(type\s)?[^;'"]*?(?:from\s+)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/gm;

const importsOf = (file: string): Import[] =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(IMPORT)].map((match) => {
    const name = match[2] ?? match[3] ?? '';
    const target = name.startsWith('.') ? normalize(join(dirname(file), name)) : name;
    return { file, target, typeOnly: match[1] !== undefined };
  });

const existing = new Set(readdirSync(ROOT));
const files = TOP.filter((folder) => existing.has(folder)).flatMap(sourceFiles);
const production = files.filter((file) => !file.endsWith('.test.ts') && !file.includes('.fake.'));
const imports = production.flatMap(importsOf);

/** Folder → folders that it must not import, and why. */
const BANS: readonly { readonly from: string; readonly ban: readonly string[]; readonly why: string }[] = [
  { from: 'api', ban: TOP.filter((f) => f !== 'api'), why: 'api is the contract; everything stands on it' },
  {
    from: 'proto',
    ban: TOP.filter((f) => !['api', 'proto'].includes(f)),
    why: 'proto knows the contract only',
  },
  {
    from: 'runtime',
    ban: TOP.filter((f) => !['api', 'proto', 'runtime'].includes(f)),
    why: 'runtime serves all capabilities',
  },
  ...['peering', 'network-fabric', 'storage-fabric', 'offloading'].map((capability) => ({
    from: capability,
    ban: TOP.filter((f) => !['api', 'proto', 'runtime', capability].includes(f)),
    why: 'capabilities meet in api/ only',
  })),
  { from: 'daemon', ban: ['cli', 'deploy'], why: 'the daemon needs neither the CLI nor the installer' },
];

describe('imports', () => {
  it('finds the code', () => {
    expect(imports.length).toBeGreaterThan(100);
  });

  it.each(BANS)('$from imports only what it may: $why', ({ from, ban }) => {
    const bad = imports.filter(
      (i) => i.file.startsWith(`${from}/`) && ban.some((folder) => i.target.startsWith(`${folder}/`)),
    );
    expect(bad).toEqual([]);
  });

  it('production code never imports test/', () => {
    expect(imports.filter((i) => i.target.startsWith('test/') && !i.file.startsWith('deploy/'))).toEqual([]);
  });

  it('planners and translators are pure: no I/O, no runtime', () => {
    const pure = imports.filter((i) => /(?:^|\/)(?:plan|translate)-[^/]*\.ts$/.test(i.file) && !i.typeOnly);
    const bad = pure.filter((i) => i.target.startsWith('node:') || /^(?:runtime|proto)\//.test(i.target));
    expect(bad).toEqual([]);
  });

  it('planners have no clock and no dice', () => {
    const bad = production
      .filter((file) => /(?:^|\/)(?:plan|translate)-[^/]*\.ts$/.test(file))
      .filter((file) =>
        /Date\.now\(|new Date\(\)|Math\.random\(|performance\.now\(/.test(
          readFileSync(join(ROOT, file), 'utf8'),
        ),
      );
    expect(bad).toEqual([]);
  });

  it('only runtime/host/exec.ts starts processes (outside the testbed and the image builder)', () => {
    const bad = imports.filter(
      (i) =>
        i.target === 'node:child_process' &&
        i.file !== 'runtime/host/exec.ts' &&
        !i.file.startsWith('deploy/'),
    );
    expect(bad).toEqual([]);
  });

  it('only runtime/kube/ knows a Kubernetes or HTTP client library', () => {
    const bad = imports.filter(
      (i) => /^(?:undici|@kubernetes\/client-node)/.test(i.target) && !i.file.startsWith('runtime/kube/'),
    );
    expect(bad).toEqual([]);
  });

  it('daemons never load the whole client library', () => {
    const bad = imports
      .filter((i) => i.file !== 'runtime/kube/kubeconfig.ts' && !i.typeOnly)
      .filter((i) => i.target === '@kubernetes/client-node');
    expect(bad).toEqual([]);
  });
});
