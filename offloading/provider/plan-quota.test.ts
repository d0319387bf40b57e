import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  amountsGiven,
  describeShortages,
  formatAmounts,
  leftTogether,
  podAmounts,
  shortages,
  sumAmounts,
  type CountedPod,
} from './plan-quota.ts';
import { createQuotaLedger } from './quota-ledger.ts';

const container = (cpu?: string, memory?: string, restartPolicy?: string) => ({
  ...(restartPolicy === undefined ? {} : { restartPolicy }),
  resources: { requests: { ...(cpu && { cpu }), ...(memory && { memory }) } },
});

describe('podAmounts', () => {
  it.each<[string, CountedPod, Record<string, number>]>([
    [
      'sums containers',
      { containers: [container('100m'), container('0.2', '1Mi')] },
      { cpu: 300, memory: 1048576, pods: 1 },
    ],
    [
      'takes the largest init container',
      { containers: [container('100m')], initContainers: [container('1'), container('2')] },
      { cpu: 2000, pods: 1 },
    ],
    [
      'adds sidecars to what runs and to later init containers',
      {
        containers: [container('100m')],
        initContainers: [
          container('300m', undefined, 'Always'),
          container('50m'),
          container('1', undefined, 'Always'),
        ],
      },
      { cpu: 1400, pods: 1 },
    ],
    [
      'counts an init container with the sidecars before it',
      {
        containers: [container('10m')],
        initContainers: [container('100m', undefined, 'Always'), container('2')],
      },
      { cpu: 2100, pods: 1 },
    ],
    [
      'takes a limit for a missing request',
      { containers: [{ resources: { limits: { cpu: '2', memory: '1Gi' }, requests: { cpu: '1' } } }] },
      { cpu: 1000, memory: 2 ** 30, pods: 1 },
    ],
    ['rounds fractions up', { containers: [container('0.0001', '0.5')] }, { cpu: 1, memory: 1, pods: 1 }],
    [
      'can not be made smaller by pod-level requests',
      { containers: [container('1')], resources: { requests: { cpu: '1m' } } },
      { cpu: 1000, pods: 1 },
    ],
    [
      'counts one pod whatever a container says',
      { containers: [{ resources: { requests: { pods: '0' } } }] },
      { pods: 1 },
    ],
  ])('%s', (_, pod, amounts) => {
    expect(podAmounts(pod)).toEqual(amounts);
  });

  it('refuses names and quantities that are none', () => {
    expect(() => podAmounts({ containers: [{ resources: { requests: { cpu: '-1' } } }] })).toThrow(
      /quantity/,
    );
    expect(() =>
      podAmounts({
        containers: [{ resources: { requests: JSON.parse('{"__proto__":"1"}') as Record<string, string> } }],
      }),
    ).toThrow(/resource name/);
  });
});

describe('shortages', () => {
  it('names what is missing', () => {
    const missing = shortages(
      { cpu: 1000, memory: 100 },
      { cpu: 800 },
      { cpu: 300, memory: 50, 'nvidia.com/gpu': 1, pods: 1 },
    );
    expect(missing).toEqual([
      { resource: 'cpu', needed: 300, free: 200 },
      { resource: 'nvidia.com/gpu', needed: 1, free: undefined },
    ]);
    expect(describeShortages(missing)).toBe('cpu: 300m needed, 200m free; the grant has no nvidia.com/gpu');
  });

  it('finds nothing in what every object inherits', () => {
    expect(shortages({ cpu: 1 }, {}, { constructor: 1 })).toEqual([
      { resource: 'constructor', needed: 1, free: undefined },
    ]);
  });
});

describe('the ledger', () => {
  const granted = { cpu: '2', memory: '1Gi', pods: '5' };

  const of = (grant: string) => ({ grant, consumer: 'c1' });

  it('never gives more than the grant, nor more than all of the peer’s together, in any order', () => {
    const key = fc.integer({ min: 0, max: 12 });
    const grant = fc.constantFrom('home-a', 'home-b', 'home-c');
    const pod = fc.record({
      cpu: fc.integer({ min: 0, max: 1500 }),
      memory: fc.integer({ min: 0, max: 2 ** 29 }),
    });
    const step = fc.oneof(
      fc.record({ do: fc.constant('reserve' as const), key, grant, pod }),
      fc.record({ do: fc.constant('release' as const), key }),
    );
    const together = { cpu: '3', memory: '1500Mi', pods: '7' };
    const sumOf = (all: Iterable<{ readonly needed: Record<string, number> }>) =>
      sumAmounts([...all].map(({ needed }) => needed));
    const nothing = { cpu: 0, memory: 0, pods: 0 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ledger = createQuotaLedger();
        const model = new Map<string, { grant: string; needed: Record<string, number> }>();
        for (const one of steps) {
          const name = `shop/${one.key}`;
          if (one.do === 'release') {
            ledger.release(name);
            model.delete(name);
            continue;
          }
          const needed = { ...one.pod, pods: 1 };
          const missing = ledger.reserve(name, of(one.grant), { granted, together }, needed);
          if (missing.length === 0) model.set(name, { grant: one.grant, needed });
          const used = sumOf([...model.values()].filter((m) => m.grant === one.grant));
          expect({ ...nothing, ...ledger.usedBy(one.grant) }).toEqual({ ...nothing, ...used });
          const all = sumOf(model.values());
          expect({ ...nothing, ...ledger.usedByConsumer('c1') }).toEqual({ ...nothing, ...all });
          for (const [resource, amount] of Object.entries(used))
            expect(amount).toBeLessThanOrEqual(amountsGiven(granted)[resource] ?? 0);
          for (const [resource, amount] of Object.entries(all))
            expect(amount).toBeLessThanOrEqual(amountsGiven(together)[resource] ?? 0);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('counts pods of a withdrawn claim against the next one until they have gone', () => {
    const ledger = createQuotaLedger();
    const allowed = { granted, together: granted };
    expect(ledger.reserve('shop/a', of('home-c1'), allowed, { cpu: 2000, pods: 1 })).toEqual([]);
    // c1 is withdrawn, its Grant gone; c17 comes with an empty Grant of its own.
    const missing = ledger.reserve('shop/b', of('home-c17'), allowed, { cpu: 500, pods: 1 });
    expect(missing).toEqual([{ resource: 'cpu', needed: 500, free: 0, ofAll: true }]);
    expect(describeShortages(missing)).toBe(
      'of what all claims of this peer get together, with pods of withdrawn ones, cpu: 500m needed, 0 free',
    );
    expect(leftTogether({ cpu: 2000, pods: 5 }, granted, ledger.usedByConsumer('c1'))).toEqual({
      cpu: 0,
      pods: 4,
    });
    // Another consumer is not touched, and neither is who has no common limit.
    const other = { grant: 'west-x', consumer: 'c2' };
    expect(ledger.reserve('shop/c', other, allowed, { cpu: 500 })).toEqual([]);
    expect(leftTogether({ cpu: 1 }, undefined, { cpu: 9 })).toEqual({ cpu: 1 });
    ledger.release('shop/a');
    expect(ledger.reserve('shop/b', of('home-c17'), allowed, { cpu: 500, pods: 1 })).toEqual([]);
  });

  it('counts what exists even beyond the grant, and says what came free', () => {
    const ledger = createQuotaLedger();
    const seen: string[] = [];
    ledger.onChange(({ grant }, freed) => void seen.push(`${grant} ${freed ? 'freed' : 'taken'}`));
    ledger.record('shop/a', of('g'), { cpu: 9000, pods: 1 });
    ledger.record('shop/a', of('g'), { cpu: 9000, pods: 1 });
    expect(ledger.reserve('shop/b', of('g'), { granted }, { cpu: 1 })).toEqual([
      { resource: 'cpu', needed: 1, free: 0 },
    ]);
    ledger.release('shop/a');
    ledger.release('shop/a');
    expect(ledger.reserve('shop/b', of('g'), { granted }, { cpu: 1 })).toEqual([]);
    expect(seen).toEqual(['g taken', 'g freed', 'g taken']);
    expect(formatAmounts(ledger.usedBy('g'))).toEqual({ cpu: '1m' });
  });
});
