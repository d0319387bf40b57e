import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  amountsGiven,
  describeShortages,
  formatAmounts,
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

  it('never gives more than the grant, in any order of reserving and releasing', () => {
    const pod = fc.record({
      cpu: fc.integer({ min: 0, max: 1500 }),
      memory: fc.integer({ min: 0, max: 2 ** 29 }),
    });
    const step = fc.oneof(
      fc.record({ do: fc.constant('reserve' as const), key: fc.integer({ min: 0, max: 12 }), pod }),
      fc.record({ do: fc.constant('release' as const), key: fc.integer({ min: 0, max: 12 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ledger = createQuotaLedger();
        const model = new Map<string, Record<string, number>>();
        for (const one of steps) {
          const key = `shop/${one.key}`;
          if (one.do === 'release') {
            ledger.release(key);
            model.delete(key);
            continue;
          }
          const needed = { ...one.pod, pods: 1 };
          if (ledger.reserve(key, 'home-default', granted, needed).length === 0) model.set(key, needed);
          const used = sumAmounts(model.values());
          expect({ cpu: 0, memory: 0, pods: 0, ...ledger.usedBy('home-default') }).toEqual({
            cpu: 0,
            memory: 0,
            pods: 0,
            ...used,
          });
          const given = amountsGiven(granted);
          for (const [resource, amount] of Object.entries(used))
            expect(amount).toBeLessThanOrEqual(given[resource] ?? 0);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('counts what exists even beyond the grant, and says what came free', () => {
    const ledger = createQuotaLedger();
    const seen: string[] = [];
    ledger.onChange((grant, freed) => void seen.push(`${grant} ${freed ? 'freed' : 'taken'}`));
    ledger.record('shop/a', 'g', { cpu: 9000, pods: 1 });
    ledger.record('shop/a', 'g', { cpu: 9000, pods: 1 });
    expect(ledger.reserve('shop/b', 'g', granted, { cpu: 1 })).toEqual([
      { resource: 'cpu', needed: 1, free: 0 },
    ]);
    ledger.release('shop/a');
    ledger.release('shop/a');
    expect(ledger.reserve('shop/b', 'g', granted, { cpu: 1 })).toEqual([]);
    expect(seen).toEqual(['g taken', 'g freed', 'g taken']);
    expect(formatAmounts(ledger.usedBy('g'))).toEqual({ cpu: '1m' });
  });
});
