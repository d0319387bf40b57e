import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { NAMESPACES, TWINS } from '../../api/collections.ts';
import { setCondition, type ConditionInput } from '../../api/conditions.ts';
import { ANNOTATIONS, FINALIZERS, LABELS, OWN_NAMESPACES } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import type { NamespaceOffloading, OffloadingStrategy } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Namespace } from '../../runtime/kube/types.ts';

/** A selected provider, as this plan needs it. */
export interface SelectedPeer {
  readonly name: string;
  readonly clusterID: string;
  /** Undefined while the peer hasn't told anything about this namespace. */
  readonly twin: ItemOf<typeof TWINS> | undefined;
  readonly isLinkUp: boolean;
}

/** A pod of the namespace that is bound to a virtual node. */
export interface FloatedPod {
  readonly name: string;
  readonly uid: string;
  readonly peer: string;
  readonly isDeleting: boolean;
}

/** A volume of the namespace that is at a peer, or on its way there: its data goes with that peer's twin. */
export interface RemoteVolume {
  readonly claim: string;
  readonly peer: string;
  /** Only what was written there last, before it was lost, of this PersistentVolume that is elsewhere now. */
  readonly tailOf?: string | undefined;
}

/** Everything that the plan looks at. `selected` are the providers that the offloading's spec selects. */
export interface NamespaceWorld {
  readonly namespace: Namespace | undefined;
  readonly offloading: NamespaceOffloading | undefined;
  readonly selected: readonly SelectedPeer[];
  readonly floated: readonly FloatedPod[];
  readonly volumes: readonly RemoteVolume[];
  /** What keeps admission from working; undefined when it works. */
  readonly webhookProblem: string | undefined;
  /** RFC 3339. */
  readonly now: string;
}

/** What to do, in this order. */
export interface NamespacePlan {
  /** Makes, or deletes, the NamespaceOffloading that goes with the namespace's label. */
  readonly offloading: 'create' | 'delete' | 'keep';
  readonly addFinalizer: boolean;
  /** Value of the strategy label, null for none, undefined to leave it as it is. */
  readonly strategyLabel: string | null | undefined;
  /** Pods to delete: their owners make them again where they may run. */
  readonly evict: readonly FloatedPod[];
  /** Peer → item of NAMESPACES; other peers get none. */
  readonly publish: ReadonlyMap<string, ItemOf<typeof NAMESPACES>>;
  readonly removeFinalizer: boolean;
  readonly status: NamespaceOffloading['status'];
}

const LABEL_VALUES: Readonly<Record<OffloadingStrategy, string>> = {
  LocalAndRemote: 'local-and-remote',
  Remote: 'remote',
  Local: 'local',
};

/** Why a namespace may not be opened at all; undefined when it may. */
export const whyNotOpenable = (namespace: Namespace): string | undefined => {
  const { name, labels } = namespace.metadata;
  if (name.startsWith('kube-') || OWN_NAMESPACES.includes(name)) {
    return `namespace ${name} belongs to the cluster itself`;
  }
  return labels?.[LABELS.origin] === undefined
    ? undefined
    : `namespace ${name} is a twin of another cluster's`;
};

const offloadingAction = ({ namespace, offloading }: NamespaceWorld): NamespacePlan['offloading'] => {
  const isLabelled = namespace?.metadata.labels?.[LABELS.offload] === 'true';
  if (offloading === undefined) {
    const canMake = isLabelled && namespace.metadata.deletionTimestamp === undefined;
    return canMake && whyNotOpenable(namespace) === undefined ? 'create' : 'keep';
  }
  const isOurs = offloading.metadata.annotations?.[ANNOTATIONS.madeByLabel] === 'true';
  return isOurs && !isLabelled && offloading.metadata.deletionTimestamp === undefined ? 'delete' : 'keep';
};

const readiness = (world: NamespaceWorld, label: string | undefined): Omit<ConditionInput, 'type'> => {
  const no = (reason: string, message: string) => ({ status: 'False' as const, reason, message });
  if (world.webhookProblem !== undefined) return no('WebhookNotReady', world.webhookProblem);
  if (label === undefined) return no('LabelPending', 'the namespace does not carry its strategy label yet');
  if (world.selected.length === 0)
    return no('NoPeers', 'no provider is selected: peer with one, or change spec.peers');
  const ready = world.selected.filter((peer) => peer.twin?.ready === true);
  const silent = world.selected.filter((peer) => peer.twin === undefined && peer.isLinkUp);
  if (silent.length > 0) return no('TwinsPending', `waiting for ${silent.map((p) => p.name).join(', ')}`);
  if (ready.length === 0) {
    const said = world.selected.map((p) => `${p.name}: ${p.twin?.message ?? 'link is down'}`).join('; ');
    return no('NoTwins', said);
  }
  return { status: 'True', reason: 'Open', message: `open at ${ready.map((p) => p.name).join(', ')}` };
};

const peerStatus = (peer: SelectedPeer) => ({
  peer: peer.name,
  ...(peer.twin?.twin === undefined ? {} : { twin: peer.twin.twin }),
  ready: peer.twin?.ready ?? false,
  reason: peer.twin?.reason ?? (peer.isLinkUp ? 'Pending' : 'LinkDown'),
  message: peer.twin?.message ?? (peer.isLinkUp ? 'the peer has not answered yet' : 'the link is down'),
});

const statusWith = (
  world: NamespaceWorld,
  peers: readonly SelectedPeer[],
  condition: Omit<ConditionInput, 'type'>,
): NamespaceOffloading['status'] => ({
  peers: peers.map(peerStatus),
  conditions: setCondition(
    world.offloading?.status?.conditions,
    { type: 'Ready', ...condition, observedGeneration: world.offloading?.metadata.generation ?? 0 },
    world.now,
  ),
});

/** The item for each peer in `peers`, with the cluster IDs of the others. */
const itemsFor = (
  offloading: NamespaceOffloading,
  peers: readonly SelectedPeer[],
): ReadonlyMap<string, ItemOf<typeof NAMESPACES>> =>
  new Map(
    peers.map((peer) => [
      peer.name,
      {
        mapping: offloading.spec.mapping,
        sharedWith: peers
          .filter((other) => other.name !== peer.name)
          .map((other) => other.clusterID)
          .toSorted(),
      },
    ]),
  );

/** Peers whose twin must stay: what it holds would go with it. */
const holders = ({ floated, volumes }: NamespaceWorld): ReadonlySet<string> =>
  new Set([...floated, ...volumes].map(({ peer }) => peer));

const closingText = ({ namespace, floated, volumes }: NamespaceWorld): string => {
  if (floated.length > 0 || volumes.length === 0) return `${floated.length} pods still run at peers`;
  const whole = volumes.filter(({ tailOf }) => tailOf === undefined);
  const names = whole.map(({ claim, peer }) => `${claim} (at ${peer})`).toSorted();
  const tails = volumes.flatMap(({ claim, peer, tailOf }) =>
    tailOf === undefined
      ? []
      : [
          `what was written last to ${claim} before ${peer} was lost is there only: move it there and back to keep that, or give it up: kubectl annotate pv ${tailOf} ${STORAGE_ANNOTATIONS.diverged}-`,
        ],
  );
  const wholes =
    whole.length === 0
      ? []
      : [
          `volumes are at peers, and would go with what is closed there: ${names.join(', ')}; move each here (fluviactl move volume CLAIM -n ${namespace?.metadata.name ?? ''} --to this cluster's name) or delete its claim`,
        ];
  return [...wholes, ...tails.toSorted()].join('; ');
};

/** `leaving`: peers that are not selected any more but still hold something; their item stays until that is gone. */
const closing = (world: NamespaceWorld, leaving: ReadonlySet<string>, offloading: NamespaceOffloading) => {
  const items = new Map<string, ItemOf<typeof NAMESPACES>>();
  for (const peer of leaving) items.set(peer, { mapping: offloading.spec.mapping, sharedWith: [] });
  return {
    items,
    evict: world.floated.filter((pod) => leaving.has(pod.peer) && !pod.isDeleting),
  };
};

/** What one namespace needs now. Safe to be stopped after any step. */
export const planNamespace = (world: NamespaceWorld): NamespacePlan => {
  const { namespace, offloading, selected } = world;
  const hasLabel = namespace?.metadata.labels?.[LABELS.strategy];
  const nothing: NamespacePlan = {
    offloading: offloadingAction(world),
    addFinalizer: false,
    strategyLabel: hasLabel === undefined ? undefined : null,
    evict: [],
    publish: new Map(),
    removeFinalizer: false,
    status: offloading?.status,
  };
  if (namespace === undefined || offloading === undefined) return nothing;
  const isFinalized = offloading.metadata.finalizers?.includes(FINALIZERS.cleanup) ?? false;
  if (offloading.metadata.deletionTimestamp !== undefined) {
    const held = holders(world);
    const { items, evict } = closing(world, held, offloading);
    const message = closingText(world);
    return {
      ...nothing,
      evict,
      publish: items,
      removeFinalizer: isFinalized && held.size === 0,
      status: statusWith(world, selected, { status: 'False', reason: 'Closing', message }),
    };
  }
  const refusal = whyNotOpenable(namespace);
  if (refusal !== undefined) {
    return {
      ...nothing,
      status: statusWith(world, [], { status: 'False', reason: 'NotAllowed', message: refusal }),
    };
  }
  const wanted = LABEL_VALUES[offloading.spec.strategy];
  // A label without a working webhook would hold up pods (remote) or promise what doesn't happen.
  const mayLabel = isFinalized && (hasLabel !== undefined || world.webhookProblem === undefined);
  const names = new Set(selected.map((peer) => peer.name));
  const leaving = new Set([...holders(world)].filter((peer) => !names.has(peer)));
  const { items, evict } = closing(world, leaving, offloading);
  const publish = isFinalized
    ? new Map([...items, ...itemsFor(offloading, selected)])
    : new Map<string, never>();
  return {
    ...nothing,
    addFinalizer: !isFinalized,
    strategyLabel: mayLabel && hasLabel !== wanted ? wanted : undefined,
    evict,
    publish,
    status: statusWith(world, selected, readiness(world, hasLabel)),
  };
};
