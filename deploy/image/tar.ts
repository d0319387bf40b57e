/**
 * Reproducible tar (ustar with GNU long names) of a folder: owner 0, time 0, names in byte order, nothing of the
 * machine it was made on. Streams, so that a file of any size costs one buffer.
 */
import { createReadStream, readdirSync, lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** One thing in a tar: bytes known beforehand, or a file to stream. */
export type TarEntry = {
  readonly path: string;
  readonly mode: number;
} & (
  | { readonly type: 'file'; readonly size: number; readonly source: string | Buffer }
  | { readonly type: 'directory' }
  | { readonly type: 'symlink'; readonly target: string }
);

const BLOCK = 512;
/** The two empty blocks that end a tar. */
export const CLOSING = Buffer.alloc(2 * BLOCK);
const typeFlag = { file: '0', symlink: '2', directory: '5' } as const;

const octal = (value: number, width: number): string => value.toString(8).padStart(width - 1, '0') + '\0';

/** The zeros that fill the last block of something of `size` bytes. */
export const padding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);

const rawHeader = (name: Buffer, mode: number, size: number, flag: string, link: Buffer): Buffer => {
  const block = Buffer.alloc(BLOCK);
  name.copy(block, 0, 0, 100);
  block.write(octal(mode & 0o7777, 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  if (size > 0o77777777777) {
    // base-256, the GNU way for files of 8 GiB and more
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  } else {
    block.write(octal(size, 12), 124);
  }
  block.write(octal(0, 12), 136);
  block.fill(' ', 148, 156);
  block.write(flag, 156);
  link.copy(block, 157, 0, 100);
  block.write('ustar  \0', 257, 'latin1');
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(octal(sum, 7) + ' ', 148);
  return block;
};

const longName = (flag: 'L' | 'K', text: Buffer): readonly Buffer[] => {
  const body = Buffer.concat([text, Buffer.from([0])]);
  return [
    rawHeader(Buffer.from('././@LongLink'), 0, body.length, flag, Buffer.alloc(0)),
    body,
    padding(body.length),
  ];
};

/** The header blocks of one entry (more than one when a name is longer than 100 bytes). */
const headerOf = (entry: TarEntry): Buffer => {
  const name = Buffer.from(entry.type === 'directory' ? `${entry.path}/` : entry.path);
  const link = Buffer.from(entry.type === 'symlink' ? entry.target : '');
  const size = entry.type === 'file' ? entry.size : 0;
  return Buffer.concat([
    ...(link.length > 100 ? longName('K', link) : []),
    ...(name.length > 100 ? longName('L', name) : []),
    rawHeader(name, entry.mode, size, typeFlag[entry.type], link),
  ]);
};

/** Header of a plain file of mode 0644, for an archive whose parts are written one by one. */
export const fileHeader = (path: string, size: number): Buffer =>
  headerOf({ type: 'file', path, size, mode: 0o644, source: '' });

/** Streams a tar of the entries in their order, with its two closing blocks. */
export async function* tarOf(entries: Iterable<TarEntry>): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    yield headerOf(entry);
    if (entry.type !== 'file') continue;
    if (typeof entry.source === 'string') {
      let seen = 0;
      for await (const chunk of createReadStream(entry.source, { highWaterMark: 1 << 20 })) {
        seen += (chunk as Buffer).length;
        yield chunk as Buffer;
      }
      if (seen !== entry.size)
        throw new Error(`${entry.source} changed while it was archived: ${entry.size} bytes became ${seen}`);
    } else {
      yield entry.source;
    }
    yield padding(entry.size);
  }
  yield CLOSING;
}

/**
 * Every folder, file and symbolic link below `root`, parents first, in byte order of their names. Modes are kept,
 * owner, times and extended attributes are not. Sockets, devices and pipes are errors: an image has none.
 */
export const entriesBelow = (root: string, prefix = ''): readonly TarEntry[] =>
  readdirSync(join(root, prefix))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .flatMap((name): readonly TarEntry[] => {
      const path = prefix === '' ? name : `${prefix}/${name}`;
      const full = join(root, path);
      const stat = lstatSync(full);
      if (stat.isDirectory())
        return [{ type: 'directory', path, mode: stat.mode }, ...entriesBelow(root, path)];
      if (stat.isSymbolicLink()) return [{ type: 'symlink', path, mode: 0o777, target: readlinkSync(full) }];
      if (stat.isFile()) return [{ type: 'file', path, mode: stat.mode, size: stat.size, source: full }];
      throw new Error(`${full} is neither file, folder nor symbolic link: an image can't hold it`);
    });
