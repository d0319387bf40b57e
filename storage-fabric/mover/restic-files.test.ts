import { createHash, scryptSync } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { newConfig, readSnapshot, repositoryKey } from './restic-files.ts';
import { isIrreducible, randomIrreducible } from './restic-polynomial.ts';
import { seal, unseal, type SealKey } from './restic-seal.ts';

const base64 = (text: string): Buffer => Buffer.from(text, 'base64');
const sha256 = (body: Buffer): string => createHash('sha256').update(body).digest('hex');

/** A repository that restic 0.18 made, a throwaway: `restic cat masterkey`, its config, and a snapshot. */
const THEIRS: SealKey = {
  encrypt: base64('Un7NhnaRKraY/ANjJZBO6kiquGMLJ1eRBx9A8j9UYfY='),
  mac: { k: base64('VubAvnWEGMH0gf+tpWBPBw=='), r: base64('/3hEajb4BTIcrvs4mWs18Q==') },
};
const THEIR_CONFIG = base64(
  '5h33wZWrN3OE/qjLydk79/rzlAGilT5j9PpDPWS3ICmQcd0AI0JvTlFxAME5fWKLYm+dhi+Ky3MDK7XJJ+bYlwX1ra5SBodLRiTPCENXaL2wDEJe60WD/CFDXFBqg9/WA6u0l6wrWWNzUoT+nouzELLt3qD4V/MAAiif1hYUOSEOiv8e6Oxxo7jgDYrEmvNF0zv8cNrv/N5qjZA=',
);
const THEIR_SNAPSHOT = base64(
  'SwaHkMbOq37in20DfavRct7kw2rSWdfL+OTKZ7HZSCe8UgR6N/hybOEb55M8W2z+wfyQPQ3+w7lHXKuj4agzW3mi3ypCkMu3AijDOL4tSuC+JwccilEm4yX/1VI/zTw7LZOSOMqCaEMIyHlaNBRdDlwsXqFq5+JPPlD8E6yJ8Rr5KtJEDqNVGkf6N8hqjmGfjm4x17NXGruTm5mpJ0j4+fQU6/i9gFPHClbEKxypyZp3ggMTOi7+aHhyDk4s14Rtj01981iXsqKrc2F24HuaAk88IBHpqIqBAUp5vBA9tY0Fst+Yno1Q+197rPL8bKLDMj1lgQfzwAtPSAmqRdov5lyeKrTExm+qG+zAzz8RHMbJd+c8d/sLXKWQQhIOT9RQ1ylQF94HXViHOWS7y/hgcjtkHlNCAKEbDHqcsC6qxCu7dZKFps9SgB2dZZRfuEM3RiRotgtBp2A=',
);
const SNAPSHOT_ID = 'b8d1fb3ed46a111f3cd5ed555976e4617487ad378b07d7d95f39e23601c91f64';
const theirs = { ...repositoryKey('abc'), master: THEIRS };

const KeyFile = z.object({
  N: z.number(),
  r: z.number(),
  p: z.number(),
  salt: z.string(),
  data: z.string(),
});

describe("restic's seal", () => {
  it('opens what restic sealed', () => {
    expect(JSON.parse(unseal(THEIRS, THEIR_CONFIG).toString())).toEqual({
      version: 2,
      id: '6ce6a51c00b3afa09a56694eb180bdc1b10681bddeb9ccc867d25447e6623ac3',
      chunker_polynomial: '259643c0029ceb',
    });
  });

  it('gives back what was sealed, and nothing once any byte is another or missing', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 100 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (bytes, at, by) => {
          const sealed = seal(THEIRS, Buffer.from(bytes));
          expect(unseal(THEIRS, sealed)).toEqual(Buffer.from(bytes));
          const altered = Buffer.from(sealed);
          const index = at % sealed.length;
          altered[index] = (altered[index] ?? 0) ^ by;
          expect(() => unseal(THEIRS, altered)).toThrow(/not sealed with this key/);
          expect(() => unseal(THEIRS, sealed.subarray(0, index))).toThrow(/not sealed with this key/);
        },
      ),
    );
  });
});

describe('the polynomial of a repository', () => {
  it('is irreducible', () => {
    // restic's own of its tests, and the one above
    expect(isIrreducible(0x3da3358b4dc173n)).toBe(true);
    expect(isIrreducible(0x259643c0029cebn)).toBe(true);
    expect(isIrreducible(0x259643c0029cedn)).toBe(false);
    expect(isIrreducible((1n << 53n) | 1n)).toBe(false);
    expect(isIrreducible(0x13n)).toBe(false);
    const found = randomIrreducible();
    expect(isIrreducible(found)).toBe(true);
    expect(randomIrreducible()).not.toBe(found);
  });

  it('is no product', () => {
    const product = (a: bigint, b: bigint): bigint =>
      b
        .toString(2)
        .split('')
        .reduce((sum, bit) => (sum << 1n) ^ (bit === '1' ? a : 0n), 0n);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 26 }), fc.bigInt({ min: 0n, max: 2n ** 53n }), (degree, bits) => {
        const top = (n: number): bigint => 1n << BigInt(n);
        const one = (bits & (top(degree) - 1n)) | top(degree) | 1n;
        const other = ((bits >> 20n) & (top(53 - degree) - 1n)) | top(53 - degree) | 1n;
        expect(isIrreducible(product(one, other))).toBe(false);
      }),
    );
  });
});

describe("a volume's repository", () => {
  const mine = repositoryKey('a key of home for this volume');

  it('has one key file, the same whoever makes it, which the volume key opens', () => {
    expect(repositoryKey('a key of home for this volume\n').file).toEqual(mine.file);
    expect(repositoryKey('another key').file.name).not.toBe(mine.file.name);
    expect(mine.file.name).toBe(sha256(mine.file.body));
    const { N, r, p, salt, data } = KeyFile.parse(JSON.parse(mine.file.body.toString()));
    const user = scryptSync('a key of home for this volume', base64(salt), 64, { N, r, p });
    const opener = { encrypt: user.subarray(0, 32), mac: { k: user.subarray(32, 48), r: user.subarray(48) } };
    expect(JSON.parse(unseal(opener, base64(data)).toString())).toEqual({
      encrypt: mine.master.encrypt.toString('base64'),
      mac: { k: mine.master.mac.k.toString('base64'), r: mine.master.mac.r.toString('base64') },
    });
  });

  it('has a config of its own', () => {
    const config = JSON.parse(unseal(mine.master, newConfig(mine)).toString()) as Record<string, string>;
    expect(config).toMatchObject({ version: 2, id: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
    expect(isIrreducible(BigInt(`0x${config['chunker_polynomial']}`))).toBe(true);
    expect(newConfig(mine)).not.toEqual(newConfig(mine));
  });
});

describe('a snapshot from the store', () => {
  const mine = repositoryKey('a key of home for this volume');

  it('says its tree', () => {
    expect(readSnapshot(theirs, SNAPSHOT_ID, THEIR_SNAPSHOT)).toEqual({
      tree: 'a30e3ea59bce4961342bee738faa11eae94a96b7de061725505b37c18aa6a453',
    });
  });

  it('is not believed when it is another, of another key, or not one at all', () => {
    expect(() => readSnapshot(theirs, 'a'.repeat(64), THEIR_SNAPSHOT)).toThrow(/another content/);
    expect(() => readSnapshot(mine, SNAPSHOT_ID, THEIR_SNAPSHOT)).toThrow(/not sealed with this key/);
    const read = (plain: Buffer): unknown => {
      const body = seal(mine.master, plain);
      return readSnapshot(mine, sha256(body), body);
    };
    expect(() => read(Buffer.from('{"tree":"../x"}'))).toThrow(/malformed/);
    expect(() => read(Buffer.from([2, 1, 2, 3]))).toThrow(/can not be read/);
    expect(() => read(Buffer.alloc(0))).toThrow(/can not be read/);
    expect(() => read(Buffer.alloc(2 ** 20))).toThrow(/more than/);
    expect(read(Buffer.from(JSON.stringify({ tree: 'b'.repeat(64), tags: ['x'] })))).toEqual({
      tree: 'b'.repeat(64),
      tags: ['x'],
    });
  });
});
