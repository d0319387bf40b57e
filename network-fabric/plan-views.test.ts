import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cidrContains, cidrsOverlap, formatCidr, parseCidr } from '../api/cidr.ts';
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import type { ViewRange } from '../api/v1alpha1/view.ts';
import { realOf, seenAs } from '../api/views.ts';
import { checkAnnounced, checkOurs, mostAddresses, planViews, type AnnouncedRanges } from './plan-views.ts';

const SAME = { podCIDRs: ['10.244.0.0/16'], externalCIDR: '10.70.0.0/16' };
const OURS = ['10.244.0.0/16', '10.96.0.0/16', '10.70.0.0/16'];
const POOLS = ['10.128.0.0/9'];

const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'none';
  } catch (error) {
    return error instanceof FluviaError ? error.code : 'other';
  }
};

const range = fc
  .record({
    base: fc.integer({ min: 0x0a000000, max: 0x0affffff }),
    prefix: fc.integer({ min: 15, max: 28 }),
  })
  .map(({ base, prefix }) => formatCidr({ base: (base & ~(2 ** (32 - prefix) - 1)) >>> 0, prefix }));

const announced: fc.Arbitrary<AnnouncedRanges> = fc
  .record({ podCIDRs: fc.array(range, { minLength: 1, maxLength: 3 }), externalCIDR: range })
  .filter((item) => codeOf(() => checkAnnounced(item)) === 'none');

/** Allocates for many peers one after the other, as the controller does. */
const allocate = (
  peers: readonly AnnouncedRanges[],
  existing: ReadonlyMap<number, readonly ViewRange[]>,
  order: readonly number[],
): Map<number, ViewRange[]> => {
  const views = new Map<number, ViewRange[]>([...existing].map(([peer, ranges]) => [peer, [...ranges]]));
  for (const index of order) {
    const peer = peers[index];
    if (peer === undefined) continue;
    const others = [...views].filter(([other]) => other !== index).flatMap(([, ranges]) => ranges);
    const occupied = [...OURS, ...others.map((item) => item.view)];
    views.set(
      index,
      planViews({ announced: peer, existing: views.get(index) ?? [], occupied, pools: POOLS }),
    );
  }
  return views;
};

describe('planViews', () => {
  it('keeps a range as it is where that overlaps nothing, else takes the first free block of equal length', () => {
    const views = planViews({
      announced: { podCIDRs: ['10.244.0.0/16', '172.20.0.0/16'], externalCIDR: '10.70.0.0/16' },
      existing: [],
      occupied: [...OURS, '10.128.0.0/24'],
      pools: POOLS,
    });
    expect(views).toEqual([
      { purpose: 'Pod', real: '10.244.0.0/16', view: '10.129.0.0/16' },
      { purpose: 'Pod', real: '172.20.0.0/16', view: '172.20.0.0/16' },
      { purpose: 'External', real: '10.70.0.0/16', view: '10.130.0.0/16' },
    ]);
  });

  it.each([['8.8.8.0/24'], ['1.1.1.0/24'], ['172.32.0.0/16'], ['192.0.0.0/8'], ['100.128.0.0/16']])(
    'never takes the place of public addresses: %s is seen elsewhere, also where a view of old said otherwise',
    (real) => {
      for (const existing of [[], [{ purpose: 'Pod' as const, real, view: real }]]) {
        const announcedRanges = { podCIDRs: [real], externalCIDR: '10.71.0.0/16' };
        const pools = ['10.128.0.0/9', '11.0.0.0/8'];
        const request = { announced: announcedRanges, existing, occupied: OURS, pools };
        const [pods] = planViews({ ...request, maxAddresses: 2 ** 25 });
        expect(pods?.view).not.toBe(real);
      }
    },
  );

  it('never overlaps anything, keeps lengths, and is a bijection', () => {
    fc.assert(
      fc.property(fc.array(announced, { minLength: 1, maxLength: 6 }), (peers) => {
        const views = allocate(peers, new Map(), peers.keys().toArray());
        const all = [...views.values()].flat();
        const blocks = [...OURS, ...all.map((item) => item.view)].map(parseCidr);
        blocks.forEach((block, index) => {
          expect(blocks.slice(0, index).some((other) => cidrsOverlap(other, block))).toBe(false);
        });
        for (const ranges of views.values()) {
          for (const { real, view } of ranges) {
            expect(parseCidr(view).prefix).toBe(parseCidr(real).prefix);
            const [address = ''] = real.split('/');
            const seen = seenAs(ranges, address) ?? '';
            expect(realOf(ranges, seen)).toBe(address);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('gives the same again after a restart, in any order of peers', () => {
    fc.assert(
      fc.property(fc.array(announced, { minLength: 1, maxLength: 5 }), fc.gen(), (peers, gen) => {
        const order = peers.keys().toArray();
        const first = allocate(peers, new Map(), order);
        const shuffled = gen(fc.shuffledSubarray, order, { minLength: order.length });
        expect(allocate(peers, first, shuffled)).toEqual(first);
      }),
      { numRuns: 100 },
    );
  });

  it('moves a view that became occupied, but not one that a peer names as its endpoint', () => {
    const existing: ViewRange[] = [
      { purpose: 'Pod', real: '10.244.0.0/16', view: '10.128.0.0/16' },
      { purpose: 'External', real: '10.70.0.0/16', view: '10.129.0.0/16' },
    ];
    const request = { announced: SAME, existing, pools: POOLS };
    expect(planViews({ ...request, occupied: OURS, avoided: ['10.128.0.9/32'] })).toEqual(existing);
    expect(planViews({ ...request, occupied: [...OURS, '10.128.0.9/32'] }).map((item) => item.view)).toEqual([
      '10.130.0.0/16',
      '10.129.0.0/16',
    ]);
    expect(planViews({ ...request, existing: [], occupied: OURS, avoided: ['10.128.0.9/32'] })[0]?.view).toBe(
      '10.129.0.0/16',
    );
  });

  it('says when the pools are exhausted', () => {
    const request = { announced: SAME, existing: [], occupied: OURS, pools: ['10.128.0.0/16'] };
    expect(codeOf(() => planViews(request))).toBe(ERROR_CODES.POOL_EXHAUSTED);
    expect(() => planViews(request)).toThrow(/10\.70\.0\.0\/16 is free in the view pools 10\.128\.0\.0\/16/);
  });

  it.each([
    ['0.0.0.0/0'],
    ['10.0.0.0/7'],
    ['127.0.0.0/16'],
    ['169.254.169.254/32'],
    ['224.0.0.0/24'],
    ['0.0.0.0/16'],
    ['240.0.0.0/16'],
    ['10.70.0.0/24'],
    ['10.0.0.0/8'],
  ])('refuses an announced %s', (cidr) => {
    expect(codeOf(() => checkAnnounced({ podCIDRs: [cidr], externalCIDR: '10.70.0.0/16' }))).toBe(
      ERROR_CODES.CIDR_OVERLAP,
    );
  });

  it('refuses an announced range with host bits', () => {
    expect(codeOf(() => checkAnnounced({ podCIDRs: ['10.1.2.3/16'], externalCIDR: '10.70.0.0/16' }))).toBe(
      ERROR_CODES.BAD_INPUT,
    );
  });
});

/** Any range that may be announced, the pools' more often: any length, any place. */
const anyRange = fc
  .record({
    base: fc.oneof(
      fc.integer({ min: 0x0a800000, max: 0x0affffff }),
      fc.integer({ min: 0x01000000, max: 0xdfffffff }),
    ),
    prefix: fc.integer({ min: 8, max: 32 }),
  })
  .map(({ base, prefix }) => formatCidr({ base: (base & ~(2 ** (32 - prefix) - 1)) >>> 0, prefix }));
const hostile: fc.Arbitrary<AnnouncedRanges> = fc
  .uniqueArray(anyRange, { minLength: 2, maxLength: 17 })
  .map(([externalCIDR = '', ...rest]) => ({
    externalCIDR,
    // what overlaps would be refused as a whole
    podCIDRs: rest.filter(
      (one, index) =>
        ![externalCIDR, ...rest.slice(0, index)].some((other) =>
          cidrsOverlap(parseCidr(one), parseCidr(other)),
        ),
    ),
  }))
  .filter((item) => item.podCIDRs.length > 0 && codeOf(() => checkAnnounced(item)) === 'none');

describe('what one peer may take', () => {
  const spread = (prefix: number): AnnouncedRanges => ({
    podCIDRs: Array.from({ length: 16 }, (_, index) => `10.${128 + index * 8}.0.0/${prefix}`),
    externalCIDR: '10.70.0.0/16',
  });
  const attacks: readonly AnnouncedRanges[] = [
    { podCIDRs: ['20.0.0.0/9'], externalCIDR: '10.70.0.0/16' },
    spread(13),
    spread(16),
    spread(28),
    {
      podCIDRs: ['20.0.0.0/12', '21.0.0.0/13', ...spread(28).podCIDRs.slice(2)],
      externalCIDR: '22.0.0.0/14',
    },
  ];
  const honest: readonly AnnouncedRanges[] = [
    { podCIDRs: ['10.240.0.0/12'], externalCIDR: '10.70.0.0/16' },
    ...Array.from({ length: 6 }, () => SAME),
    { podCIDRs: ['10.128.0.0/14'], externalCIDR: '10.70.0.0/16' },
    { podCIDRs: ['192.168.0.0/16'], externalCIDR: '10.71.0.0/16' },
  ];

  const serveAfter = (first: AnnouncedRanges, endpoint: string): string[] => {
    const taken: string[] = [];
    const outcomes: string[] = [];
    const avoided = [`${endpoint}/32`];
    for (const peer of [first, ...honest]) {
      outcomes.push(
        codeOf(() => {
          const request = { announced: peer, existing: [], avoided, pools: POOLS };
          taken.push(...planViews({ ...request, occupied: [...OURS, ...taken] }).map(({ view }) => view));
        }),
      );
    }
    return outcomes.slice(1);
  };
  const fine = honest.map(() => 'none');

  it.each(attacks.map((attack) => [attack.podCIDRs.slice(0, 2).join(' '), attack] as const))(
    'leaves room for others: %s',
    (_name, attack) => expect(serveAfter(attack, '10.200.0.1')).toEqual(fine),
  );

  it('leaves room for every other honest peer, whatever it announces and wherever it is', () => {
    const address = fc.integer({ min: 0x0a800000, max: 0x0affffff });
    fc.assert(
      fc.property(hostile, address, (first, ip) => {
        const [endpoint = ''] = formatCidr({ base: ip, prefix: 32 }).split('/');
        expect(serveAfter(first, endpoint)).toEqual(fine);
      }),
      { numRuns: 1000 },
    );
  });

  it('is a quarter of the pools, four /16 at least, or what its Peer says', () => {
    expect(mostAddresses(POOLS)).toBe(2 ** 21);
    expect(mostAddresses(['10.128.0.0/9', '10.128.0.0/16', '100.64.0.0/10'])).toBe((2 ** 23 + 2 ** 22) / 4);
    expect(mostAddresses(['10.128.0.0/15'])).toBe(2 ** 18);
    const big = { podCIDRs: ['172.16.0.0/12', '20.0.0.0/11'], externalCIDR: '10.71.0.0/16' };
    const request = { announced: big, existing: [], occupied: OURS, pools: POOLS };
    expect(codeOf(() => planViews(request))).toBe(ERROR_CODES.QUOTA_EXCEEDED);
    expect(() => planViews(request)).toThrow('3211264 addresses together, more than the 2097152');
    expect(codeOf(() => planViews({ ...request, maxAddresses: 3_211_264 }))).toBe('none');
    expect(codeOf(() => planViews({ ...request, announced: SAME, maxAddresses: 65_536 }))).toBe(
      ERROR_CODES.QUOTA_EXCEEDED,
    );
  });

  it('is in the pools as itself at two places only, and what stands counts', () => {
    const podCIDRs = ['10.160.0.0/24', '10.176.0.0/24', '10.192.0.0/24'];
    const request = { announced: { podCIDRs, externalCIDR: '10.71.0.0/16' }, occupied: OURS, pools: POOLS };
    const first = planViews({ ...request, existing: [] });
    expect(first.map(({ view }) => view)).toEqual([
      '10.160.0.0/24',
      '10.176.0.0/24',
      '10.128.0.0/24',
      '10.71.0.0/16',
    ]);
    expect(planViews({ ...request, existing: first })).toEqual(first);
  });
});

describe('checkOurs', () => {
  it('keeps what is sound of what a peer says and drops the rest', () => {
    const told: ViewRange[] = [
      { purpose: 'Pod', real: '10.244.0.0/16', view: '10.61.0.0/16' },
      { purpose: 'External', real: '10.70.0.0/16', view: '10.61.0.0/16' },
      { purpose: 'Pod', real: '10.96.0.0/16', view: '10.99.0.0/16' },
    ];
    expect(checkOurs(told, SAME)).toEqual([told[0]]);
    expect(checkOurs([{ purpose: 'Pod', real: '10.244.0.0/16', view: '10.61.0.0/24' }], SAME)).toEqual([]);
    expect(checkOurs([{ purpose: 'Pod', real: '10.244.0.0/16', view: '127.0.0.0/16' }], SAME)).toEqual([]);
    expect(checkOurs([{ purpose: 'Pod', real: '10.244.0.0/16', view: '10.61.0.1/16' }], SAME)).toEqual([]);
  });

  it('never gives a range that this cluster does not announce', () => {
    const told = fc.array(
      fc.record({ purpose: fc.constantFrom('Pod' as const, 'External' as const), real: range, view: range }),
    );
    fc.assert(
      fc.property(told, announced, (ranges, own) => {
        for (const item of checkOurs(ranges, own)) {
          expect([...own.podCIDRs, own.externalCIDR]).toContain(item.real);
          expect(cidrContains(parseCidr('0.0.0.0/0'), parseCidr(item.view))).toBe(true);
        }
      }),
    );
  });
});
