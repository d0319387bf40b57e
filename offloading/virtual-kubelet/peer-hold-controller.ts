import { FINALIZERS } from '../../api/labels.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { addFinalizer, hasFinalizer, isDeleting, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { isProvider, PEER, VIRTUAL_NODE, type Home } from '../consumer/home.ts';

/**
 * Holds a provider's Peer until its virtual nodes are drained and gone, and deletes those whose Claim or Peer goes. The
 * VirtualNodes themselves are made by `peering/`, with their grants. Keyed by peer.
 */
export const startPeerHold = (deps: ControllerDeps, home: Home, signal: AbortSignal): void => {
  const { client } = deps;
  const nodesOf = (peer: string): readonly VirtualNode[] =>
    home.virtualNodes.list().filter((node) => node.spec.peer === peer);

  const remove = async (node: VirtualNode): Promise<void> => {
    if (isDeleting(node)) return;
    await client.delete(VIRTUAL_NODE, node.metadata.name, undefined, { uid: node.metadata.uid, signal });
  };

  const reconcile = async (name: string): Promise<ReconcileResult> => {
    const peer = home.peers.get(undefined, name);
    const existing = nodesOf(name);
    if (peer === undefined || isDeleting(peer) || !isProvider(peer)) {
      for (const node of existing) await remove(node);
      if (peer !== undefined && existing.length === 0 && hasFinalizer(peer, FINALIZERS.offloading)) {
        await removeFinalizer(client, PEER, peer, FINALIZERS.offloading, { signal });
      }
      return {};
    }
    await addFinalizer(client, PEER, peer, FINALIZERS.offloading, { signal });
    for (const node of existing) {
      const claim = home.claims.get(undefined, node.spec.claim);
      if (claim === undefined || isDeleting(claim)) await remove(node);
    }
    return {};
  };

  void runController(
    {
      name: 'offloading.peer-hold',
      sources: [
        watchSource(home.peers),
        watchSource(home.claims, ({ object }) => [object.spec.peer]),
        watchSource(home.virtualNodes, ({ object }) => [object.spec.peer]),
      ],
      reconcile,
      log: deps.log,
      clock: deps.clock,
      metrics: deps.metrics,
    },
    signal,
  );
};
