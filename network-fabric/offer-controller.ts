/** `network.offer`: what people open by NetworkConfig.spec.open, as Offers `<peer>-open-<n>`. */
import { LABELS, MANAGED_BY } from '../api/labels.ts';
import { planOfferSlices } from '../api/offer-slices.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { Offer } from '../api/v1alpha1/offer.ts';
import { ensure, equalJson } from '../runtime/kube/apply.ts';
import type { Reconcile } from '../runtime/kube/controller.ts';
import { hasOwnAddress } from './fabric-node-controller.ts';
import { OFFER } from './kinds.ts';
import { FIELD_MANAGER } from './names.ts';
import { ownedByPeer, removeObject, type NetworkContext } from './network-context.ts';
import { planOpen } from './plan-open.ts';

/** `fluvia.dev/offer-source` of these Offers. */
export const OFFER_SOURCE = 'open';

const podsByNamespace = (context: NetworkContext, config: NetworkConfig): Map<string, string[]> => {
  const wanted = new Set(config.spec.open.flatMap((rule) => rule.namespaces ?? []));
  const pods = new Map<string, string[]>();
  if (wanted.size === 0) return pods;
  for (const pod of context.informers.pods.list()) {
    const namespace = pod.metadata.namespace ?? '';
    const address = pod.status?.podIP;
    if (!wanted.has(namespace) || address === undefined || !hasOwnAddress(pod, config.spec.podCIDRs))
      continue;
    pods.set(namespace, [...(pods.get(namespace) ?? []), address]);
  }
  return pods;
};

/** createOfferReconcile makes the controller's reconcile; keys are names of peers. */
export const createOfferReconcile =
  (context: NetworkContext): Reconcile =>
  async (name, signal) => {
    const { informers, deps } = context;
    const peer = informers.peers.get(undefined, name);
    const config = context.config();
    const prefix = `${name}-${OFFER_SOURCE}-`;
    const existing = new Map<number, Offer>();
    for (const offer of informers.offers.list()) {
      const { labels } = offer.metadata;
      if (labels?.[LABELS.offerSource] !== OFFER_SOURCE || labels[LABELS.peer] !== name) continue;
      existing.set(Number(offer.metadata.name.slice(prefix.length)), offer);
    }
    const wanted =
      peer === undefined || config === undefined
        ? []
        : planOpen({ config: config.spec, peer: name, podsByNamespace: podsByNamespace(context, config) });
    const live = [...existing].filter(([, offer]) => offer.metadata.deletionTimestamp === undefined);
    const slices = planOfferSlices(
      new Map(live.map(([number, offer]) => [number, offer.spec.addresses])),
      wanted,
    );
    for (const [number, addresses] of slices) {
      const labels = {
        [LABELS.peer]: name,
        [LABELS.offerSource]: OFFER_SOURCE,
        [LABELS.managedBy]: MANAGED_BY,
      };
      const manifest = {
        metadata: {
          name: `${prefix}${number}`,
          labels,
          ...(peer === undefined ? {} : { ownerReferences: ownedByPeer(peer) }),
        },
        spec: { peer: name, addresses: [...addresses] },
      };
      const old = existing.get(number);
      const same = equalJson(old?.spec, manifest.spec) ? old : undefined;
      await ensure(deps.client, OFFER, manifest, { fieldManager: FIELD_MANAGER, existing: same, signal });
    }
    for (const [number, offer] of live) {
      if (!slices.has(number)) await removeObject(context, OFFER, offer, signal);
    }
  };
