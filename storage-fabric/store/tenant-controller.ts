/** `storage.tenant`: who may have tokens of this cluster's store, and the end of all that were given to whom no longer may. */
import type { PeerLink } from '../../api/link.ts';
import { HOME_PLACE } from '../../api/places.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { fluviaResource } from '../../runtime/kube/resources.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { ownFront } from './own-front.ts';
import { whyNoTenant, type NoTenant } from './plan-tenant.ts';
import type { OwnStore } from './store-controller.ts';
import { controlToken } from './tokens.ts';

const PEER = fluviaResource('Peer', 'peers', false);

/** The clusters that this store is for. */
export interface Tenants {
  /** Whether the Peers are known; before, nothing is said of any. */
  isKnown(): boolean;
  /** Why whoever is at the other end gets no token; undefined when it may have one. This cluster itself always may. */
  whyNot(link: PeerLink): NoTenant | undefined;
  /** Called with the peer's name when that may have changed; with undefined once the Peers are known. */
  onChange(listener: (peer: string | undefined) => void): void;
}

/** Starts the controller; keys are cluster IDs. */
export const startTenantController = (
  deps: ControllerDeps,
  store: OwnStore,
  signal: AbortSignal,
): Tenants => {
  const { clock, log, metrics, clusterName } = deps;
  const peers = deps.informers.for<Peer>(PEER);
  const queue = createWorkQueue({ clock });
  /** Clusters whose tokens this leader has ended since they were last tenants. */
  const ended = new Set<string>();
  /** Clusters whose tokens are to be ended once the store answers. */
  const waiting = new Set<string>();
  store.onChange(() => waiting.forEach((clusterID) => queue.add(clusterID)));

  const isTenant = (clusterID: string): boolean =>
    peers
      .list()
      .some((peer) => peer.spec.clusterID === clusterID && whyNoTenant(peer, clusterName) === undefined);

  const reconcile = async (clusterID: string): Promise<ReconcileResult> => {
    waiting.delete(clusterID);
    if (isTenant(clusterID)) {
      ended.delete(clusterID);
      return {};
    }
    if (ended.has(clusterID)) return {};
    const key = store.tokenKey();
    // a store that isn't there now may come back with what it held
    if (key === undefined || store.item()?.ready !== true) {
      waiting.add(clusterID);
      return {};
    }
    await ownFront(store, controlToken(key, clusterID, clock.now())).revokeAll(clusterID);
    ended.add(clusterID);
    log.info('ended all tokens of a cluster that is no longer a consumer', {
      controller: 'storage.tenant',
      cluster: clusterID,
    });
    return {};
  };

  runController(
    {
      name: 'storage.tenant',
      sources: [watchSource(peers, ({ object }) => [object.spec.clusterID])],
      reconcile,
      workers: 1,
      queue,
      log,
      clock,
      metrics,
    },
    signal,
  ).catch((err: unknown) => {
    if (!signal.aborted) log.error('a controller ended', { controller: 'storage.tenant', err });
  });

  return {
    isKnown: () => peers.hasSynced(),
    whyNot: (link) =>
      link.peer === HOME_PLACE ? undefined : whyNoTenant(peers.get(undefined, link.peer), clusterName),
    onChange: (listener) => {
      peers.onChange(({ object }) => listener(object.metadata.name));
      peers.whenSynced(signal).then(
        () => listener(undefined),
        () => undefined,
      );
    },
  };
};
