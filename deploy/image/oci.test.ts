import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeOciArchive } from './oci.ts';
import { entriesBelow } from './tar.ts';

/** A small independent reader, so that the writer isn't judged by itself. */
const readTar = (bytes: Buffer): Map<string, { mode: number; type: string; link: string; body: Buffer }> => {
  const found = new Map<string, { mode: number; type: string; link: string; body: Buffer }>();
  const text = (from: number, length: number): string => {
    const field = bytes.subarray(from, from + length);
    const end = field.indexOf(0);
    return field.subarray(0, end < 0 ? length : end).toString();
  };
  let long: string | undefined;
  for (let at = 0; bytes[at] !== 0;) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    const type = text(at + 156, 1);
    const body = bytes.subarray(at + 512, at + 512 + size);
    if (type === 'L') long = body.subarray(0, -1).toString();
    else {
      found.set(long ?? text(at, 100), {
        mode: Number.parseInt(text(at + 100, 8), 8),
        type,
        link: text(at + 157, 100),
        body,
      });
      expect(text(at + 108, 8) + text(at + 116, 8) + text(at + 136, 12)).toMatch(/^0+$/);
      long = undefined;
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return found;
};

describe('writeOciArchive', () => {
  let room = '';
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'fluvia-oci-'));
  });
  afterEach(() => rmSync(room, { recursive: true }));

  const stage = (name: string, time: number): string => {
    const root = join(room, name);
    mkdirSync(join(root, 'bin'), { recursive: true });
    mkdirSync(join(root, 'd'.repeat(60), 'e'.repeat(60)), { recursive: true });
    writeFileSync(join(root, 'bin/app'), 'x'.repeat(1000));
    chmodSync(join(root, 'bin/app'), 0o755);
    symlinkSync('app', join(root, 'bin/sh'));
    writeFileSync(join(root, 'd'.repeat(60), 'e'.repeat(60), 'long'), 'long');
    utimesSync(join(root, 'bin/app'), time, time);
    return root;
  };
  const write = (root: string, out: string): Promise<string> =>
    writeOciArchive({
      name: 'fluvia.local/t:1',
      root,
      out,
      entrypoint: ['/bin/app'],
      env: { A: 'b' },
      user: '7',
    });

  it('gives the same bytes for the same files, whatever their times and place', async () => {
    const one = await write(stage('one', 1), join(room, 'one.tar'));
    const two = await write(stage('two', 99_999), join(room, 'two.tar'));
    expect(one).toBe(two);
    expect(readFileSync(join(room, 'one.tar')).equals(readFileSync(join(room, 'two.tar')))).toBe(true);
  });

  it('writes blobs under their digests, and a layer that holds the tree', async () => {
    const digest = await write(stage('root', 1), join(room, 'out.tar'));
    const outer = readTar(readFileSync(join(room, 'out.tar')));
    const blobs = [...outer].filter(([path]) => path.startsWith('blobs/sha256/'));
    for (const [path, { body }] of blobs) {
      expect(path.slice(13)).toBe(createHash('sha256').update(body).digest('hex'));
    }
    const blob = (id: string): Buffer => outer.get(`blobs/sha256/${id.slice(7)}`)?.body ?? Buffer.alloc(0);
    const manifest = JSON.parse(blob(digest).toString()) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    expect(JSON.parse(blob(manifest.config.digest).toString())).toMatchObject({
      config: { Entrypoint: ['/bin/app'], User: '7', Env: [expect.stringMatching(/^PATH=/), 'A=b'] },
    });
    const layer = readTar(blob(manifest.layers[0]?.digest ?? ''));
    expect(layer.get('bin/app')).toMatchObject({
      mode: 0o755,
      type: '0',
      body: Buffer.from('x'.repeat(1000)),
    });
    expect(layer.get('bin/sh')).toMatchObject({ type: '2', link: 'app' });
    expect(layer.get(`${'d'.repeat(60)}/${'e'.repeat(60)}/long`)?.body.toString()).toBe('long');
  });

  it('lists parents before children in byte order', () => {
    expect(entriesBelow(stage('order', 1)).map((e) => e.path.slice(0, 7))).toEqual([
      'bin',
      'bin/app',
      'bin/sh',
      'ddddddd',
      'ddddddd',
      'ddddddd',
    ]);
  });
});
