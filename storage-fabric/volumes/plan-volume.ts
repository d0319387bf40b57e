import { LABELS } from '../../api/labels.ts';
import { HOME_PLACE } from '../../api/places.ts';
import {
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  VOLUME_CONDITION,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
import { SELECTED_NODE } from '../../api/unmade-volume.ts';
import { moveOf } from '../../api/volume-places.ts';
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
import { conditionOf, newCondition, placeText, type VolumeCondition } from './plan-volume-condition.ts';
import { isLostData, LOST, NODE_REFUSED, type VolumeItem, type VolumeStatusItem } from './volume-items.ts';
import { placeOf } from './volume-place.ts';

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
  readonly condition: VolumeCondition;
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
