import { LABELS } from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import type { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import { HOME_PLACE } from '../../api/places.ts';
import {
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  VOLUME_CONDITION,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
import { anewOf, isMade, refusalsOf, SELECTED_NODE, type Refusals } from '../../api/unmade-volume.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node } from '../../runtime/kube/types.ts';
import {
  homeNodesOf,
  homeVolumeOf,
  isKept,
  isOwnClaim,
  isRealOf,
  placeholderOf,
  recordOf,
  type Authority,
} from './plan-source.ts';
import { isSettled } from './plan-swap.ts';

export type VolumeItem = ItemOf<typeof VOLUMES>;
export type VolumeStatusItem = ItemOf<typeof VOLUME_STATUS>;

/** Everything that is known of one volume at home. */
export interface VolumeWorld {
  readonly id: string;
  readonly claim: PersistentVolumeClaim | undefined;
  readonly volume: PersistentVolume | undefined;
  /** Home's own claim for it in `fluvia-volumes`, and the real volume of this cluster that it is bound to. */
  readonly homeClaim: PersistentVolumeClaim | undefined;
  readonly real: PersistentVolume | undefined;
  readonly reclaimPolicy: string;
  readonly nodes: readonly Node[];
  /** Places that exist: peers, and this cluster. */
  readonly peers: ReadonlySet<string>;
  /** Those of them that know the claim's namespace. Whoever may write claims chooses none that does not. */
  readonly open: ReadonlySet<string>;
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
  /** Where it is to be made instead of where it never was. */
  readonly anew: string | undefined;
  /** Whether it was ever there. */
  readonly isMade: boolean;
  /** Places that could not make it, also those that may be tried again. */
  readonly refused: Refusals;
  /** Whether the volume may be used where it is. */
  readonly isUsable: boolean;
}

export interface VolumePlan {
  /** Nodes that must get or lose the moving label. */
  readonly label: readonly string[];
  readonly unlabel: readonly string[];
  /** A real volume of this cluster that must outlive its claim before anything uses it. */
  readonly keep: PersistentVolume | undefined;
  readonly create: PersistentVolume | undefined;
  readonly deletePlaceholder: boolean;
  /** Writes down that the real volume was there. */
  readonly markMade: boolean;
  /** Takes the scheduler's choice back, so that it chooses anew. */
  readonly unselect: { readonly reason: string; readonly message: string } | undefined;
  /** By place; one that isn't named must not have the item. */
  readonly publish: ReadonlyMap<string, VolumeItem>;
  /** Nothing can be known: what was said stays, and this is said where nothing was. Else `publish` counts. */
  readonly unknown: VolumeItem | undefined;
  /** A word about the claim for people. */
  readonly condition:
    | { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string }
    | undefined;
}

const NOTHING: VolumePlan = {
  label: [],
  unlabel: [],
  keep: undefined,
  create: undefined,
  deletePlaceholder: false,
  markMade: false,
  unselect: undefined,
  publish: new Map(),
  unknown: undefined,
  condition: undefined,
};

const list = (text: string | undefined): readonly string[] =>
  (text ?? '').split(',').filter((part) => part !== '');

interface MoveNote {
  readonly to?: unknown;
  readonly stage?: unknown;
  readonly failures?: unknown;
  readonly message?: unknown;
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
  const anew = anewOf(annotations);
  return {
    epoch,
    location,
    retained: list(annotations[STORAGE_ANNOTATIONS.retained]).filter((peer) => peer !== location),
    diverged: list(annotations[STORAGE_ANNOTATIONS.diverged]),
    restoring: restores,
    anew,
    isMade: isMade(annotations),
    refused: refusalsOf(annotations),
    isUsable: move === undefined && anew === undefined,
  };
};

const peerOf = (node: Node): string | undefined =>
  node.metadata.labels?.[LABELS.virtualNode] === 'true' ? node.metadata.labels[LABELS.peer] : undefined;

/** The place that a node belongs to. */
export const placeOfNode = (node: Node): string => peerOf(node) ?? HOME_PLACE;

const hasLabel = (node: Node, id: string): boolean =>
  node.metadata.labels?.[volumeNodeLabel(id)] !== undefined;

const isLive = ({ metadata }: Node): boolean => metadata.deletionTimestamp === undefined;

/** Whether kube-scheduler may still send a pod to the volume. */
export const isOffered = (id: string, nodes: readonly Node[]): boolean =>
  nodes.some((node) => isLive(node) && hasLabel(node, id));

/** What the label on the nodes lacks, when the volume may be used on `there`. */
const labels = (
  { id, nodes }: VolumeWorld,
  there: readonly Node[],
): Pick<VolumePlan, 'label' | 'unlabel'> => {
  const live = nodes.filter(isLive);
  return {
    label: live
      .filter((node) => there.includes(node) && !hasLabel(node, id))
      .map((node) => node.metadata.name),
    unlabel: live
      .filter((node) => !there.includes(node) && hasLabel(node, id))
      .map((node) => node.metadata.name),
  };
};

/** Nodes where a volume that is at `location` may be used: a peer's virtual ones, or home's own as its source allows. */
const nodesAt = ({ id, nodes }: VolumeWorld, location: string, volume: PersistentVolume): readonly Node[] =>
  location === HOME_PLACE
    ? homeNodesOf(id, volume, nodes)
    : nodes.filter((node) => peerOf(node) === location);

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

/** ReadWriteOncePod is kept by home's scheduler; behind it a mover has to get at the volume, too. */
const realModes = (modes: readonly string[] | undefined): VolumeItem['accessModes'] => [
  ...new Set(
    ((modes ?? ['ReadWriteOnce']) as VolumeItem['accessModes']).map((mode) =>
      mode === 'ReadWriteOncePod' ? 'ReadWriteOnce' : mode,
    ),
  ),
];

const newAuthority = (world: VolumeWorld, claim: PersistentVolumeClaim, location: string): Authority => ({
  annotations: { [STORAGE_ANNOTATIONS.epoch]: '1', [STORAGE_ANNOTATIONS.location]: location },
  size: sizeOf(claim),
  accessModes: [...(claim.spec.accessModes ?? ['ReadWriteOnce'])],
  reclaimPolicy: world.reclaimPolicy,
  claim: {
    namespace: claim.metadata.namespace ?? '',
    name: claim.metadata.name,
    uid: claim.metadata.uid ?? '',
  },
});

const unsupported = (reason: string, message: string): VolumePlan => ({
  ...NOTHING,
  condition: { status: 'False', reason, message },
});

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
  accessModes: realModes(volume.spec.accessModes),
  volumeMode: 'Filesystem',
  epoch,
  state,
});

/** Reason in the status of home's own claim: its provisioner wants another node. */
export const NODE_REFUSED = 'NodeRefused';

/** Reason in the status of a volume that was there, and is gone with all it held. */
export const LOST = 'Lost';

/** Whether what a peer says of the volume means that its data is gone. */
export const isLostData = (told: VolumeStatusItem | undefined): boolean =>
  told?.phase === 'Failed' && told.reason === LOST;

/** A place in words. */
const placeText = (place: string): string => (place === HOME_PLACE ? 'this cluster' : `peer ${place}`);
const atPlace = (place: string): string => `${place === HOME_PLACE ? 'in' : 'at'} ${placeText(place)}`;

/** Reason of the condition of a volume that was made and of which its place says nothing. */
const NOT_HEARD = 'NotHeard';
type ClaimCondition = NonNullable<NonNullable<PersistentVolumeClaim['status']>['conditions']>[number];

/** Reason of the condition of a volume that goes from where it was never made to where it will be. */
export const PLACED_ANEW = 'PlacedAnew';
/** What a place's refusal means for pods that wait there. */
const PODS_GO = 'pods that wait for it go elsewhere where they fit, one without an owner once it is deleted';

/** Of a volume that isn't there yet. */
const newCondition = (location: string, told: VolumeStatusItem | undefined): VolumePlan['condition'] => {
  if (told?.phase === 'Failed') {
    const message = `${placeText(location)}: ${told.message ?? told.reason ?? 'it could not be made'}`;
    return { status: 'False', reason: told.reason ?? 'ProvisioningFailed', message };
  }
  const more = told?.message === undefined ? '' : `: ${told.message}`;
  return {
    status: 'False',
    reason: told?.reason ?? 'Pending',
    message: `made ${atPlace(location)} with its first pod${more}`,
  };
};

/** Of a volume that holds something while its place does not say how it is: it is not made again, whatever is not heard. */
const unheardCondition = (
  location: string,
  told: VolumeStatusItem | undefined,
  said: ClaimCondition | undefined,
): VolumePlan['condition'] => {
  if (told?.reason !== undefined) {
    const message = `it is ${atPlace(location)}, which has it not ready: ${told.message ?? told.reason}`;
    return { status: 'False', reason: told.reason, message };
  }
  // A leader that has just begun hears it soon, or finds its place lost: what the one before said stays until then.
  if (said?.status === 'True') return undefined;
  const message = `it is ${atPlace(location)}, which has not said yet how it is`;
  return { status: 'False', reason: NOT_HEARD, message };
};

/** Where it goes, and why it is not there yet. */
const moveText = ({ to, failures, message }: MoveNote): string => {
  const trouble =
    Number(failures) > 0 && typeof message === 'string' ? `; it failed and is tried again: ${message}` : '';
  return `${typeof to === 'string' ? ` to ${placeText(to)}` : ''}${trouble}`;
};

/** What home says of a volume besides where it is. */
interface Told {
  readonly loss: string | undefined;
  readonly move: MoveNote | undefined;
  /** The condition as it stands. */
  readonly said: ClaimCondition | undefined;
}

const conditionOf = (
  place: VolumePlace,
  told: VolumeStatusItem | undefined,
  { loss, move, said }: Told,
): VolumePlan['condition'] => {
  if (place.anew !== undefined) {
    const why = place.refused[place.location]?.message;
    const message = `not made ${atPlace(place.location)}${why === undefined ? '' : ` (${why})`}: to be made ${atPlace(place.anew)}, once ${placeText(place.location)} has said that nothing is there`;
    return loss === undefined
      ? { status: 'False', reason: PLACED_ANEW, message }
      : { status: 'False', reason: 'PeerLost', message: `${message}; ${loss}` };
  }
  if (!place.isUsable)
    return {
      status: 'False',
      reason: 'Moving',
      message: `it is being moved from ${placeText(place.location)}${move === undefined ? '' : moveText(move)}`,
    };
  if (loss !== undefined)
    return { status: 'False', reason: isLostData(told) ? LOST : 'PeerLost', message: loss };
  if (place.isMade && told?.phase !== 'Bound' && told?.phase !== 'Failed')
    return unheardCondition(place.location, told, said);
  if (told?.phase !== 'Bound') {
    const condition = newCondition(place.location, told);
    const isRefused = place.refused[place.location] !== undefined && condition !== undefined;
    return isRefused ? { ...condition, message: `${condition.message}; ${PODS_GO}` } : condition;
  }
  const size = told.capacity === undefined ? '' : `, ${told.capacity}`;
  const message = `it is ${atPlace(place.location)} (class ${told.storageClass ?? 'unknown'}${size})`;
  return { status: 'True', reason: place.location === HOME_PLACE ? 'AtHome' : 'AtPeer', message };
};

/** A claim whose first pod goes to a node of this cluster: our own claim first, then its real volume's source. */
const planNewAtHome = (world: VolumeWorld, claim: PersistentVolumeClaim, node: Node): VolumePlan => {
  const { id, homeClaim, real } = world;
  const told = world.told.get(HOME_PLACE);
  const authority = newAuthority(world, claim, HOME_PLACE);
  const wanted = placeholderOf(id, authority);
  const item = { ...itemOf(authority.claim, wanted, 1, 'active'), node: node.metadata.name };
  const plan: VolumePlan = {
    ...NOTHING,
    publish: new Map([[HOME_PLACE, item]]),
    condition: newCondition(HOME_PLACE, told),
  };
  if (told?.phase === 'Failed' || told?.reason === NODE_REFUSED) {
    const reason = told.reason ?? 'ProvisioningFailed';
    const message = `${placeText(HOME_PLACE)}: ${told.message ?? 'the volume could not be made'}`;
    return { ...unsupported(reason, message), ...labels(world, []), unselect: { reason, message } };
  }
  if (homeClaim === undefined || real === undefined) return { ...plan, ...labels(world, []) };
  if (!isOwnClaim(id, homeClaim) || !isRealOf(homeClaim, real)) return { ...plan, ...labels(world, []) };
  if (!isKept(real)) return { ...plan, ...labels(world, []), keep: real };
  const create = homeVolumeOf(
    id,
    {
      ...authority,
      size: real.spec.capacity?.['storage'] ?? authority.size,
      annotations: { ...authority.annotations, [STORAGE_ANNOTATIONS.made]: 'true' },
    },
    real,
  );
  const change = labels(world, homeNodesOf(id, create, world.nodes));
  return change.label.length > 0 ? { ...plan, ...change } : { ...plan, ...change, create };
};

/**
 * The word where a volume is has gone. Nobody may take that for its end: a new leader, which has said nothing yet, tells every
 * place to keep what it has.
 */
const planUnknown = ({ id, claim, told }: VolumeWorld, why: string): VolumePlan => {
  if (claim === undefined) return NOTHING;
  const { namespace = '', name, uid = '' } = claim.metadata;
  const wanted = placeholderOf(id, {
    annotations: {},
    size: sizeOf(claim),
    accessModes: [...(claim.spec.accessModes ?? ['ReadWriteOnce'])],
    reclaimPolicy: 'Retain',
    claim: { namespace, name, uid },
  });
  const holders = [...told].flatMap(([place, { phase }]) => (phase === 'Bound' ? [placeText(place)] : []));
  const where = holders.length === 0 ? 'no place says that it has it' : `${holders.join(' and ')} has it`;
  const message = `${why}, and with it the word where the volume is (${where}): put it back as it was, with its annotations, or delete the claim, and the volume with it`;
  return {
    ...NOTHING,
    unknown: itemOf({ namespace, name, uid }, wanted, 0, 'unknown'),
    condition: { status: 'False', reason: LOST, message },
  };
};

/** A claim without a volume: made where the scheduler wants its first pod. */
const planNew = (world: VolumeWorld, claim: PersistentVolumeClaim): VolumePlan => {
  // It had one: another must not be made in its stead.
  const { volumeName = '' } = claim.spec;
  if (volumeName !== '') {
    const plan = planUnknown(world, `PersistentVolume ${volumeName} is gone`);
    // Before the control plane has seen it this may be a cache that lags.
    return claim.status?.phase === 'Lost' ? plan : { ...plan, condition: undefined };
  }
  const why = whyUnsupported(claim);
  if (why !== undefined) return unsupported('UnsupportedClaim', why);
  const selected = claim.metadata.annotations?.[SELECTED_NODE];
  const node = world.nodes.find(({ metadata }) => metadata.name === selected);
  if (claim.metadata.deletionTimestamp !== undefined || selected === undefined)
    return { ...NOTHING, ...labels(world, []) };
  if (node === undefined) {
    // kube-scheduler sends the pod to no other node while this one stands on the claim.
    const message = `node ${selected} was chosen for its first pod, and is gone: another is chosen`;
    const unselect = { reason: 'NodeGone', message };
    return { ...NOTHING, ...labels(world, []), unselect };
  }
  const peer = peerOf(node);
  if (peer === undefined) return planNewAtHome(world, claim, node);
  if (!world.open.has(peer)) {
    const message = `peer ${peer} has not said yet that it has namespace ${claim.metadata.namespace ?? ''}`;
    const condition = { status: 'False', reason: 'Pending', message } as const;
    return { ...NOTHING, ...labels(world, []), condition };
  }
  const create = placeholderOf(world.id, newAuthority(world, claim, peer));
  const wanted = labels(world, nodesAt(world, peer, create));
  // The scheduler compares the placeholder with the node as it sees it: the label has to stand first.
  if (wanted.label.length > 0) return { ...NOTHING, ...wanted };
  return { ...NOTHING, ...wanted, create };
};

/** A volume that has its placeholder. */
const planPlaced = (world: VolumeWorld, volume: PersistentVolume): VolumePlan => {
  const place = placeOf(volume);
  const ref = volume.spec.claimRef;
  if (place === undefined || ref === undefined)
    return planUnknown(
      world,
      `PersistentVolume ${volume.metadata.name} has lost its annotations or its claimRef`,
    );
  const claim = { namespace: ref.namespace ?? '', name: ref.name ?? '', uid: ref.uid ?? '' };
  // One that is only written down is made first: whoever deletes needs an object to hold on to.
  const isHeld =
    world.claim !== undefined ||
    volume.spec.persistentVolumeReclaimPolicy === 'Retain' ||
    volume.metadata.uid === undefined;
  if (!isHeld) {
    const holders = [place.location, ...place.retained, ...(place.restoring ? [place.restoring] : [])];
    // A peer that is silent may still have it; one whose peering is gone can't be asked.
    const isGoneAt = (peer: string): boolean =>
      !world.peers.has(peer) || (world.heard.has(peer) && (world.told.get(peer)?.phase ?? 'Gone') === 'Gone');
    return { ...NOTHING, ...labels(world, []), deletePlaceholder: holders.every(isGoneAt) };
  }
  const publish = new Map<string, VolumeItem>();
  for (const peer of place.retained) publish.set(peer, itemOf(claim, volume, place.epoch, 'retained'));
  const isInUse = world.claim !== undefined && place.isUsable;
  const told = world.told.get(place.location);
  const isMarked = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.made] !== undefined;
  const chosen = world.claim?.metadata.annotations?.[SELECTED_NODE];
  const node = world.nodes.find(({ metadata }) => metadata.name === chosen);
  const isNewAtHome =
    place.location === HOME_PLACE &&
    isInUse &&
    !place.isMade &&
    node !== undefined &&
    peerOf(node) === undefined;
  publish.set(place.location, {
    ...itemOf(claim, volume, place.epoch, isInUse ? 'active' : 'retained'),
    ...(place.isMade ? { mustExist: true } : {}),
    ...(isNewAtHome ? { node: node.metadata.name } : {}),
  });
  if (place.restoring !== undefined)
    publish.set(place.restoring, itemOf(claim, volume, place.epoch, 'restoring'));
  // Between two sources it can be mounted nowhere.
  const isReady = isInUse && isSettled(volume) && volume.metadata.uid !== undefined && !isLostData(told);
  return {
    ...NOTHING,
    ...labels(world, isReady ? nodesAt(world, place.location, volume) : []),
    publish,
    markMade: !isMarked && told?.phase === 'Bound',
    condition:
      world.claim === undefined
        ? undefined
        : conditionOf(place, told, {
            loss: volume.metadata.annotations?.[STORAGE_ANNOTATIONS.loss],
            move: moveOf(volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move]),
            said: world.claim.status?.conditions?.find(({ type }) => type === VOLUME_CONDITION),
          }),
  };
};

/** What is written down of a PersistentVolume that is being made anew, as if it stood. */
const recordedVolume = ({ id, homeClaim }: VolumeWorld): PersistentVolume | undefined => {
  const record = homeClaim !== undefined && isOwnClaim(id, homeClaim) ? recordOf(homeClaim) : undefined;
  return record === undefined ? undefined : placeholderOf(id, record);
};

/** What to do about one volume; planning again over the result plans nothing. */
export const planVolume = (world: VolumeWorld): VolumePlan => {
  const volume = world.volume ?? recordedVolume(world);
  if (volume !== undefined) return planPlaced(world, volume);
  if (world.claim !== undefined) return planNew(world, world.claim);
  return { ...NOTHING, ...labels(world, []) };
};
