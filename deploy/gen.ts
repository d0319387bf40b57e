/** `npm run gen`: writes what is made from the code, and removes what no code makes any more. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { generatedFiles } from './generated.ts';

const ROOT = join(import.meta.dirname, '..');

const files = generatedFiles();
for (const [path, content] of files) {
  mkdirSync(dirname(join(ROOT, path)), { recursive: true });
  writeFileSync(join(ROOT, path), content);
}
for (const folder of ['deploy/crds', 'docs/spec']) {
  for (const name of readdirSync(join(ROOT, folder))) {
    if (!files.has(`${folder}/${name}`)) {
      rmSync(join(ROOT, folder, name));
    }
  }
}
console.log(`wrote ${files.size} files`);
