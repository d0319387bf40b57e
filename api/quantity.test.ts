import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addResources,
  formatQuantity,
  formatResources,
  parseQuantity,
  parseResources,
  QuantityString,
} from './quantity.ts';

describe('quantities', () => {
  it.each([
    ['500m', 0.5],
    ['2', 2],
    ['1.5', 1.5],
    ['1k', 1000],
    ['4Gi', 4 * 2 ** 30],
    ['1e3', 1000],
    ['128974848', 128974848],
    ['2Ei', 2 * 2 ** 60],
  ])('%s is %d', (text, value) => {
    expect(parseQuantity(text)).toBe(value);
    expect(QuantityString.safeParse(text).success).toBe(true);
  });

  it.each(['', '-1', '1.', '.5', '1mi', '1 Gi', '0x10', 'Gi', '1e999'])(
    '"%s" is refused with a hint',
    (text) => {
      expect(() => parseQuantity(text)).toThrow(
        expect.objectContaining({ hint: expect.stringContaining('500m') }),
      );
    },
  );

  it('survive formatting: CPU to the millicore, the rest to the whole unit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1_000_000 }),
        fc.integer({ min: 0, max: 2 ** 48 }),
        (milli, bytes) => {
          expect(Math.round(parseQuantity(formatQuantity('cpu', milli / 1000)) * 1000)).toBe(milli);
          expect(parseQuantity(formatQuantity('memory', bytes))).toBe(bytes);
          expect(parseQuantity(formatQuantity('pods', bytes))).toBe(bytes);
        },
      ),
    );
  });

  it('add up by resource', () => {
    const sum = addResources(
      parseResources({ cpu: '500m', memory: '1Gi' }),
      parseResources({ cpu: '1', pods: '3' }),
    );
    expect(formatResources(sum)).toEqual({ cpu: '1500m', memory: '1Gi', pods: '3' });
  });
});
