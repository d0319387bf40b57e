/** What the controllers of claims and grants share: they work per peer, on what is heard over its link and belongs to its Peer. */
import { API_VERSION, LABELS, MANAGED_BY } from '../api/labels.ts';
import type { Collection, Links } from '../api/link.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { WatchSource } from '../runtime/kube/controller.ts';

/** Names of peers: each when its link is there, and whenever it tells something new in the collection. */
export const heardFromPeers = (links: Links, collection: Collection): WatchSource => ({
  whenSynced: () => Promise.resolve(),
  subscribe: (enqueue) =>
    links.onLink((link) => {
      link.follow(collection).onChange(() => enqueue(link.peer));
      enqueue(link.peer);
    }),
});

/** Metadata of an object that goes with its Peer. */
export const controlledByPeer = (peer: Peer, name: string) => ({
  name,
  labels: { [LABELS.peer]: peer.metadata.name, [LABELS.managedBy]: MANAGED_BY },
  ownerReferences: [
    {
      apiVersion: API_VERSION,
      kind: 'Peer',
      name: peer.metadata.name,
      uid: peer.metadata.uid ?? '',
      controller: true,
    },
  ],
});
