/** The peerings whose peer sends pods here, with their collections. */
import { NAMESPACES, OBJECTS, SHADOWS, SHADOW_STATUS, TWINS } from '../../api/collections.ts';
import type { ItemOf, Links, PeerLink, Publisher, Subscriber } from '../../api/link.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { Change, Informer } from '../../runtime/kube/informer.ts';

/** A consumer whose link exists (it may be down). */
export interface Consumer {
  readonly link: PeerLink;
  readonly clusterID: string;
  readonly namespaces: Subscriber<ItemOf<typeof NAMESPACES>>;
  readonly shadows: Subscriber<ItemOf<typeof SHADOWS>>;
  readonly objects: Subscriber<ItemOf<typeof OBJECTS>>;
  readonly twins: Publisher<ItemOf<typeof TWINS>>;
  readonly statuses: Publisher<ItemOf<typeof SHADOW_STATUS>>;
}

/** What the Peer objects say of a cluster: `gone` also when it is no consumer any more. */
export type PeerState = 'active' | 'cordoned' | 'gone';

export interface Consumers {
  /** By cluster ID. */
  get(clusterID: string): Consumer | undefined;
  list(): readonly Consumer[];
  peerOf(clusterID: string): Peer | undefined;
  stateOf(clusterID: string): PeerState;
  /** Called for every present and future consumer; returns how to stop. */
  onConsumer(listener: (consumer: Consumer) => void): () => void;
}

/** Whether a change of a Peer is more than news of its link, which comes every few seconds. */
export const isPeerNews = ({ type, object, old }: Change<Peer>): boolean =>
  type !== 'updated' ||
  old.metadata.generation !== object.metadata.generation ||
  old.metadata.deletionTimestamp !== object.metadata.deletionTimestamp;

const BY_CLUSTER = 'provider/cluster-id';

const consumerOf = (link: PeerLink): Consumer => ({
  link,
  clusterID: link.clusterID,
  namespaces: link.follow(NAMESPACES),
  shadows: link.follow(SHADOWS),
  objects: link.follow(OBJECTS),
  twins: link.publish(TWINS),
  statuses: link.publish(SHADOW_STATUS),
});

/** Follows links and Peers until `signal` aborts. */
export const createConsumers = (links: Links, peers: Informer<Peer>, signal: AbortSignal): Consumers => {
  peers.addIndexers({ [BY_CLUSTER]: (peer) => [peer.spec.clusterID] });
  const consumers = new Map<string, Consumer>();
  const listeners = new Set<(consumer: Consumer) => void>();
  const peerOf = (clusterID: string): Peer | undefined => peers.byIndex(BY_CLUSTER, clusterID)[0];
  const stateOf = (clusterID: string): PeerState => {
    const peer = peerOf(clusterID);
    if (peer === undefined || peer.metadata.deletionTimestamp !== undefined) return 'gone';
    if (!peer.spec.roles.includes('Consumer')) return 'gone';
    return peer.spec.cordoned ? 'cordoned' : 'active';
  };
  const attach = (link: PeerLink): void => {
    const known = consumers.get(link.clusterID)?.link === link;
    if (known || link.signal.aborted || signal.aborted || stateOf(link.clusterID) === 'gone') return;
    const consumer = consumerOf(link);
    consumers.set(link.clusterID, consumer);
    link.signal.addEventListener(
      'abort',
      () => {
        if (consumers.get(link.clusterID) === consumer) consumers.delete(link.clusterID);
      },
      { once: true },
    );
    for (const listener of listeners) listener(consumer);
  };
  const stops = [
    links.onLink(attach),
    peers.onChange(({ object }) => {
      for (const link of links.list()) if (link.clusterID === object.spec.clusterID) attach(link);
    }),
  ];
  signal.addEventListener('abort', () => stops.forEach((stop) => stop()), { once: true });
  return {
    get: (clusterID) => consumers.get(clusterID),
    list: () => [...consumers.values()],
    peerOf,
    stateOf,
    onConsumer: (listener) => {
      listeners.add(listener);
      for (const consumer of consumers.values()) listener(consumer);
      return () => void listeners.delete(listener);
    },
  };
};
