import type { Condition } from '../api/conditions.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import type { Progress } from './wait.ts';

/** One side of a peering, as far as it is there. */
export interface PeerSide {
  /** Name of the cluster whose side it is. */
  readonly cluster: string;
  readonly peer: Peer | undefined;
  readonly claims: readonly Claim[];
  readonly virtualNodes: readonly VirtualNode[];
}

const missing = (conditions: readonly Condition[] | undefined, type: string): string | undefined => {
  const condition = conditions?.find((c) => c.type === type);
  if (condition?.status === 'True') {
    return undefined;
  }
  return condition === undefined ? `${type} is not said yet` : `${type}: ${condition.message}`;
};

/** Why one side is not ready for pods yet; undefined when it is. */
export const sideTrouble = ({ cluster, peer, claims, virtualNodes }: PeerSide): string | undefined => {
  if (peer === undefined) {
    return `${cluster}: no Peer yet`;
  }
  const { conditions, link } = peer.status ?? {};
  const ofPeer =
    (link?.state === 'Up' ? undefined : `the link is ${link?.state ?? 'not up yet'}`) ??
    missing(conditions, 'Ready') ??
    missing(conditions, 'NetworkReady');
  if (ofPeer !== undefined) {
    return `${cluster}: ${ofPeer}`;
  }
  if (!peer.spec.roles.includes('Provider')) {
    return undefined;
  }
  const claim = claims.find((c) => c.spec.peer === peer.metadata.name);
  const granted = missing(claim?.status?.conditions, 'Granted');
  if (granted !== undefined) {
    return `${cluster}: ${granted}`;
  }
  const node = virtualNodes.find((n) => n.spec.peer === peer.metadata.name);
  const ready = missing(node?.status?.conditions, 'Ready');
  return ready === undefined ? undefined : `${cluster}: virtual node ${node?.metadata.name ?? ''} ${ready}`;
};

/** Whether a peering stands at all of the sides given. */
export const peeringProgress = (sides: readonly PeerSide[]): Progress<undefined> => {
  const trouble = sides.map(sideTrouble).find((text) => text !== undefined);
  return trouble === undefined ? { done: undefined } : { waitingFor: trouble };
};
