import { describe, expect, it } from 'vitest';
import { isNewer } from './versions.ts';

describe('isNewer', () => {
  it.each([
    ['0.2.0', '0.1.9', true],
    ['1.0.0', '0.99.99', true],
    ['0.10.0', '0.9.0', true],
    ['0.1.0', '0.1.0', false],
    ['0.1.0', '0.2.0', false],
    ['v0.1.1-rc.1', '0.1.0', true],
    ['dev', '0.1.0', false],
    ['0.1.0', 'dev', false],
  ])('%s than %s: %s', (a, b, expected) => {
    expect(isNewer(a, b)).toBe(expected);
  });
});
