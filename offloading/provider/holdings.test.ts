import { describe, expect, it } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { createHoldings } from './holdings.ts';
import { objectHolding, podHolding, WRITE_WINDOW_MS } from './plan-holdings.ts';
import { createRefusals } from './refusals.ts';

const HOME = 'h'.repeat(26);
const OTHER = 'o'.repeat(26);

const setUp = () => {
  let now = 0;
  const limits = { namespaces: 5, objects: 2, pods: 2, size: 1000 };
  const clock = { ...systemClock, monotonicMs: () => now };
  return {
    limits,
    holdings: createHoldings(clock, () => limits),
    pass: (ms: number): void => {
      now += ms;
    },
  };
};

describe('holdings', () => {
  it('count for each consumer alone, at once, until what was counted goes', () => {
    const { holdings, pass } = setUp();
    expect(holdings.admit(HOME, 'a', objectHolding(100))).toBeUndefined();
    expect(holdings.admit(HOME, 'b', objectHolding(100))).toBeUndefined();
    expect(holdings.admit(HOME, 'c', objectHolding(100))?.message).toMatch(/is 2 objects/);
    expect(holdings.admit(OTHER, 'd', objectHolding(100))).toBeUndefined();
    expect(holdings.admit(HOME, 'pod', podHolding(100))).toBeUndefined();
    expect(holdings.usedBy(HOME)).toEqual({ objects: 2, pods: 1, size: 400 });
    holdings.release('a');
    pass(WRITE_WINDOW_MS);
    expect(holdings.admit(HOME, 'c', objectHolding(100))).toBeUndefined();
  });

  it('let what exists beyond the limit be changed, but not grow', () => {
    const { holdings, limits } = setUp();
    for (const key of ['a', 'b', 'c']) holdings.record(HOME, key, objectHolding(300));
    limits.size = 500;
    expect(holdings.admit(HOME, 'a', objectHolding(300))).toBeUndefined();
    expect(holdings.admit(HOME, 'a', objectHolding(301))?.message).toMatch(/objects and 500 bytes in all/);
    expect(holdings.usedBy(HOME)).toEqual({ objects: 3, size: 900 });
  });

  it('let a consumer write only so much in a time, and another meanwhile', () => {
    const { holdings, pass } = setUp();
    const writeOften = (): number => {
      let times = 0;
      while (times < 100 && holdings.admit(HOME, 'a', objectHolding(250)) === undefined) times += 1;
      return times;
    };
    expect(writeOften()).toBe(4);
    expect(holdings.admit(HOME, 'a', objectHolding(250))).toEqual({
      message: 'this consumer writes too much at the peer; this waits for about 150 s',
      retryMs: 60_000,
    });
    expect(holdings.admit(OTHER, 'x', objectHolding(250))).toBeUndefined();
    pass(WRITE_WINDOW_MS / 2);
    expect(writeOften()).toBe(2);
  });
});

describe('refusals', () => {
  it('tell of a namespace when the first comes and when the last goes', () => {
    const refusals = createRefusals();
    const told: string[] = [];
    const stop = refusals.source.subscribe((key) => told.push(key));
    const key = (name: string) => ({
      clusterID: HOME,
      kind: 'Secret' as const,
      homeNamespace: 'shop',
      name,
      id: `Secret/shop/${name}`,
    });
    refusals.set(key('a'), 'too much');
    refusals.set(key('b'), 'too much');
    expect(told).toEqual([`${HOME}/shop`]);
    expect(refusals.of(HOME, 'Secret/shop/b')).toBe('too much');
    expect(refusals.of(OTHER, 'Secret/shop/b')).toBeUndefined();
    expect(refusals.inNamespace(HOME, 'shop')).toBe('Secret a: too much');
    refusals.clear(key('a'));
    refusals.clear(key('a'));
    expect(told).toHaveLength(1);
    refusals.clear(key('b'));
    expect(told).toHaveLength(2);
    expect(refusals.inNamespace(HOME, 'shop')).toBeUndefined();
    stop();
    refusals.set(key('a'), 'too much');
    expect(told).toHaveLength(2);
  });
});
