/** What the network controllers share: informers, what peers publish, and what was just decided but isn't in caches yet. */
import type { Condition, ConditionInput } from '../api/conditions.ts';
import { setCondition } from '../api/conditions.ts';
import { NETWORK } from '../api/collections.ts';
import { NAMES } from '../api/labels.ts';
import type { Links, PeerLink, Publisher, Subscriber } from '../api/link.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { Offer } from '../api/v1alpha1/offer.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { View, ViewRange } from '../api/v1alpha1/view.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { isNotFound } from '../runtime/kube/errors.ts';
import type { Informer } from '../runtime/kube/informer.ts';
import { ENDPOINT_SLICE, NODE, POD, type ResourceRef } from '../runtime/kube/resources.ts';
import type { EndpointSlice, HasMetadata, Node, OwnerReference, Pod } from '../runtime/kube/types.ts';
import { FABRIC_NODE, GATEWAY, NETWORK_CONFIG, OFFER, PEER, VIEW } from './kinds.ts';
import { FIELD_MANAGER } from './names.ts';
import type { NetworkItem } from './plan-gateway.ts';
import type { NetworkFailure } from './plan-network-ready.ts';

/** This side's end of NETWORK for one peer. */
export interface RemoteEnd {
  readonly link: PeerLink;
  readonly subscriber: Subscriber<NetworkItem>;
  readonly publisher: Publisher<NetworkItem>;
}

export interface Informers {
  readonly configs: Informer<NetworkConfig>;
  readonly peers: Informer<Peer>;
  readonly views: Informer<View>;
  readonly gateways: Informer<Gateway>;
  readonly fabricNodes: Informer<FabricNode>;
  readonly offers: Informer<Offer>;
  readonly nodes: Informer<Node>;
  readonly pods: Informer<Pod>;
  readonly slices: Informer<EndpointSlice>;
}

export interface NetworkContext {
  readonly deps: ControllerDeps;
  readonly informers: Informers;
  readonly remotes: ReadonlyMap<string, RemoteEnd>;
  /** `theirs` of each peer as last applied: the cache may lag behind, and no two peers may get one block. */
  readonly allocated: Map<string, readonly ViewRange[]>;
  /** Why a peer's views, or its tunnel, couldn't be planned. */
  readonly viewFailures: Map<string, NetworkFailure>;
  readonly tunnelFailures: Map<string, NetworkFailure>;
  /** The NetworkConfig, unless there is none or it is being deleted. */
  config(): NetworkConfig | undefined;
  /** The Gateway in use: the one that isn't being deleted. */
  gateway(): Gateway | undefined;
  /** What the peer published, if it did. */
  remote(peer: string): NetworkItem | undefined;
}

export const ITEM_ID = 'network';

/** createContext starts the informers and follows NETWORK of every link; `onRemote` hears which peer changed. */
export const createContext = (
  deps: ControllerDeps,
  links: Links,
  onRemote: (peer: string) => void,
  signal: AbortSignal,
): NetworkContext => {
  const { informers } = deps;
  const own: Informers = {
    configs: informers.for<NetworkConfig>(NETWORK_CONFIG),
    peers: informers.for<Peer>(PEER),
    views: informers.for<View>(VIEW),
    gateways: informers.for<Gateway>(GATEWAY),
    fabricNodes: informers.for<FabricNode>(FABRIC_NODE),
    offers: informers.for<Offer>(OFFER),
    nodes: informers.for<Node>(NODE),
    pods: informers.for<Pod>(POD),
    slices: informers.for<EndpointSlice>(ENDPOINT_SLICE),
  };
  const remotes = new Map<string, RemoteEnd>();
  const stop = links.onLink((link) => {
    const end = { link, subscriber: link.follow(NETWORK), publisher: link.publish(NETWORK) };
    remotes.set(link.peer, end);
    const unfollow = end.subscriber.onChange(() => onRemote(link.peer));
    link.signal.addEventListener(
      'abort',
      () => {
        unfollow();
        if (remotes.get(link.peer) === end) remotes.delete(link.peer);
        onRemote(link.peer);
      },
      { once: true },
    );
    onRemote(link.peer);
  });
  signal.addEventListener('abort', stop, { once: true });
  return {
    deps,
    informers: own,
    remotes,
    allocated: new Map(),
    viewFailures: new Map(),
    tunnelFailures: new Map(),
    config: () => {
      const config = own.configs.get(undefined, NAMES.networkConfig);
      return config?.metadata.deletionTimestamp === undefined ? config : undefined;
    },
    gateway: () => own.gateways.list().find((item) => item.metadata.deletionTimestamp === undefined),
    remote: (peer) => remotes.get(peer)?.subscriber.get(ITEM_ID),
  };
};

/** ownedByPeer makes an object go with its Peer, also when no controller runs. */
export const ownedByPeer = (peer: Peer): OwnerReference[] =>
  peer.metadata.uid === undefined
    ? []
    : [{ apiVersion: peer.apiVersion, kind: 'Peer', name: peer.metadata.name, uid: peer.metadata.uid }];

/** Deletes the object if it is there; one that is being deleted already is left alone. */
export const removeObject = async (
  context: NetworkContext,
  resource: ResourceRef,
  object: HasMetadata | undefined,
  signal: AbortSignal,
): Promise<void> => {
  if (object === undefined || object.metadata.deletionTimestamp !== undefined) return;
  const { name, namespace, uid } = object.metadata;
  await context.deps.client.delete(resource, name, namespace, { uid, signal });
};

/** Applies one condition to an object's status, leaving the others to those who own them; nothing when it says so already. */
export const applyCondition = async (
  context: NetworkContext,
  resource: ResourceRef,
  object: HasMetadata & {
    readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined;
  },
  input: ConditionInput,
  signal: AbortSignal,
  status: Readonly<Record<string, unknown>> = {},
): Promise<void> => {
  const existing = object.status?.conditions?.filter((item) => item.type === input.type);
  const old = existing?.[0];
  const isSame = old?.status === input.status && old.reason === input.reason && old.message === input.message;
  const held = (object.status ?? {}) as Readonly<Record<string, unknown>>;
  if (isSame && Object.entries(status).every(([key, value]) => held[key] === value)) return;
  const conditions = setCondition(existing, input, context.deps.clock.now().toISOString());
  const manifest = { metadata: { name: object.metadata.name }, status: { ...status, conditions } };
  try {
    await context.deps.client.apply(resource, manifest, {
      fieldManager: FIELD_MANAGER,
      subresource: 'status',
      force: true,
      signal,
    });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
};
