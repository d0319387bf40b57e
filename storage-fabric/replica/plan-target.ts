import type { TWINS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import type { NamespaceOffloading } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';

/** What is known of a place, a peer or home, whose store may hold copies of a volume, or to which it may move. */
export interface Target {
  readonly isUp: boolean;
  /** Whether it does not answer but is not lost, or came back so lately that it has not said all: it is not known yet. */
  readonly isUnsure?: boolean | undefined;
  /** Whether its link has been silent for so long that it is no hiccup. */
  readonly isLost?: boolean | undefined;
  readonly isPaused?: boolean | undefined;
  readonly hasStore: boolean;
  /** Another number: its link came back, or its store is another or in another state. */
  readonly revision?: number | undefined;
  /** What its store says is wrong. */
  readonly message?: string | undefined;
  /** Why no pod could follow a volume that moved there. */
  readonly closed?: Obstacle | undefined;
}

/** Why something can't be done, with the next step. */
export interface Obstacle {
  readonly reason: string;
  readonly message: string;
}

/** A peer that does not answer. */
export const unreachable = (peer: string): Obstacle => ({
  reason: 'PeerUnreachable',
  message: `peer ${peer} does not answer: fluviactl info ${peer}`,
});

/** Why nothing can be copied to this peer's store at the moment; undefined when it can, as far as is known. */
export const whyNoCopyTo = (peer: string, target: Target | undefined): Obstacle | undefined => {
  if (target === undefined)
    return { reason: 'UnknownPeer', message: `there is no peer ${peer}: kubectl get peers` };
  if (target.isPaused === true)
    return { reason: 'PeerPaused', message: `peer ${peer} is paused: set its spec.paused to false` };
  if (target.isLost === true || (!target.isUp && !target.hasStore)) return unreachable(peer);
  if (!target.hasStore)
    return {
      reason: 'NoStore',
      message:
        target.message === undefined
          ? `peer ${peer} has no object store: fluviactl install --object-store there`
          : `peer ${peer}: ${target.message}`,
    };
  return undefined;
};

/** Why pods of a namespace couldn't follow a volume to this peer; undefined when they could. `twin`: what the peer says of it. */
export const whyClosed = (
  { metadata, spec }: Peer,
  namespace: string,
  twin: ItemOf<typeof TWINS> | undefined,
): Obstacle | undefined => {
  const { name } = metadata;
  if (metadata.deletionTimestamp !== undefined)
    return { reason: 'PeerLeaving', message: `the peering with ${name} is ending` };
  if (spec.cordoned)
    return {
      reason: 'PeerCordoned',
      message: `peer ${name} takes no new pods: set its spec.cordoned to false`,
    };
  if (twin?.ready !== true)
    return {
      reason: 'NamespaceNotOpen',
      message: `namespace ${namespace} is not open at ${name}${twin?.message ? ` (${twin.message})` : ''}: fluviactl offload namespace ${namespace}`,
    };
  return undefined;
};

/** Why pods of a namespace couldn't follow a volume home; undefined when they could. */
export const whyClosedAtHome = (
  namespace: string,
  offloading: NamespaceOffloading | undefined,
): Obstacle | undefined =>
  offloading?.spec.strategy === 'Remote'
    ? {
        reason: 'NamespaceRemote',
        message: `pods of namespace ${namespace} may run at peers only: fluviactl offload namespace ${namespace} --strategy local-and-remote`,
      }
    : undefined;
