import { ANNOTATIONS, LABELS, MANAGED_BY } from '../../api/labels.ts';
import { STORAGE_ANNOTATIONS, STORAGE_LABELS } from '../../api/storage-names.ts';
import { REFUSED_FOR_MS, SELECTED_NODE } from '../../api/unmade-volume.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { LOST, NODE_REFUSED, type VolumeItem, type VolumeStatusItem } from './volume-items.ts';
import { recordOf } from './plan-source.ts';

/** What the provider knows of one volume of a consumer. */
export interface PeerVolumeWorld {
  readonly id: string;
  readonly clusterID: string;
  /** Whether the consumer is this cluster itself. */
  readonly isOwn: boolean;
  /** Name that the claim has here. */
  readonly claimName: string;
  /** What the consumer wants; undefined: nothing (any more). */
  readonly wanted: VolumeItem | undefined;
  /** Whether the consumer has said that it told everything, so that a missing item is a deletion. */
  readonly isComplete: boolean;
  readonly twin: string | undefined;
  /** Our claim for this volume, wherever it is. */
  readonly claim: PersistentVolumeClaim | undefined;
  /** Another object that has the name in the twin. */
  readonly obstacle: PersistentVolumeClaim | undefined;
  readonly hasDefaultClass: boolean;
  /** Last warning of the provisioner about the claim. */
  readonly warning: string | undefined;
  /** How old the claim is, in milliseconds; 0 without one. */
  readonly ageMs: number;
}

export interface PeerVolumePlan {
  readonly create: PersistentVolumeClaim | undefined;
  /** Annotations to bring up to date. */
  readonly annotate: Readonly<Record<string, string>> | undefined;
  readonly deleteClaim: boolean;
  /** `forget`: the volume is gone and asked for by no one. */
  readonly status: VolumeStatusItem | 'forget' | undefined;
}

const NOTHING: PeerVolumePlan = {
  create: undefined,
  annotate: undefined,
  deleteClaim: false,
  status: undefined,
};

const STATES = ['active', 'restoring', 'retained'] as const;

const annotationsOf = (wanted: VolumeItem): Record<string, string> => ({
  [ANNOTATIONS.originUID]: wanted.uid,
  [STORAGE_ANNOTATIONS.epoch]: String(wanted.epoch),
  [STORAGE_ANNOTATIONS.state]: wanted.state,
});

const manifest = (
  { id, clusterID, isOwn, claimName }: PeerVolumeWorld,
  wanted: VolumeItem,
  twin: string,
): PersistentVolumeClaim => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: {
    name: claimName,
    namespace: twin,
    labels: {
      [LABELS.origin]: clusterID,
      [LABELS.managedBy]: MANAGED_BY,
      [STORAGE_LABELS.volume]: id,
    },
    annotations: {
      ...annotationsOf(wanted),
      ...(isOwn ? { [STORAGE_ANNOTATIONS.claim]: `${wanted.namespace}/${wanted.claimName}` } : {}),
      ...(isOwn && wanted.node !== undefined
        ? { [SELECTED_NODE]: wanted.node, [STORAGE_ANNOTATIONS.node]: wanted.node }
        : {}),
    },
  },
  spec: {
    accessModes: wanted.accessModes,
    volumeMode: wanted.volumeMode,
    resources: { requests: { storage: wanted.size } },
  },
});

const failed = (uid: string, reason: string, message: string): VolumeStatusItem => ({
  uid,
  phase: 'Failed',
  reason,
  message: message.slice(0, 1024),
});

const stateOf = (claim: PersistentVolumeClaim): VolumeStatusItem['state'] =>
  STATES.find((state) => state === claim.metadata.annotations?.[STORAGE_ANNOTATIONS.state]);

const statusOf = (
  claim: PersistentVolumeClaim,
  uid: string,
  warning: string | undefined,
): VolumeStatusItem => {
  const storageClass = claim.spec.storageClassName;
  // What the claim itself says, of the same moment as its phase: not what is about to be written onto it.
  const state = stateOf(claim);
  const base = {
    uid,
    ...(state === undefined ? {} : { state }),
    ...(storageClass === undefined ? {} : { storageClass }),
  };
  const phase = claim.status?.phase;
  const capacity = claim.status?.capacity?.['storage'];
  if (phase === 'Bound') return { ...base, phase: 'Bound', ...(capacity === undefined ? {} : { capacity }) };
  if (phase === 'Lost')
    return { ...base, phase: 'Failed', reason: LOST, message: 'its PersistentVolume there is gone' };
  return warning === undefined
    ? { ...base, phase: 'Pending' }
    : { ...base, phase: 'Pending', reason: 'ProvisioningFailed', message: warning.slice(0, 1024) };
};

/** Of this cluster's own: the scheduler's choice for the first pod is the choice for the volume. */
const planOwnNode = (
  { warning, ageMs }: PeerVolumeWorld,
  wanted: VolumeItem,
  claim: PersistentVolumeClaim,
): PeerVolumePlan | undefined => {
  if (wanted.node === undefined || (claim.spec.volumeName ?? '') !== '') return undefined;
  const { annotations } = claim.metadata;
  const isForIt = annotations?.[STORAGE_ANNOTATIONS.node] === wanted.node;
  if (isForIt && annotations[SELECTED_NODE] === wanted.node) return undefined;
  // The provisioner takes its annotation away when that node can't have the volume. After a while it is asked again.
  if (isForIt && annotations[SELECTED_NODE] === undefined && ageMs < REFUSED_FOR_MS) {
    const message = (warning ?? `no volume can be made for node ${wanted.node}`).slice(0, 1024);
    return { ...NOTHING, status: { uid: wanted.uid, phase: 'Pending', reason: NODE_REFUSED, message } };
  }
  return { ...NOTHING, deleteClaim: true, status: { uid: wanted.uid, phase: 'Pending' } };
};

/** What to do about one volume of a consumer. */
export const planPeerVolume = (world: PeerVolumeWorld): PeerVolumePlan => {
  const { wanted, claim, twin } = world;
  if (wanted === undefined) {
    if (claim === undefined) return { ...NOTHING, status: 'forget' };
    // Nothing is deleted on silence: only a consumer that told everything means it.
    const mayGo =
      world.isComplete && claim.metadata.deletionTimestamp === undefined && recordOf(claim) === undefined;
    return { ...NOTHING, deleteClaim: mayGo };
  }
  if (claim !== undefined) {
    if (world.isOwn && claim.metadata.deletionTimestamp !== undefined && wanted.node !== undefined)
      return { ...NOTHING, status: { uid: wanted.uid, phase: 'Pending' } };
    if (claim.metadata.deletionTimestamp !== undefined)
      return {
        ...NOTHING,
        status: failed(
          wanted.uid,
          'Terminating',
          'its claim is being deleted there, and what it holds goes with the last pod that uses it: copy it out of that pod',
        ),
      };
    if (wanted.state === 'unknown') return { ...NOTHING, status: statusOf(claim, wanted.uid, world.warning) };
    const other = world.isOwn ? planOwnNode(world, wanted, claim) : undefined;
    if (other !== undefined) return other;
    const desired = annotationsOf(wanted);
    const stale = Object.entries(desired).some(([key, value]) => claim.metadata.annotations?.[key] !== value);
    return {
      ...NOTHING,
      annotate: stale ? desired : undefined,
      status: statusOf(claim, wanted.uid, world.warning),
    };
  }
  if (wanted.state === 'unknown') return { ...NOTHING, status: { uid: wanted.uid, phase: 'Gone' } };
  if (twin === undefined)
    return {
      ...NOTHING,
      status: {
        uid: wanted.uid,
        phase: 'Pending',
        state: wanted.state,
        reason: 'NoTwin',
        message: 'its namespace is not ready there',
      },
    };
  // A moved-away copy that isn't here (any more) is never made anew.
  if (wanted.state === 'retained')
    return { ...NOTHING, status: { uid: wanted.uid, phase: 'Gone', state: wanted.state } };
  if (world.isOwn && wanted.mustExist === true && wanted.state === 'active')
    return {
      ...NOTHING,
      status: failed(
        wanted.uid,
        'ClaimGone',
        `claim ${world.claimName} in namespace ${twin} is gone: pods go on with the volume, but it can't be copied or moved`,
      ),
    };
  if (world.obstacle !== undefined)
    return {
      ...NOTHING,
      status: failed(
        wanted.uid,
        'Conflict',
        `there is another claim ${world.claimName} in namespace ${twin}`,
      ),
    };
  if (wanted.mustExist === true && wanted.state === 'active')
    return {
      ...NOTHING,
      status: failed(
        wanted.uid,
        LOST,
        `claim ${world.claimName} in namespace ${twin} was deleted there, and the volume with it`,
      ),
    };
  if (!world.hasDefaultClass) {
    const advice = 'mark one with storageclass.kubernetes.io/is-default-class=true';
    const message = world.isOwn
      ? `it has no default StorageClass: ${advice}`
      : `the peer has no default StorageClass: its administrator should ${advice}`;
    return { ...NOTHING, status: failed(wanted.uid, 'NoStorageClass', message) };
  }
  return {
    ...NOTHING,
    create: manifest(world, wanted, twin),
    status: { uid: wanted.uid, phase: 'Pending' },
  };
};
