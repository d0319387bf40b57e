import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generatedFiles } from './generated.ts';

const ROOT = join(import.meta.dirname, '..');

describe('generated files', () => {
  it.each([...generatedFiles()])('%s is what `npm run gen` makes', (path, content) => {
    expect(readFileSync(join(ROOT, path), 'utf8')).toBe(content);
  });

  it.each(['deploy/crds', 'docs/spec'])('%s holds nothing else', (folder) => {
    const made = [...generatedFiles().keys()];
    expect(readdirSync(join(ROOT, folder)).filter((name) => !made.includes(`${folder}/${name}`))).toEqual([]);
  });
});
