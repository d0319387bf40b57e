import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../runtime/clock.fake.ts';
import { mapPatch } from './plan-meta-patch.ts';
import { createRetryDelays } from './retry-delays.ts';
import { createWaiters } from './waiters.ts';

describe('waiters', () => {
  it('wake the longest waiting first, once', () => {
    const woken: string[] = [];
    const waiters = createWaiters((key) => void woken.push(key));
    for (const key of ['a', 'b', 'a', 'c']) waiters.wait('room', key);
    waiters.wait('other', 'd');
    waiters.wake('room', 2);
    expect(woken).toEqual(['a', 'b']);
    waiters.wait('room', 'a');
    waiters.wake('room');
    waiters.wake('room');
    expect(woken).toEqual(['a', 'b', 'c', 'a']);
    waiters.stop('other', 'd');
    expect(waiters.topics()).toEqual([]);
  });
});

describe('retry delays', () => {
  it('double up to five minutes and are forgiven', () => {
    const clock = createFakeClock();
    const delays = createRetryDelays(clock);
    expect(delays.before('a')).toBe(0);
    const seen: number[] = [];
    for (let i = 0; i < 11; i += 1) {
      delays.tried('a');
      seen.push(delays.before('a'));
    }
    expect(seen).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((s) => s * 1000));
    delays.forget('a');
    expect(delays.before('a')).toBe(0);
  });
});

describe('mapPatch', () => {
  it('sets, removes, and is nothing when nothing differs', () => {
    expect(mapPatch({ a: '1', b: '2' }, { a: '1', c: '3' })).toEqual({ b: null, c: '3' });
    expect(mapPatch({ a: '1' }, { a: '1' })).toBeUndefined();
  });
});
