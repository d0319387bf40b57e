/** Which clusters this store keeps copies for. Pure. */
import type { Peer } from '../../api/v1alpha1/peer.ts';

/** Why a cluster gets no token, with the next step. */
export interface NoTenant {
  readonly reason: 'NotPeered' | 'PeerLeaving' | 'NotAConsumer';
  readonly message: string;
}

/**
 * Why a peer is no tenant of this cluster's store; undefined when it is one. A provider gives storage to its consumers, as it
 * gives them room for pods: who only runs our pods has nothing to keep here.
 */
export const whyNoTenant = (peer: Peer | undefined, clusterName: string): NoTenant | undefined => {
  if (peer === undefined) return { reason: 'NotPeered', message: `cluster ${clusterName} has no such peer` };
  const { name, deletionTimestamp } = peer.metadata;
  if (deletionTimestamp !== undefined)
    return { reason: 'PeerLeaving', message: `cluster ${clusterName} is ending the peering` };
  if (!peer.spec.roles.includes('Consumer'))
    return {
      reason: 'NotAConsumer',
      message: `cluster ${clusterName} keeps copies for its consumers only: add Consumer to spec.roles of its Peer ${name}`,
    };
  return undefined;
};
