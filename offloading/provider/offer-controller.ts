/** Opens the addresses of shadows to their consumers, and to the peers that a namespace is shared with. One key per peer. */
import { Ipv4String } from '../../api/cidr.ts';
import { ANNOTATIONS } from '../../api/labels.ts';
import { runController, type WatchSource } from '../../runtime/kube/controller.ts';
import type { Change, Informer } from '../../runtime/kube/informer.ts';
import type { HasMetadata, Pod } from '../../runtime/kube/types.ts';
import { createWorkQueue } from '../../runtime/kube/work-queue.ts';
import { isPeerNews } from './consumers.ts';
import { FIELD_MANAGER, OFFER, type ProviderContext } from './context.ts';
import { isShadowOffer, planOffers, type ShadowAddress } from './plan-offers.ts';
import { sharedWithOf } from './plan-twin.ts';
import { homeOfLabels } from './twins.ts';

/** Addresses that come within this time are one change of an Offer. */
const GATHER_MS = 50;

/** A pod's address that may be reached: while it runs, and until it is gone. */
const addressOf = (pod: Pod): string | undefined => {
  const { podIP, phase } = pod.status ?? {};
  const isShadow = pod.metadata.ownerReferences?.some(({ kind }) => kind === 'ShadowPod') === true;
  // After its end the address may be another pod's at any time.
  const ended = phase === 'Succeeded' || phase === 'Failed';
  if (!isShadow || ended || pod.spec.hostNetwork === true) return undefined;
  return Ipv4String.safeParse(podIP).success ? podIP : undefined;
};

/** Runs until `signal` aborts. */
export const runOfferController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, consumers, namespaces, twins, pods, offers, peers } = context;
  const { client } = deps;
  const queue = createWorkQueue({ clock: deps.clock });

  const clustersOf = (twin: string): readonly string[] => {
    const home = twins.homeOf(twin);
    if (home === undefined || consumers.stateOf(home.clusterID) === 'gone') return [];
    return [home.clusterID, ...sharedWithOf(namespaces.get(undefined, twin)?.metadata.annotations)];
  };

  const shadowAddresses = (): readonly ShadowAddress[] =>
    pods.list().flatMap((pod) => {
      const address = addressOf(pod);
      return address === undefined ? [] : [{ address, clusters: clustersOf(pod.metadata.namespace ?? '') }];
    });

  const peersOf = (clusters: readonly string[]): readonly string[] =>
    clusters.flatMap((id) => consumers.peerOf(id)?.metadata.name ?? []);

  const reconcile = async (peerName: string): Promise<void> => {
    const peer = peers.get(undefined, peerName);
    const current =
      peer === undefined || peer.metadata.deletionTimestamp !== undefined
        ? undefined
        : { name: peerName, clusterID: peer.spec.clusterID };
    const changes = planOffers(current, peerName, shadowAddresses(), offers.list());
    const options = { fieldManager: FIELD_MANAGER, signal };
    for (const offer of changes.create) await client.create(OFFER, offer, options);
    for (const offer of changes.update) await client.update(OFFER, offer, options);
    for (const { metadata } of changes.remove) {
      await client.delete(OFFER, metadata.name, undefined, { uid: metadata.uid, signal });
    }
  };

  const source = <T extends HasMetadata>(
    informer: Informer<T>,
    peersToLookAt: (change: Change<T>) => readonly string[],
  ): WatchSource => ({
    whenSynced: (abort) => informer.whenSynced(abort),
    subscribe: () =>
      informer.onChange((change) => {
        for (const name of peersToLookAt(change)) queue.addAfter(name, GATHER_MS);
      }),
  });
  const allPeers = (): readonly string[] => peers.list().map(({ metadata }) => metadata.name);

  return runController(
    {
      name: 'offloading.offer',
      sources: [
        source(pods, ({ type, object, old }) =>
          type === 'updated' && addressOf(object) === addressOf(old)
            ? []
            : peersOf(clustersOf(object.metadata.namespace ?? '')),
        ),
        source(namespaces, ({ type, object, old }) => {
          const isTwin = homeOfLabels(object) !== undefined;
          const same =
            type === 'updated' &&
            object.metadata.annotations?.[ANNOTATIONS.sharedWith] ===
              old.metadata.annotations?.[ANNOTATIONS.sharedWith];
          return isTwin && !same ? allPeers() : [];
        }),
        source(peers, (change) => (isPeerNews(change) ? [change.object.metadata.name] : [])),
        source(offers, ({ object }) => (isShadowOffer(object, object.spec.peer) ? [object.spec.peer] : [])),
      ],
      reconcile,
      workers: 1,
      queue,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
