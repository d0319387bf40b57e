/** Which addresses of shadows are offered to which peer, and how the Offers that say so change. */
import { API_VERSION, LABELS } from '../../api/labels.ts';
import { planOfferSlices } from '../../api/offer-slices.ts';
import type { Offer, OfferedAddress } from '../../api/v1alpha1/offer.ts';

/** Value of the label that tells these Offers from other controllers'. */
export const OFFER_SOURCE = 'shadows';

/** A running pod of a consumer. */
export interface ShadowAddress {
  readonly address: string;
  /** Cluster IDs that may reach it: its consumer and those it shares the namespace with. */
  readonly clusters: readonly string[];
}

/** What of the Offers has to be written. */
export interface OfferChanges {
  readonly create: readonly Pick<Offer, 'apiVersion' | 'kind' | 'metadata' | 'spec'>[];
  readonly update: readonly Offer[];
  readonly remove: readonly Offer[];
}

const nameOf = (peer: string, number: number): string => `${peer}-${OFFER_SOURCE}-${number}`;

const numberOf = (offer: Offer): number => Number(/-(\d{1,6})$/.exec(offer.metadata.name)?.[1] ?? -1);

/** Whether an Offer is one of these for the peer. */
export const isShadowOffer = (offer: Offer, peer: string): boolean =>
  offer.spec.peer === peer &&
  offer.metadata.labels?.[LABELS.offerSource] === OFFER_SOURCE &&
  offer.metadata.name === nameOf(peer, numberOf(offer));

const keyOf = (addresses: readonly OfferedAddress[]): string => JSON.stringify(addresses);

/** The changes that make the peer's Offers hold exactly the addresses that its cluster may reach. */
export const planOffers = (
  peer: { readonly name: string; readonly clusterID: string } | undefined,
  peerName: string,
  shadows: readonly ShadowAddress[],
  offers: readonly Offer[],
): OfferChanges => {
  const mine = offers.filter((offer) => isShadowOffer(offer, peerName));
  const addresses = new Set(
    peer === undefined
      ? []
      : shadows.filter(({ clusters }) => clusters.includes(peer.clusterID)).map(({ address }) => address),
  );
  const wanted = [...addresses].sort().map((address): OfferedAddress => ({ cidr: `${address}/32` }));
  const byNumber = new Map(mine.map((offer) => [numberOf(offer), offer]));
  const slices = planOfferSlices(
    new Map([...byNumber].map(([number, offer]) => [number, offer.spec.addresses])),
    wanted,
  );
  const create: OfferChanges['create'][number][] = [];
  const update: Offer[] = [];
  for (const [number, slice] of slices) {
    const existing = byNumber.get(number);
    const spec = { peer: peerName, addresses: [...slice] };
    if (existing === undefined) {
      const labels = { [LABELS.peer]: peerName, [LABELS.offerSource]: OFFER_SOURCE };
      create.push({
        apiVersion: API_VERSION,
        kind: 'Offer',
        metadata: { name: nameOf(peerName, number), labels },
        spec,
      });
    } else if (keyOf(existing.spec.addresses) !== keyOf(slice)) {
      update.push({ ...existing, spec });
    }
  }
  return { create, update, remove: mine.filter((offer) => !slices.has(numberOf(offer))) };
};
