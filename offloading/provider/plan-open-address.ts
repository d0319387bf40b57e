/** Whether an address of this cluster is open to a peer: in an Offer that every gateway which counts enforces. */
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';

/** Beyond this age of its heartbeat an agent doesn't count; it loads the Offers before it takes over. */
export const HEARTBEAT_LIMIT_MS = 30_000;

/** Nodes that are some node's gateway and whose agents are alive at `nowMs` (Unix time). */
export const freshGateways = (nodes: readonly FabricNode[], nowMs: number): readonly FabricNode[] => {
  const gateways = new Set(nodes.map((node) => node.spec.gateway));
  return nodes.filter((node) => {
    const heartbeat = Date.parse(node.status?.heartbeatAt ?? '');
    return gateways.has(node.metadata.name) && nowMs - heartbeat < HEARTBEAT_LIMIT_MS;
  });
};

/** Whether one of the Offers that hold an address is enforced by every fresh gateway, of which there is at least one. */
export const isEnforced = (
  offers: readonly Offer[],
  nodes: readonly FabricNode[],
  nowMs: number,
): boolean => {
  const gateways = freshGateways(nodes, nowMs);
  return (
    gateways.length > 0 &&
    offers.some((offer) =>
      gateways.every(
        (node) =>
          (node.status?.acknowledgedOffers?.[offer.metadata.name] ?? -1) >= (offer.metadata.generation ?? 0),
      ),
    )
  );
};
