import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COLLECTIONS } from '../api/collections.ts';
import { BUDGET, createBudgets, mebibytes, type LinkBudget } from './budget.ts';

const LIMITS = { linkBytes: 100, sharedBytes: 150, ownBytes: 10 };

describe('the memory of links', () => {
  it('never exceeds what all may have, and always leaves each its own (model)', () => {
    const step = fc.record({
      link: fc.nat(4),
      bytes: fc.integer({ min: -120, max: 120 }),
      end: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const budgets = createBudgets(LIMITS);
        const links: LinkBudget[] = Array.from({ length: 5 }, () => budgets.link());
        for (const { link, bytes, end } of steps) {
          const one = links[link] as LinkBudget;
          if (end && bytes > 100) {
            one.close();
            links[link] = budgets.link();
            continue;
          }
          const before = one.held();
          const refused = one.take(bytes);
          expect(one.held()).toBe(refused === undefined ? Math.max(0, before + bytes) : before);
          expect(refused === undefined || before + bytes > LIMITS.ownBytes).toBe(true);
          expect(one.held()).toBeLessThanOrEqual(LIMITS.linkBytes);
          const shared = links.reduce((sum, each) => sum + Math.max(0, each.held() - LIMITS.ownBytes), 0);
          expect(shared).toBeLessThanOrEqual(LIMITS.sharedBytes);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('says which limit stands in the way, and is whole again after the end of a link', () => {
    const budgets = createBudgets(LIMITS);
    const [one, two, three] = [budgets.link(), budgets.link(), budgets.link()];
    expect([one.take(101), one.take(100), two.take(71), two.take(70), three.take(11)]).toEqual([
      'link',
      undefined,
      'all',
      undefined,
      'all',
    ]);
    expect(three.take(10)).toBeUndefined();
    one.close();
    expect(two.take(30)).toBeUndefined();
    // Its followers may still be told something.
    expect(one.take(50)).toBeUndefined();
    expect(one.held()).toBe(0);
  });

  it('has room for every collection by itself', () => {
    for (const { maxBytes } of COLLECTIONS) expect(maxBytes).toBeLessThan(BUDGET.linkBytes);
    expect(mebibytes(BUDGET.linkBytes)).toBe('128 MiB');
  });
});
