/** `storage.store`: where this cluster's front is, told to every peer and opened to it. */
import { LABELS, MANAGED_BY, PORTS } from '../../api/labels.ts';
import type { ItemOf, Links } from '../../api/link.ts';
import { STORE } from '../../api/storage-collections.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { ensure, equalJson } from '../../runtime/kube/apply.ts';
import { runController, watchSource } from '../../runtime/kube/controller.ts';
import { fluviaResource, POD } from '../../runtime/kube/resources.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { chooseFront, planStoreItem, type FrontPod } from './plan-store.ts';
import { ensureStoreKeys, storeServerName } from './store-secret.ts';

/** `fluvia.dev/offer-source` of these Offers. */
export const OFFER_SOURCE = 'store';
/** Labels of the front's pods, as `deploy/manifests/store.ts` sets them. */
export const FRONT_SELECTOR = 'app.kubernetes.io/name=fluvia,app.kubernetes.io/component=store';

const FIELD_MANAGER = 'fluvia-storage';
const STORE_ID = 'store';
const KEY = 'store';
/** A front that isn't ready is asked why this often. */
const TROUBLE_MS = 5000;
/** The certificate's age is looked at this often. */
const RENEW_MS = 6 * 3_600_000;

const OFFER = fluviaResource('Offer', 'offers', false);
const PEER = fluviaResource('Peer', 'peers', false);

/** This cluster's own store as its leader sees it. */
export interface OwnStore {
  /** What peers are told; undefined when nothing could be reached. */
  item(): ItemOf<typeof STORE> | undefined;
  /** Whether a front is installed, running or not. */
  isInstalled(): boolean;
  /** Whether this leader has looked yet; before, the others mean nothing. */
  isKnown(): boolean;
  /** The key that tokens are signed with; undefined until it was read. */
  tokenKey(): Buffer | undefined;
  onChange(listener: () => void): void;
}

const frontPodOf = (pod: Pod): FrontPod => ({
  name: pod.metadata.name,
  ...(pod.status?.podIP === undefined ? {} : { address: pod.status.podIP }),
  isReady: pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
  isGoing:
    pod.metadata.deletionTimestamp !== undefined ||
    pod.status?.phase === 'Failed' ||
    pod.status?.phase === 'Succeeded',
  createdAt: pod.metadata.creationTimestamp ?? '',
});

/** Why a front isn't ready, in its own words: wrong credentials, no bucket, a full disk. */
const askTrouble = async (address: string): Promise<string | undefined> => {
  try {
    const response = await fetch(`http://${address}:${PORTS.metrics}/readyz`, {
      signal: AbortSignal.timeout(2000),
    });
    return (await response.text()).trim();
  } catch {
    return undefined;
  }
};

/** Starts the controller. */
export const startStoreController = (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): OwnStore => {
  const { client, clock, log, metrics, systemNamespace } = deps;
  const pods = deps.informers.for<Pod>(POD, { namespace: systemNamespace, labelSelector: FRONT_SELECTOR });
  const offers = deps.informers.for<Offer>(OFFER);
  const peers = deps.informers.for<Peer>(PEER);
  const queue = createWorkQueue({ clock });
  const listeners = new Set<() => void>();
  let item: ItemOf<typeof STORE> | undefined;
  let tokenKey: Buffer | undefined;
  let isKnown = false;

  const publish = (): void => {
    for (const link of links.list()) {
      const publisher = link.publish(STORE);
      if (item === undefined) publisher.delete(STORE_ID);
      else publisher.set(STORE_ID, item);
      publisher.markComplete();
    }
  };

  const syncOffers = async (inner: AbortSignal): Promise<void> => {
    const wanted = new Map<string, Peer>(
      peers.list().map((peer) => [`${peer.metadata.name}-${OFFER_SOURCE}-0`, peer]),
    );
    const mine = offers
      .list()
      .filter(({ metadata }) => metadata.labels?.[LABELS.offerSource] === OFFER_SOURCE);
    const existing = new Map(mine.map((offer) => [offer.metadata.name, offer]));
    for (const [name, peer] of item === undefined ? [] : wanted) {
      const { uid } = peer.metadata;
      if (peer.metadata.deletionTimestamp !== undefined || uid === undefined) continue;
      const spec = {
        peer: peer.metadata.name,
        addresses: [
          { cidr: `${item?.address ?? ''}/32`, ports: [{ protocol: 'TCP' as const, port: PORTS.store }] },
        ],
      };
      const old = existing.get(name);
      const same = equalJson(old?.spec, spec) ? old : undefined;
      const manifest = {
        metadata: {
          name,
          labels: {
            [LABELS.peer]: peer.metadata.name,
            [LABELS.offerSource]: OFFER_SOURCE,
            [LABELS.managedBy]: MANAGED_BY,
          },
          // it goes with its Peer, also when no controller runs
          ownerReferences: [{ apiVersion: peer.apiVersion, kind: 'Peer', name: peer.metadata.name, uid }],
        },
        spec,
      };
      await ensure(client, OFFER, manifest, { fieldManager: FIELD_MANAGER, existing: same, signal: inner });
    }
    for (const { metadata } of mine) {
      const isWanted = item !== undefined && wanted.has(metadata.name);
      if (!isWanted && metadata.deletionTimestamp === undefined) await client.delete(OFFER, metadata.name);
    }
  };

  const reconcile = async (_key: string, inner: AbortSignal): Promise<{ requeueAfterMs?: number }> => {
    const pod = chooseFront(pods.list().map(frontPodOf));
    if (pod === undefined) item = undefined;
    else {
      const keys = await ensureStoreKeys(client, clock, systemNamespace, clusterID);
      ({ tokenKey } = keys);
      const trouble = pod.isReady || pod.address === undefined ? undefined : await askTrouble(pod.address);
      const fixed = {
        port: PORTS.store,
        caCertificate: keys.caCertificate,
        serverName: storeServerName(clusterID),
      };
      item = planStoreItem(pod, fixed, trouble);
    }
    isKnown = true;
    publish();
    for (const listener of listeners) listener();
    await syncOffers(inner);
    if (pod === undefined) return {};
    return { requeueAfterMs: item?.ready === true ? RENEW_MS : TROUBLE_MS };
  };

  const toStore = (): string[] => [KEY];
  runController(
    {
      name: 'storage.store',
      sources: [
        watchSource(pods, toStore),
        watchSource(offers, ({ object }) =>
          object.metadata.labels?.[LABELS.offerSource] === OFFER_SOURCE ? [KEY] : [],
        ),
        watchSource(peers, (change) => (change.type === 'updated' ? [] : [KEY])),
      ],
      reconcile,
      workers: 1,
      queue,
      log,
      clock,
      metrics,
    },
    signal,
  ).catch((err: unknown) => {
    if (!signal.aborted) log.error('a controller ended', { controller: 'storage.store', err });
  });
  // also without any pod, so that peers hear that there is no store
  queue.add(KEY);
  links.onLink(() => queue.add(KEY));

  return {
    item: () => item,
    isKnown: () => isKnown,
    isInstalled: () => pods.list().length > 0,
    tokenKey: () => tokenKey,
    onChange: (listener) => listeners.add(listener),
  };
};
