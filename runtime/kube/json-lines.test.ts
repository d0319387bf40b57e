import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createLineDecoder, LineTooLongError } from './json-lines.ts';

const cut = (bytes: Buffer, sizes: readonly number[]): Buffer[] => {
  const chunks: Buffer[] = [];
  let start = 0;
  for (let i = 0; start < bytes.length; i += 1) {
    const size = sizes[i % sizes.length] ?? 1;
    chunks.push(bytes.subarray(start, start + size));
    start += size;
  }
  return chunks;
};

describe('line decoder', () => {
  it('returns the same lines however the bytes are cut, also inside a character', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify({ text }))),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (lines, sizes) => {
          const decoder = createLineDecoder(1_000_000);
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
          expect(cut(bytes, sizes).flatMap((chunk) => decoder.push(chunk))).toEqual(lines);
          expect(decoder.pendingBytes).toBe(0);
        },
      ),
    );
  });

  it('passes over empty lines and keeps an unfinished one', () => {
    const decoder = createLineDecoder(100);
    expect(decoder.push(Buffer.from('\n{"a":1}\r\n\n{"b"'))).toEqual(['{"a":1}\r']);
    expect(decoder.pendingBytes).toBe(4);
    expect(decoder.push(Buffer.from(':2}\n'))).toEqual(['{"b":2}']);
  });

  it('refuses a line above its limit, before it is complete', () => {
    const decoder = createLineDecoder(10);
    expect(decoder.push(Buffer.from('123456'))).toEqual([]);
    expect(() => decoder.push(Buffer.from('78901'))).toThrow(LineTooLongError);
  });
});
