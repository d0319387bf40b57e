import { FINALIZERS, LABELS, MANAGED_BY, PORTS } from '../../api/labels.ts';
import type { Claim } from '../../api/v1alpha1/claim.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { runController, watchSource, type ReconcileResult } from '../../runtime/kube/controller.ts';
import { isAlreadyExists } from '../../runtime/kube/errors.ts';
import { addFinalizer, hasFinalizer, isDeleting, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { isProvider, PEER, VIRTUAL_NODE, type Home } from '../consumer/home.ts';

/** Name of the virtual node for a claim: `fluvia-<peer>`, with the claim's name where it is another. */
export const virtualNodeName = (peer: string, claim: string): string =>
  claim === peer ? `fluvia-${peer}` : `fluvia-${peer}-${claim}`.slice(0, 253);

/** The lowest port from `PORTS.kubeletBase` that no virtual node holds. */
export const freePort = (taken: Iterable<number | undefined>): number => {
  const used = new Set(taken);
  let port: number = PORTS.kubeletBase;
  while (used.has(port)) port += 1;
  return port;
};

/**
 * Makes a VirtualNode for each Claim at a provider, deletes those whose Claim or Peer goes, and holds the Peer until its
 * virtual nodes are drained. Keyed by peer.
 */
export const startVirtualNodes = (deps: ControllerDeps, home: Home, signal: AbortSignal): void => {
  const { client } = deps;
  const nodesOf = (peer: string): readonly VirtualNode[] =>
    home.virtualNodes.list().filter((node) => node.spec.peer === peer);

  const make = async (claim: Claim): Promise<void> => {
    const { peer } = claim.spec;
    const metadata = {
      name: virtualNodeName(peer, claim.metadata.name),
      labels: { [LABELS.peer]: peer, [LABELS.managedBy]: MANAGED_BY },
      finalizers: [FINALIZERS.cleanup],
    };
    const spec = { peer, claim: claim.metadata.name };
    await client.create(VIRTUAL_NODE, { metadata, spec }, { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
  };

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
    if (!hasFinalizer(peer, FINALIZERS.offloading)) {
      await addFinalizer(client, PEER, peer, FINALIZERS.offloading, { signal });
    }
    const claims = home.claims.list().filter((claim) => claim.spec.peer === name && !isDeleting(claim));
    for (const claim of claims) {
      if (!existing.some((node) => node.spec.claim === claim.metadata.name)) await make(claim);
    }
    for (const node of existing) {
      if (!claims.some((claim) => claim.metadata.name === node.spec.claim)) await remove(node);
    }
    return {};
  };

  void runController(
    {
      name: 'offloading.virtual-node',
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
