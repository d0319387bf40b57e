/** Holds a consumer's Peer until its shadows, twins and Offers are gone, so that "no Peer" means "nothing left". */
import { FINALIZERS } from '../../api/labels.ts';
import { runController, watchSource } from '../../runtime/kube/controller.ts';
import { addFinalizer, hasFinalizer, isDeleting, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { isPeerNews } from './consumers.ts';
import { PEER, type ProviderContext } from './context.ts';
import { isShadowOffer } from './plan-offers.ts';
import { homeOfLabels } from './twins.ts';

/** Runs until `signal` aborts. */
export const runTwinHoldController = (context: ProviderContext, signal: AbortSignal): Promise<void> => {
  const { deps, peers, twins, namespaces, offers, consumers } = context;

  const reconcile = async (name: string): Promise<void> => {
    const peer = peers.get(undefined, name);
    if (peer === undefined) return;
    if (!isDeleting(peer) && peer.spec.roles.includes('Consumer')) {
      await addFinalizer(deps.client, PEER, peer, FINALIZERS.twins, { signal });
      return;
    }
    const isLeft =
      twins.ofCluster(peer.spec.clusterID).length > 0 ||
      (isDeleting(peer) && offers.list().some((offer) => isShadowOffer(offer, name)));
    if (isLeft || !hasFinalizer(peer, FINALIZERS.twins)) return;
    await removeFinalizer(deps.client, PEER, peer, FINALIZERS.twins, { signal });
  };

  return runController(
    {
      name: 'offloading.twin-hold',
      sources: [
        watchSource(peers, (change) =>
          isPeerNews(change) || !hasFinalizer(change.object, FINALIZERS.twins)
            ? [change.object.metadata.name]
            : [],
        ),
        watchSource(namespaces, ({ object, type }) => {
          const home = type === 'deleted' ? homeOfLabels(object) : undefined;
          const peer = home === undefined ? undefined : consumers.peerOf(home.clusterID);
          return peer === undefined ? [] : [peer.metadata.name];
        }),
        watchSource(offers, ({ object, type }) => (type === 'deleted' ? [object.spec.peer] : [])),
      ],
      reconcile,
      workers: 1,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
