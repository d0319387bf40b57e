import { describe, expect, it } from 'vitest';
import { realOf, seenAs } from './views.ts';

const ranges = [
  { purpose: 'Pod', real: '10.244.0.0/16', view: '10.128.0.0/16' },
  { purpose: 'External', real: '10.70.0.0/16', view: '10.129.0.0/16' },
] as const;

describe('views', () => {
  it('translate at the same offset, there and back', () => {
    expect(seenAs(ranges, '10.244.3.7')).toBe('10.128.3.7');
    expect(realOf(ranges, '10.128.3.7')).toBe('10.244.3.7');
    expect(seenAs(ranges, '10.70.0.1')).toBe('10.129.0.1');
  });

  it('say nothing of addresses that no range covers', () => {
    expect(seenAs(ranges, '10.96.0.1')).toBeUndefined();
    expect(realOf(ranges, '10.244.3.7')).toBeUndefined();
  });
});
