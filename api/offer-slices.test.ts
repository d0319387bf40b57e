import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIp } from './cidr.ts';
import { planOfferSlices, type OfferSlices } from './offer-slices.ts';
import { OFFER_SLICE_SIZE, type OfferedAddress } from './v1alpha1/offer.ts';

const address = (n: number): OfferedAddress => ({ cidr: `${formatIp(n)}/32` });
const flat = (slices: OfferSlices): string[] => [...slices.values()].flat().map((a) => a.cidr);
const set = fc.uniqueArray(fc.integer({ min: 0, max: 900 }), { maxLength: 700 }).map((ns) => ns.map(address));

describe('planOfferSlices', () => {
  it('holds exactly what is wanted, in slices that are neither empty nor too large, and keeps what stays', () => {
    fc.assert(
      fc.property(set, set, (first, second) => {
        const before = planOfferSlices(new Map(), first);
        const after = planOfferSlices(before, second);
        expect(flat(after).sort()).toEqual(second.map((a) => a.cidr).sort());
        for (const [number, addresses] of after) {
          expect(addresses.length).toBeGreaterThan(0);
          expect(addresses.length).toBeLessThanOrEqual(OFFER_SLICE_SIZE);
          const old = new Set(before.get(number)?.map((a) => a.cidr));
          const elsewhere = new Set(
            [...before].filter(([n]) => n !== number).flatMap(([, a]) => a.map((x) => x.cidr)),
          );
          expect(addresses.filter((a) => !old.has(a.cidr) && elsewhere.has(a.cidr))).toEqual([]);
        }
        expect(planOfferSlices(after, second)).toEqual(after);
      }),
      { numRuns: 50 },
    );
  });

  it('merges duplicates but keeps the same range with other ports', () => {
    const open = { cidr: '10.0.0.1/32', ports: [{ protocol: 'TCP', port: 80 }] } as const;
    const slices = planOfferSlices(new Map(), [
      address(0x0a000001),
      address(0x0a000001),
      { ...open, ports: [...open.ports] },
    ]);
    expect(slices.get(0)).toHaveLength(2);
  });
});
