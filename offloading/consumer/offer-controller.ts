import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import { planOfferSlices } from '../../api/offer-slices.ts';
import type { Offer, OfferedAddress } from '../../api/v1alpha1/offer.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists, isNotFound } from '../../runtime/kube/errors.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { OFFER, type Home } from './home.ts';
import type { Reflection } from './reflection-controller.ts';

/** `fluvia.dev/offer-source` of this controller's Offers. */
export const ENDPOINT_OFFERS = 'endpoints';

const merged = (addresses: readonly OfferedAddress[]): readonly OfferedAddress[] => {
  const byCIDR = new Map<string, OfferedAddress>();
  for (const address of addresses) {
    const known = byCIDR.get(address.cidr);
    const ports =
      known === undefined
        ? address.ports
        : known.ports && address.ports && [...known.ports, ...address.ports].filter(isFirst);
    byCIDR.set(address.cidr, { cidr: address.cidr, ...(ports === undefined ? {} : { ports }) });
  }
  return [...byCIDR.values()];
};

const isFirst = <T>(item: T, index: number, list: readonly T[]): boolean =>
  list.findIndex((other) => JSON.stringify(other) === JSON.stringify(item)) === index;

/** Lets each peer reach home's endpoints of the Services reflected to it: Offers `<peer>-endpoints-<n>`. Keyed by peer. */
export const startEndpointOffers = (
  deps: ControllerDeps,
  home: Home,
  reflection: Reflection,
  signal: AbortSignal,
): void => {
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });
  reflection.onOffersChange((peer) => queue.add(peer));

  const isOurs = (offer: Offer): boolean => offer.metadata.labels?.[LABELS.offerSource] === ENDPOINT_OFFERS;
  const prefixOf = (peer: string): string => `${peer}-${ENDPOINT_OFFERS}-`;

  const write = async (
    peer: string,
    number: number,
    addresses: readonly OfferedAddress[],
    existing?: Offer,
  ) => {
    const spec = { peer, addresses };
    if (existing !== undefined) {
      if (equalJson(existing.spec, spec)) return;
      await client.patch(OFFER, existing.metadata.name, undefined, { spec }, { type: 'merge', signal });
      return;
    }
    const metadata = {
      name: `${prefixOf(peer)}${number}`,
      labels: { [LABELS.peer]: peer, [LABELS.offerSource]: ENDPOINT_OFFERS, [LABELS.managedBy]: MANAGED_BY },
    };
    await client.create(OFFER, { metadata, spec }, { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
  };

  const reconcile = async (peer: string): Promise<ReconcileResult> => {
    const mine = home.offers.list().filter((offer) => isOurs(offer) && offer.spec.peer === peer);
    const existing = new Map(
      mine.map((offer) => [Number(offer.metadata.name.slice(prefixOf(peer).length)), offer]),
    );
    const isGone = home.peers.get(undefined, peer) === undefined;
    const offered = reflection.offered(peer);
    // A new leader takes nothing away before it knows everything.
    if (!isGone && offered === undefined) return {};
    const wanted = planOfferSlices(
      new Map([...existing].map(([number, offer]) => [number, offer.spec.addresses])),
      isGone ? [] : merged(offered ?? []),
    );
    for (const [number, addresses] of wanted) await write(peer, number, addresses, existing.get(number));
    for (const [number, offer] of existing) {
      if (!wanted.has(number)) await client.delete(OFFER, offer.metadata.name, undefined, { signal });
    }
    return {};
  };

  void runController(
    {
      name: 'offloading.endpoint-offers',
      queue,
      workers: 1,
      sources: [
        watchSource(home.offers, ({ object }) => (isOurs(object) ? [object.spec.peer] : [])),
        watchSource(home.peers),
      ],
      reconcile: (peer) =>
        reconcile(peer).catch((error: unknown) => {
          if (isNotFound(error)) return { requeueAfterMs: 500 };
          throw error;
        }),
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
