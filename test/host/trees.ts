/** Trees of files to copy: made, changed, and compared by hash. */
import { createCipheriv, createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SNAPSHOT_PREFIX } from '../../storage-fabric/mover/transfer-file.ts';

/** Bytes that don't compress, the same for the same seed. */
export const randomContent = (seed: string, bytes: number): Buffer => {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
};

/** A tree of many files in folders of a hundred. */
export interface TreeShape {
  readonly files: number;
  readonly bytesPerFile: number;
}

const pathOf = (folder: string, n: number): string => join(folder, `d${Math.floor(n / 100)}`, `f${n % 100}`);

/** Writes files `from` to `to` (exclusive) of a tree; `seed` makes the contents another's. */
export const writeFiles = (
  folder: string,
  numbers: Iterable<number>,
  { bytesPerFile }: Pick<TreeShape, 'bytesPerFile'>,
  seed: string,
): void => {
  for (const n of numbers) {
    const path = pathOf(folder, n);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, randomContent(`${seed}/${n}`, bytesPerFile));
  }
};

/** What is in a volume, without the snapshots that movers make in it. */
const entriesOf = (folder: string): readonly string[] =>
  readdirSync(folder)
    .filter((name) => !name.startsWith(SNAPSHOT_PREFIX))
    .flatMap((name) => {
      const path = join(folder, name);
      if (!lstatSync(path).isDirectory()) return [path];
      return [
        path,
        ...readdirSync(path, { recursive: true, encoding: 'utf8' }).map((below) => join(path, below)),
      ];
    })
    .sort();

/** Every path of a tree with its kind, mode, owner and the hash of its content. */
export const treeOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    entriesOf(folder).map((path) => {
      const stat = lstatSync(path);
      const content = stat.isFile()
        ? createHash('sha256').update(readFileSync(path)).digest('hex')
        : stat.isSymbolicLink()
          ? readlinkSync(path)
          : '';
      return [path.slice(folder.length), `${stat.mode.toString(8)} ${stat.uid} ${stat.gid} ${content}`];
    }),
  );

/** One hash of a whole tree, so that two can be told apart. */
export const treeHash = (folder: string): string =>
  createHash('sha256')
    .update(JSON.stringify(treeOf(folder)))
    .digest('hex');
