import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** `package.json` against what is imported and what `docs/dependencies.md` says. */

const ROOT = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as Readonly<
  Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Readonly<Record<string, string>>>
>;
const { dependencies, devDependencies, optionalDependencies } = manifest;
const all = { ...dependencies, ...devDependencies, ...optionalDependencies };

describe('dependencies', () => {
  it('are pinned to one version', () => {
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it('are the locked ones', () => {
    const lock = JSON.parse(read('package-lock.json')) as {
      readonly packages: Readonly<Record<string, typeof manifest>>;
    };
    const root = lock.packages[''];
    expect({
      ...root?.dependencies,
      ...root?.devDependencies,
      ...root?.optionalDependencies,
    }).toEqual(all);
  });

  it('have their reason in docs/dependencies.md, which names no other', () => {
    const named = [...read('docs/dependencies.md').matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
    );
    expect(named.toSorted()).toEqual(Object.keys(all).toSorted());
  });
});
