import { OFFER_SLICE_SIZE, type OfferedAddress } from './v1alpha1/offer.ts';

/** A slice by its number; the Offer is named `<peer>-<source>-<number>`. */
export type OfferSlices = ReadonlyMap<number, readonly OfferedAddress[]>;

const keyOf = (address: OfferedAddress): string => JSON.stringify([address.cidr, address.ports ?? null]);

/**
 * The slices that hold exactly `wanted`, changing as few of the `existing` slices as possible: what stays keeps its
 * slice, news fill the gaps from the lowest number, empty slices vanish. Duplicates are merged.
 */
export const planOfferSlices = (existing: OfferSlices, wanted: readonly OfferedAddress[]): OfferSlices => {
  const missing = new Map(wanted.map((address) => [keyOf(address), address]));
  const slices = new Map<number, OfferedAddress[]>();
  for (const [number, addresses] of [...existing].sort(([a], [b]) => a - b)) {
    const kept = addresses.filter((address) => missing.delete(keyOf(address))).slice(0, OFFER_SLICE_SIZE);
    slices.set(number, kept);
  }
  let number = 0;
  for (const address of missing.values()) {
    while ((slices.get(number)?.length ?? 0) >= OFFER_SLICE_SIZE) {
      number += 1;
    }
    slices.set(number, [...(slices.get(number) ?? []), address]);
  }
  return new Map([...slices].filter(([, addresses]) => addresses.length > 0));
};
