/** What the provider's controllers share: informers, consumers, twins, the ledger, and clients that act as a peering. */
import { LABELS, PEERS_NAMESPACE } from '../../api/labels.ts';
import type { Links } from '../../api/link.ts';
import { policyOfPeer } from '../../api/policy-of-peer.ts';
import { STORAGE_LABELS } from '../../api/storage-names.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import { RESERVED_NAMESPACES, type Grant, type GrantPolicy } from '../../api/v1alpha1/grant.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import type { View } from '../../api/v1alpha1/view.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { systemBootClock } from '../../runtime/boot-clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import * as kube from '../../runtime/kube/resources.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { KubeObject, Namespace, Node, Pod } from '../../runtime/kube/types.ts';
import { createConsumers, type Consumers } from './consumers.ts';
import { createHoldings, type Holdings } from './holdings.ts';
import { heldLimits, type HeldLimits } from './plan-holdings.ts';
import { planPodRules, type PodRules } from './plan-pod-rules.ts';
import type { ReflectedKind } from './plan-object.ts';
import { createQuotaLedger, type QuotaLedger } from './quota-ledger.ts';
import { createRefusals, type Refusals } from './refusals.ts';
import { createFenceLeases, type FenceLeases } from './fence-leases.ts';
import { createTwins, type Twins } from './twins.ts';

export const SHADOW_POD = kube.fluviaResource('ShadowPod', 'shadowpods', true);
export const OFFER = kube.fluviaResource('Offer', 'offers', false);
export const GRANT = kube.fluviaResource('Grant', 'grants', false);
const GRANT_POLICY = kube.fluviaResource('GrantPolicy', 'grantpolicies', false);
export const FABRIC_NODE = kube.fluviaResource('FabricNode', 'fabricnodes', false);
const VIEW = kube.fluviaResource('View', 'views', false);
export const PEER = kube.fluviaResource('Peer', 'peers', false);

/** Resources of the reflected kinds. */
export const REFLECTED: Readonly<Record<ReflectedKind, kube.ResourceRef>> = {
  Service: kube.SERVICE,
  ConfigMap: kube.CONFIG_MAP,
  Secret: kube.SECRET,
  EndpointSlice: kube.ENDPOINT_SLICE,
};

/** Field manager of all that this folder writes. */
export const FIELD_MANAGER = 'fluvia-provider';

export interface ProviderContext {
  readonly deps: ControllerDeps;
  readonly links: Links;
  /** This cluster's own ID. */
  readonly clusterID: string;
  readonly consumers: Consumers;
  readonly twins: Twins;
  readonly ledger: QuotaLedger;
  readonly holdings: Holdings;
  readonly refusals: Refusals;
  readonly leases: FenceLeases;
  readonly namespaces: Informer<Namespace>;
  readonly shadows: Informer<ShadowPod>;
  /** Pods that carry the label of an origin. */
  readonly pods: Informer<Pod>;
  readonly nodes: Informer<Node>;
  readonly peers: Informer<Peer>;
  readonly grants: Informer<Grant>;
  readonly policies: Informer<GrantPolicy>;
  readonly offers: Informer<Offer>;
  readonly fabricNodes: Informer<FabricNode>;
  readonly views: Informer<View>;
  /** Claims of consumers' volumes. */
  readonly volumeClaims: Informer<PersistentVolumeClaim>;
  readonly reflected: Readonly<Record<ReflectedKind, Informer<KubeObject>>>;
  /** A client that is the peering's ServiceAccount. */
  asPeering(clusterID: string): KubeClient;
  /** What is demanded of the pods of a consumer, by the policy that holds for its peer. */
  podRules(clusterID: string): PodRules;
  /** Names that no twin of a consumer gets. */
  reservedNamespaces(clusterID: string): readonly string[];
  /** The most of a consumer that may exist here. */
  heldLimits(clusterID: string): HeldLimits;
  /** Whether a cluster's link is up, or broke less than `graceMs` ago. */
  isAlive(clusterID: string, graceMs: number): boolean;
}

export const SHADOWS_BY_ORIGIN = 'provider/origin';
export const SHADOWS_BY_HOME_NAMESPACE = 'provider/home-namespace';
export const VIEWS_BY_CLUSTER = 'provider/cluster-id';
/** Offers by `<peer> <address>/32`. */
export const OFFERS_BY_ADDRESS = 'provider/address';

/** Right after a start no link can be up yet; nothing is concluded of that for so long. */
const START_GRACE_MS = 20_000;

/**
 * The API server adds the groups of a service account by itself when the request names none, so no right to impersonate
 * groups is needed.
 */
const peeringUser = (clusterID: string): string => `system:serviceaccount:${PEERS_NAMESPACE}:${clusterID}`;

/** Makes the context; informers start at once and run until `signal` aborts. */
export const createContext = (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): ProviderContext => {
  const { informers, client, clock } = deps;
  const namespaces = informers.for<Namespace>(kube.NAMESPACE);
  const shadows = informers.for<ShadowPod>(SHADOW_POD);
  shadows.addIndexers({
    [SHADOWS_BY_ORIGIN]: ({ spec }) => [spec.home.clusterID],
    [SHADOWS_BY_HOME_NAMESPACE]: ({ spec }) => [`${spec.home.clusterID}/${spec.home.namespace}`],
  });
  const views = informers.for<View>(VIEW);
  views.addIndexers({ [VIEWS_BY_CLUSTER]: (view) => [view.spec.clusterID] });
  const offers = informers.for<Offer>(OFFER);
  offers.addIndexers({
    [OFFERS_BY_ADDRESS]: ({ spec }) => spec.addresses.map(({ cidr }) => `${spec.peer} ${cidr}`),
  });
  const peers = informers.for<Peer>(PEER);
  const policies = informers.for<GrantPolicy>(GRANT_POLICY);
  const nodes = informers.for<Node>(kube.NODE);
  const reflectedScope = { labelSelector: `${LABELS.reflected}=true` };
  const consumers = createConsumers(links, peers, signal);
  const policyOf = (id: string): GrantPolicy | undefined =>
    policyOfPeer(policies.list(), consumers.peerOf(id)?.metadata.name);
  const limitsOf = (id: string): HeldLimits => heldLimits(policyOf(id));
  const clients = new Map<string, KubeClient>();
  const startedAt = clock.monotonicMs();
  return {
    deps,
    links,
    clusterID,
    consumers,
    twins: createTwins(namespaces),
    ledger: createQuotaLedger(),
    holdings: createHoldings(clock, limitsOf),
    refusals: createRefusals(),
    heldLimits: limitsOf,
    reservedNamespaces: (id) => policyOf(id)?.spec.reservedNamespaces ?? RESERVED_NAMESPACES,
    leases: createFenceLeases(deps.bootClock ?? systemBootClock, deps.leaderTransitions),
    namespaces,
    shadows,
    pods: informers.for<Pod>(kube.POD, { labelSelector: LABELS.origin }),
    nodes,
    peers,
    grants: informers.for<Grant>(GRANT),
    policies,
    offers,
    fabricNodes: informers.for<FabricNode>(FABRIC_NODE),
    views,
    volumeClaims: informers.for<PersistentVolumeClaim>(kube.PERSISTENT_VOLUME_CLAIM, {
      labelSelector: STORAGE_LABELS.volume,
    }),
    reflected: {
      Service: informers.for<KubeObject>(kube.SERVICE, reflectedScope),
      ConfigMap: informers.for<KubeObject>(kube.CONFIG_MAP, reflectedScope),
      Secret: informers.for<KubeObject>(kube.SECRET, reflectedScope),
      EndpointSlice: informers.for<KubeObject>(kube.ENDPOINT_SLICE, reflectedScope),
    },
    asPeering: (id) => {
      const known = clients.get(id);
      if (known !== undefined) return known;
      const made = client.asUser({ user: peeringUser(id) });
      clients.set(id, made);
      return made;
    },
    podRules: (id) =>
      planPodRules(
        policyOf(id),
        nodes
          .list()
          .filter((node) => node.metadata.labels?.[LABELS.virtualNode] === undefined)
          .map((node) => node.status?.nodeInfo?.['kubeletVersion'])
          .map((version) => (typeof version === 'string' ? version : '')),
      ),
    isAlive: (id, graceMs) => {
      if (clock.monotonicMs() - startedAt < START_GRACE_MS) return true;
      const link = links.list().find((one) => one.clusterID === id);
      return link !== undefined && (link.isUp() || link.silenceMs() < graceMs);
    },
  };
};
