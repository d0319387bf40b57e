import type { KindDefinition } from '../../api/define-kind.ts';
import { FLOAT_GATE, LABELS, NAMES } from '../../api/labels.ts';
import { STORAGE_LABELS } from '../../api/storage-names.ts';
import { ClaimKind, type Claim } from '../../api/v1alpha1/claim.ts';
import {
  NamespaceOffloadingKind,
  type NamespaceOffloading,
} from '../../api/v1alpha1/namespace-offloading.ts';
import { FabricNodeKind, type FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import { NetworkConfigKind, type NetworkConfig } from '../../api/v1alpha1/network-config.ts';
import { OfferKind, type Offer } from '../../api/v1alpha1/offer.ts';
import { PeerKind, type Peer } from '../../api/v1alpha1/peer.ts';
import { ViewKind, type View } from '../../api/v1alpha1/view.ts';
import { VirtualNodeKind, type VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import type { InformerFactory } from '../../runtime/kube/informer-factory.ts';
import {
  ENDPOINT_SLICE,
  fluviaResource,
  NAMESPACE,
  NODE,
  PERSISTENT_VOLUME,
  PERSISTENT_VOLUME_CLAIM,
  POD,
  SERVICE,
  type ResourceRef,
  STORAGE_CLASS,
} from '../../runtime/kube/resources.ts';
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../runtime/kube/storage-types.ts';
import type { EndpointSlice, Namespace, Node, Pod, Service } from '../../runtime/kube/types.ts';

const resourceOf = (kind: KindDefinition): ResourceRef =>
  fluviaResource(kind.kind, kind.plural, kind.scope === 'Namespaced');

export const PEER = resourceOf(PeerKind);
export const CLAIM = resourceOf(ClaimKind);
export const VIRTUAL_NODE = resourceOf(VirtualNodeKind);
export const NAMESPACE_OFFLOADING = resourceOf(NamespaceOffloadingKind);
export const VIEW = resourceOf(ViewKind);
export const OFFER = resourceOf(OfferKind);
export const NETWORK_CONFIG = resourceOf(NetworkConfigKind);
export const FABRIC_NODE = resourceOf(FabricNodeKind);

/** Field manager of everything that this folder writes. */
export const FIELD_MANAGER = 'fluvia-offloading';

/** The home cluster as the consumer's controllers read it: shared caches and the few questions all of them ask. */
export interface Home {
  readonly pods: Informer<Pod>;
  readonly nodes: Informer<Node>;
  readonly namespaces: Informer<Namespace>;
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly offloadings: Informer<NamespaceOffloading>;
  readonly peers: Informer<Peer>;
  readonly claims: Informer<Claim>;
  readonly virtualNodes: Informer<VirtualNode>;
  readonly views: Informer<View>;
  readonly offers: Informer<Offer>;
  readonly networkConfigs: Informer<NetworkConfig>;
  readonly fabricNodes: Informer<FabricNode>;
  readonly volumeClaims: Informer<PersistentVolumeClaim>;
  /** Volumes of class fluvia, wherever they are. */
  readonly volumes: Informer<PersistentVolume>;
  readonly storageClasses: Informer<StorageClass>;
  whenSynced(signal: AbortSignal): Promise<void>;
  /** The virtual node that a pod is bound to, if it is one. */
  virtualNodeOf(pod: Pod): VirtualNode | undefined;
  podsIn(namespace: string): readonly Pod[];
  volumeClaimsIn(namespace: string): readonly PersistentVolumeClaim[];
  podsOn(node: string): readonly Pod[];
  servicesIn(namespace: string): readonly Service[];
  slicesIn(namespace: string): readonly EndpointSlice[];
  /** Pods that wait at Fluvia's gate. */
  gatedPods(): readonly Pod[];
  /** Offers that let the peer reach this address of home. */
  offersOf(peer: string, address: string): readonly Offer[];
  offloadingOf(namespace: string): NamespaceOffloading | undefined;
}

const NODE_INDEX = 'offloading/node';
const NAMESPACE_INDEX = 'offloading/namespace';
const GATED_INDEX = 'offloading/gated';
const ADDRESS_INDEX = 'offloading/peer-address';

/** Whether the pod waits at Fluvia's gate. */
export const isGated = (pod: Pod): boolean =>
  pod.spec.schedulingGates?.some((gate) => gate.name === FLOAT_GATE) ?? false;

/** Opens the caches; they fill in the background. */
export const openHome = (informers: InformerFactory): Home => {
  const pods = informers.for<Pod>(POD);
  const nodes = informers.for<Node>(NODE);
  const namespaces = informers.for<Namespace>(NAMESPACE);
  const services = informers.for<Service>(SERVICE);
  const slices = informers.for<EndpointSlice>(ENDPOINT_SLICE);
  const offloadings = informers.for<NamespaceOffloading>(NAMESPACE_OFFLOADING);
  const peers = informers.for<Peer>(PEER);
  const claims = informers.for<Claim>(CLAIM);
  const virtualNodes = informers.for<VirtualNode>(VIRTUAL_NODE);
  const views = informers.for<View>(VIEW);
  const offers = informers.for<Offer>(OFFER);
  const networkConfigs = informers.for<NetworkConfig>(NETWORK_CONFIG);
  const fabricNodes = informers.for<FabricNode>(FABRIC_NODE);
  const volumeClaims = informers.for<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM);
  const volumes = informers.for<PersistentVolume>(PERSISTENT_VOLUME, {
    labelSelector: STORAGE_LABELS.volume,
  });
  const storageClasses = informers.for<StorageClass>(STORAGE_CLASS);
  volumeClaims.addIndexers({ [NAMESPACE_INDEX]: (claim) => [claim.metadata.namespace ?? ''] });
  pods.addIndexers({
    [NODE_INDEX]: (pod) => (pod.spec.nodeName ? [pod.spec.nodeName] : []),
    [NAMESPACE_INDEX]: (pod) => [pod.metadata.namespace ?? ''],
    [GATED_INDEX]: (pod) => (isGated(pod) ? ['true'] : []),
  });
  services.addIndexers({ [NAMESPACE_INDEX]: (service) => [service.metadata.namespace ?? ''] });
  slices.addIndexers({ [NAMESPACE_INDEX]: (slice) => [slice.metadata.namespace ?? ''] });
  offers.addIndexers({
    [ADDRESS_INDEX]: ({ spec }) => spec.addresses.map(({ cidr }) => `${spec.peer} ${cidr}`),
  });
  const informed = {
    pods,
    nodes,
    namespaces,
    services,
    slices,
    offloadings,
    peers,
    claims,
    virtualNodes,
    views,
    offers,
    networkConfigs,
    fabricNodes,
    volumeClaims,
    volumes,
    storageClasses,
  };
  return {
    ...informed,
    whenSynced: async (signal) => {
      await Promise.all(Object.values(informed).map((informer) => informer.whenSynced(signal)));
    },
    virtualNodeOf: (pod) => (pod.spec.nodeName ? virtualNodes.get(undefined, pod.spec.nodeName) : undefined),
    podsIn: (namespace) => pods.byIndex(NAMESPACE_INDEX, namespace),
    podsOn: (node) => pods.byIndex(NODE_INDEX, node),
    volumeClaimsIn: (namespace) => volumeClaims.byIndex(NAMESPACE_INDEX, namespace),
    servicesIn: (namespace) => services.byIndex(NAMESPACE_INDEX, namespace),
    slicesIn: (namespace) => slices.byIndex(NAMESPACE_INDEX, namespace),
    gatedPods: () => pods.byIndex(GATED_INDEX, 'true'),
    offersOf: (peer, address) => offers.byIndex(ADDRESS_INDEX, `${peer} ${address}/32`),
    offloadingOf: (namespace) => offloadings.get(namespace, NAMES.namespaceOffloading),
  };
};

/** Whether this Node stands for a grant. */
export const isVirtual = (node: Node): boolean => node.metadata.labels?.[LABELS.virtualNode] === 'true';

/** Whether the peer is one that our pods may run at. */
export const isProvider = (peer: Peer): boolean => peer.spec.roles.includes('Provider');

/** The providers that an opened namespace may flow to, by name. */
export const selectedPeers = (offloading: NamespaceOffloading, peers: readonly Peer[]): readonly Peer[] =>
  peers
    .filter((peer) => isProvider(peer) && peer.metadata.deletionTimestamp === undefined)
    .filter((peer) => offloading.spec.peers?.includes(peer.metadata.name) ?? true)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
