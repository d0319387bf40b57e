import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEAST_REQUESTS, MOST_HELD, type GrantPolicy } from '../../api/v1alpha1/grant.ts';
import {
  bytesOf,
  describeExcess,
  heldLimits,
  objectHolding,
  planHolding,
  planWrite,
  podHolding,
  whyNoTwin,
  WRITE_WINDOW_MS,
  type HeldLimits,
  type WriteBudget,
} from './plan-holdings.ts';
import { subtractAmounts, sumAmounts, type Amounts } from './plan-quota.ts';

const limits: HeldLimits = { namespaces: 2, objects: 3, pods: 2, size: 1000 };

describe('heldLimits', () => {
  it('are those of the policy, else the built-in ones', () => {
    const spec = { sharePercent: 80, podSecurity: 'baseline' as const, leastRequests: LEAST_REQUESTS };
    const policy = (more: object): GrantPolicy => ({
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'GrantPolicy',
      metadata: { name: 'default' },
      spec: { ...spec, ...more },
    });
    const builtIn = { namespaces: 500, objects: 20_000, pods: 20_000, size: 256 * 2 ** 20 };
    expect(heldLimits(undefined)).toEqual(builtIn);
    expect(heldLimits(policy({}))).toEqual(builtIn);
    expect(heldLimits(policy({ mostHeld: { ...MOST_HELD, pods: 5, size: '1Gi' } }))).toEqual({
      ...builtIn,
      pods: 5,
      size: 2 ** 30,
    });
  });
});

describe('planHolding', () => {
  it.each([
    ['room', { objects: 2 }, undefined, objectHolding(10), []],
    ['no room for another', { objects: 3 }, undefined, objectHolding(10), ['objects']],
    ['no room for so much', { objects: 1, size: 995 }, undefined, objectHolding(10), ['size']],
    ['no room for either', { objects: 3, size: 995 }, undefined, objectHolding(10), ['objects', 'size']],
    ['an object is no pod', { objects: 3 }, undefined, podHolding(10), []],
    ['a pod is twice its record', {}, undefined, podHolding(501), ['size']],
    ['too many pods', { pods: 2 }, undefined, podHolding(1), ['pods']],
    ['growing beyond', { objects: 2, size: 900 }, objectHolding(50), objectHolding(101), ['size']],
    ['growing within', { objects: 2, size: 900 }, objectHolding(50), objectHolding(100), []],
    [
      'what grows not, over a lowered limit',
      { objects: 9, size: 5000 },
      objectHolding(50),
      objectHolding(50),
      [],
    ],
  ] as const)('%s', (_what, others, before, needed, missing) => {
    expect(planHolding(limits, others, before, needed).map(({ resource }) => resource)).toEqual(missing);
  });

  it('never lets more exist than the limits, in whatever order things come, change and go', () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      needed: fc.option(fc.oneof(fc.nat(600).map(objectHolding), fc.nat(300).map(podHolding)), {
        nil: undefined,
      }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const there = new Map<string, Amounts>();
        for (const { key, needed } of steps) {
          const before = there.get(key);
          const others = subtractAmounts(sumAmounts(there.values()), before ?? {});
          if (needed === undefined) there.delete(key);
          else if (planHolding(limits, others, before, needed).length === 0) there.set(key, needed);
        }
        const all = sumAmounts(there.values());
        for (const what of ['objects', 'pods', 'size'] as const)
          expect(all[what] ?? 0).toBeLessThanOrEqual(limits[what]);
      }),
    );
  });

  it('says to the consumer what the limit is, and what to do', () => {
    const missing = planHolding(limits, { objects: 3, size: 995 }, undefined, objectHolding(10));
    expect(describeExcess({ ...limits, size: 256 * 2 ** 20 }, missing)).toBe(
      'the most of this consumer at the peer is 3 objects and 256Mi bytes in all: remove some, or ask the peer’s administrator to raise GrantPolicy.spec.mostHeld',
    );
    expect(whyNoTwin(limits, 1)).toBeUndefined();
    expect(whyNoTwin(limits, 2)).toMatch(/2 namespaces: remove some/);
  });
});

describe('bytesOf', () => {
  it('counts bytes, not characters', () => {
    expect(bytesOf({ a: 'x' })).toBe(9);
    expect(bytesOf({ a: '€' })).toBe(11);
    expect(bytesOf(undefined)).toBe(0);
  });
});

describe('planWrite', () => {
  it('lets as much be written at once as may exist, and so much again in ten minutes', () => {
    const first = planWrite(undefined, limits, 1000, 0);
    expect(first.waitMs).toBe(0);
    const second = planWrite(first.budget, limits, 500, 0);
    expect(second.waitMs).toBe(WRITE_WINDOW_MS / 2);
    expect(planWrite(second.budget, limits, 500, second.waitMs).waitMs).toBe(0);
    expect(planWrite(first.budget, limits, 0, 0).waitMs).toBe(0);
  });

  it('never lets more be written than that, and never makes anybody wait for ever', () => {
    const writes = fc.array(fc.record({ bytes: fc.nat(1500), afterMs: fc.nat(WRITE_WINDOW_MS) }), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(writes, (list) => {
        let budget: WriteBudget | undefined;
        let now = 0;
        let written = 0;
        for (const { bytes, afterMs } of list) {
          now += afterMs;
          const plan = planWrite(budget, limits, bytes, now);
          ({ budget } = plan);
          expect(plan.waitMs).toBeLessThanOrEqual(WRITE_WINDOW_MS);
          if (plan.waitMs === 0) written += Math.min(bytes, limits.size);
        }
        expect(written).toBeLessThanOrEqual(limits.size * (1 + now / WRITE_WINDOW_MS) + 1e-6);
      }),
    );
  });
});
