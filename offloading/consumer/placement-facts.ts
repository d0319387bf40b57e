import { FITS } from '../../api/fits-collection.ts';
import type { ItemOf, Links } from '../../api/link.ts';
import { FloatPolicyKind, type FloatPolicy } from '../../api/v1alpha1/float-policy.ts';
import { GatewayKind, type Gateway } from '../../api/v1alpha1/gateway.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import { VolumeReplicaKind, type VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { watchSource, type WatchSource } from '../../runtime/kube/controller.ts';
import type { InformerFactory } from '../../runtime/kube/informer-factory.ts';
import { fluviaResource } from '../../runtime/kube/resources.ts';
import type { Home } from './home.ts';
import { rankPolicyOf, type PlaceFacts, type RankPolicy } from './plan-score.ts';

const GATEWAY = fluviaResource(GatewayKind.kind, GatewayKind.plural, false);
const FLOAT_POLICY = fluviaResource(FloatPolicyKind.kind, FloatPolicyKind.plural, false);
const VOLUME_REPLICA = fluviaResource(VolumeReplicaKind.kind, VolumeReplicaKind.plural, true);
const BY_CLAIM = 'offloading/claim';
/** Name of the policy that holds for every namespace. */
const DEFAULT_POLICY = 'default';

/** What ranking knows besides pods and nodes. */
export interface PlacementFacts {
  readonly reads: readonly WatchSource[];
  /** Changes after which pods that wait may fit. A round trip is no such thing: it ranks, it doesn't bar. */
  readonly sources: (key: string) => readonly WatchSource[];
  policy(): RankPolicy;
  /** By peer. */
  facts(): ReadonlyMap<string, PlaceFacts>;
  /** What the peer says would fit; undefined when it has said nothing. */
  fitsOf(virtualNode: VirtualNode): ItemOf<typeof FITS> | undefined;
  /** VolumeReplicas of a claim. */
  replicasOf(namespace: string, claim: string): readonly VolumeReplica[];
}

/** Reads the facts from shared caches and links. */
export const openPlacementFacts = (informers: InformerFactory, home: Home, links: Links): PlacementFacts => {
  const gateways = informers.for<Gateway>(GATEWAY);
  const policies = informers.for<FloatPolicy>(FLOAT_POLICY);
  const replicas = informers.for<VolumeReplica>(VOLUME_REPLICA);
  replicas.addIndexers({
    [BY_CLAIM]: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.claimName}`],
  });
  const roundTrips = (): ReadonlyMap<string, number> => {
    const best = new Map<string, number>();
    for (const gateway of gateways.list()) {
      for (const { peer, rttMilliseconds } of gateway.status?.peers ?? []) {
        if (rttMilliseconds === undefined) continue;
        best.set(peer, Math.min(best.get(peer) ?? Infinity, rttMilliseconds));
      }
    }
    return best;
  };
  return {
    reads: [watchSource(gateways), watchSource(policies), watchSource(replicas)],
    sources: (key) => [
      watchSource(policies, () => [key]),
      watchSource(home.claims, ({ type, object, old }) =>
        type === 'updated' && equalJson(old.status?.granted, object.status?.granted) ? [] : [key],
      ),
    ],
    policy: () => rankPolicyOf(policies.get(undefined, DEFAULT_POLICY)),
    facts: () => {
      const rtts = roundTrips();
      const facts = new Map<string, PlaceFacts>();
      for (const { spec } of home.virtualNodes.list()) {
        const terms = home.claims.get(undefined, spec.claim)?.status?.terms;
        const rttMilliseconds = rtts.get(spec.peer);
        facts.set(spec.peer, { pricePerHour: terms?.pricePerHour, rttMilliseconds });
      }
      return facts;
    },
    replicasOf: (namespace, claim) => replicas.byIndex(BY_CLAIM, `${namespace}/${claim}`),
    fitsOf: ({ spec }) => links.get(spec.peer)?.follow(FITS).get(spec.claim),
  };
};
