import { LABELS } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import type { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import {
  placeholderName,
  PROVISIONER,
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  STORAGE_LABELS,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node } from '../../runtime/kube/types.ts';

export type VolumeItem = ItemOf<typeof VOLUMES>;
export type VolumeStatusItem = ItemOf<typeof VOLUME_STATUS>;

/** What the scheduler writes onto a claim whose first pod it has placed. */
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
/** By this the controller-manager knows that another program deletes the volume. */
const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';

/** Everything that is known of one volume at home. */
export interface VolumeWorld {
  readonly id: string;
  readonly claim: PersistentVolumeClaim | undefined;
  readonly volume: PersistentVolume | undefined;
  readonly reclaimPolicy: string;
  readonly nodes: readonly Node[];
  /** Peers that exist. */
  readonly peers: ReadonlySet<string>;
  /** What each peer says of the volume. */
  readonly told: ReadonlyMap<string, VolumeStatusItem>;
  /** Peers whose word about all volumes has been heard. */
  readonly heard: ReadonlySet<string>;
}

/** Where the volume is and was, as the placeholder's annotations say. */
export interface VolumePlace {
  readonly epoch: number;
  readonly location: string;
  readonly retained: readonly string[];
  /** Peers of `retained` that were lost, so that their copy has a tail of its own. */
  readonly diverged: readonly string[];
  /** Peer that is being filled by a restore; the volume is usable nowhere meanwhile. */
  readonly restoring: string | undefined;
  /** Whether the volume may be used where it is. */
  readonly isUsable: boolean;
}

export interface VolumePlan {
  /** Nodes that must get or lose the moving label. */
  readonly label: readonly string[];
  readonly unlabel: readonly string[];
  readonly create: PersistentVolume | undefined;
  readonly deletePlaceholder: boolean;
  /** Takes the scheduler's choice back, so that it chooses anew. */
  readonly unselect: { readonly reason: string; readonly message: string } | undefined;
  /** By peer; a peer that isn't named must not have the item. */
  readonly publish: ReadonlyMap<string, VolumeItem>;
  /** A word about the claim for people. */
  readonly condition:
    | { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string }
    | undefined;
}

const NOTHING: VolumePlan = {
  label: [],
  unlabel: [],
  create: undefined,
  deletePlaceholder: false,
  unselect: undefined,
  publish: new Map(),
  condition: undefined,
};

const list = (text: string | undefined): readonly string[] =>
  (text ?? '').split(',').filter((part) => part !== '');

interface MoveNote {
  readonly to?: unknown;
  readonly stage?: unknown;
}

const moveOf = (text: string | undefined): MoveNote | undefined => {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
};

/** Reads a placeholder's annotations; undefined when it isn't one of ours. */
export const placeOf = (volume: PersistentVolume): VolumePlace | undefined => {
  const annotations = volume.metadata.annotations ?? {};
  const location = annotations[STORAGE_ANNOTATIONS.location];
  const epoch = Number(annotations[STORAGE_ANNOTATIONS.epoch] ?? '0');
  if (location === undefined || location === '' || !Number.isSafeInteger(epoch)) return undefined;
  const move = moveOf(annotations[STORAGE_ANNOTATIONS.move]);
  const restores = move?.stage === 'restore' && typeof move.to === 'string' ? move.to : undefined;
  return {
    epoch,
    location,
    retained: list(annotations[STORAGE_ANNOTATIONS.retained]).filter((peer) => peer !== location),
    diverged: list(annotations[STORAGE_ANNOTATIONS.diverged]),
    restoring: restores,
    isUsable: move === undefined,
  };
};

const peerOf = (node: Node): string | undefined =>
  node.metadata.labels?.[LABELS.virtualNode] === 'true' ? node.metadata.labels[LABELS.peer] : undefined;

const hasLabel = (node: Node, id: string): boolean =>
  node.metadata.labels?.[volumeNodeLabel(id)] !== undefined;

/** What the label on the nodes lacks, when the volume may be used at `peer` (undefined: nowhere). */
const labels = (
  { id, nodes }: VolumeWorld,
  peer: string | undefined,
): Pick<VolumePlan, 'label' | 'unlabel'> => {
  const live = nodes.filter((node) => node.metadata.deletionTimestamp === undefined);
  const there = (node: Node): boolean => peer !== undefined && peerOf(node) === peer;
  return {
    label: live.filter((node) => there(node) && !hasLabel(node, id)).map((node) => node.metadata.name),
    unlabel: live.filter((node) => !there(node) && hasLabel(node, id)).map((node) => node.metadata.name),
  };
};

const sizeOf = (claim: PersistentVolumeClaim): string => claim.spec.resources?.requests?.['storage'] ?? '1Gi';

/** Why no volume can be made for this claim; undefined when one can. */
export const whyUnsupported = (claim: PersistentVolumeClaim): string | undefined => {
  if ((claim.spec.volumeMode ?? 'Filesystem') !== 'Filesystem')
    return `volumeMode ${claim.spec.volumeMode ?? ''} is not offered by class ${STORAGE_CLASS}: use Filesystem`;
  for (const field of ['selector', 'dataSource', 'dataSourceRef'] as const) {
    if (claim.spec[field] !== undefined && claim.spec[field] !== null)
      return `${field} is not offered by class ${STORAGE_CLASS}: leave it out`;
  }
  return undefined;
};

const placeholder = (
  world: VolumeWorld,
  claim: PersistentVolumeClaim,
  location: string,
): PersistentVolume => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: {
    name: placeholderName(world.id),
    labels: { [STORAGE_LABELS.volume]: world.id, [LABELS.managedBy]: 'fluvia' },
    annotations: {
      [PROVISIONED_BY]: PROVISIONER,
      [STORAGE_ANNOTATIONS.epoch]: '1',
      [STORAGE_ANNOTATIONS.location]: location,
    },
  },
  spec: {
    storageClassName: STORAGE_CLASS,
    persistentVolumeReclaimPolicy: world.reclaimPolicy,
    capacity: { storage: sizeOf(claim) },
    accessModes: claim.spec.accessModes ?? ['ReadWriteOnce'],
    volumeMode: 'Filesystem',
    claimRef: {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      namespace: claim.metadata.namespace,
      name: claim.metadata.name,
      uid: claim.metadata.uid,
    },
    // No kubelet ever mounts it: the label stands on virtual nodes only.
    local: { path: `/var/lib/fluvia-placeholder/${world.id}` },
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: volumeNodeLabel(world.id), operator: 'Exists' }] }],
      },
    },
  },
});

const unsupported = (reason: string, message: string): VolumePlan => ({
  ...NOTHING,
  condition: { status: 'False', reason, message },
});

/** A claim without a volume: made where the scheduler wants its first pod. */
const planNew = (world: VolumeWorld, claim: PersistentVolumeClaim): VolumePlan => {
  const why = whyUnsupported(claim);
  if (why !== undefined) return unsupported('UnsupportedClaim', why);
  const selected = claim.metadata.annotations?.[SELECTED_NODE];
  const node = world.nodes.find(({ metadata }) => metadata.name === selected);
  if (node === undefined || claim.metadata.deletionTimestamp !== undefined)
    return { ...NOTHING, ...labels(world, undefined) };
  const peer = peerOf(node);
  if (peer === undefined) {
    const reason = 'HomeVolumesUnsupported';
    const message =
      `node ${node.metadata.name} is of this cluster, and volumes of class ${STORAGE_CLASS} are made at peers only; ` +
      "let the pod float (label its namespace fluvia.dev/offload=true), or use this cluster's own class";
    return {
      ...unsupported(reason, message),
      ...labels(world, undefined),
      unselect: { reason, message },
    };
  }
  const wanted = labels(world, peer);
  // The scheduler compares the placeholder with the node as it sees it: the label has to stand first.
  if (wanted.label.length > 0) return { ...NOTHING, ...wanted };
  return { ...NOTHING, ...wanted, create: placeholder(world, claim, peer) };
};

const itemOf = (
  claim: { readonly namespace: string; readonly name: string; readonly uid: string },
  volume: PersistentVolume,
  epoch: number,
  state: VolumeItem['state'],
): VolumeItem => ({
  namespace: claim.namespace,
  claimName: claim.name,
  uid: claim.uid,
  size: volume.spec.capacity?.['storage'] ?? '1Gi',
  accessModes: (volume.spec.accessModes ?? ['ReadWriteOnce']) as VolumeItem['accessModes'],
  volumeMode: 'Filesystem',
  epoch,
  state,
});

const conditionOf = (
  place: VolumePlace,
  told: VolumeStatusItem | undefined,
  loss: string | undefined,
): VolumePlan['condition'] => {
  if (!place.isUsable)
    return { status: 'False', reason: 'Moving', message: `it is being moved from ${place.location}` };
  if (loss !== undefined) return { status: 'False', reason: 'PeerLost', message: loss };
  if (told?.phase === 'Bound') {
    const size = told.capacity === undefined ? '' : `, ${told.capacity}`;
    const message = `it is at peer ${place.location} (class ${told.storageClass ?? 'unknown'}${size})`;
    return { status: 'True', reason: 'AtPeer', message };
  }
  if (told?.phase === 'Failed') {
    const message = `peer ${place.location}: ${told.message ?? told.reason ?? 'it could not be made'}`;
    return { status: 'False', reason: told.reason ?? 'ProvisioningFailed', message };
  }
  const more = told?.message === undefined ? '' : `: ${told.message}`;
  return {
    status: 'False',
    reason: told?.reason ?? 'Pending',
    message: `made at peer ${place.location} with its first pod${more}`,
  };
};

/** A volume that has its placeholder. */
const planPlaced = (world: VolumeWorld, volume: PersistentVolume): VolumePlan => {
  const place = placeOf(volume);
  const ref = volume.spec.claimRef;
  if (place === undefined || ref === undefined) return NOTHING;
  const claim = { namespace: ref.namespace ?? '', name: ref.name ?? '', uid: ref.uid ?? '' };
  const isHeld = world.claim !== undefined || volume.spec.persistentVolumeReclaimPolicy === 'Retain';
  if (!isHeld) {
    const holders = [place.location, ...place.retained, ...(place.restoring ? [place.restoring] : [])];
    // A peer that is silent may still have it; one whose peering is gone can't be asked.
    const isGoneAt = (peer: string): boolean =>
      !world.peers.has(peer) || (world.heard.has(peer) && (world.told.get(peer)?.phase ?? 'Gone') === 'Gone');
    return { ...NOTHING, ...labels(world, undefined), deletePlaceholder: holders.every(isGoneAt) };
  }
  const publish = new Map<string, VolumeItem>();
  for (const peer of place.retained) publish.set(peer, itemOf(claim, volume, place.epoch, 'retained'));
  const isInUse = world.claim !== undefined && place.isUsable;
  publish.set(place.location, itemOf(claim, volume, place.epoch, isInUse ? 'active' : 'retained'));
  if (place.restoring !== undefined)
    publish.set(place.restoring, itemOf(claim, volume, place.epoch, 'restoring'));
  return {
    ...NOTHING,
    ...labels(world, isInUse ? place.location : undefined),
    publish,
    condition:
      world.claim === undefined
        ? undefined
        : conditionOf(
            place,
            world.told.get(place.location),
            volume.metadata.annotations?.[STORAGE_ANNOTATIONS.loss],
          ),
  };
};

/** What to do about one volume; planning again over the result plans nothing. */
export const planVolume = (world: VolumeWorld): VolumePlan => {
  if (world.volume !== undefined) return planPlaced(world, world.volume);
  if (world.claim !== undefined) return planNew(world, world.claim);
  return { ...NOTHING, ...labels(world, undefined) };
};
