import { ANNOTATIONS, LABELS, MANAGED_BY } from '../../api/labels.ts';
import { STORAGE_ANNOTATIONS, STORAGE_LABELS } from '../../api/storage-names.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { VolumeItem, VolumeStatusItem } from './plan-volume.ts';

/** What the provider knows of one volume of a consumer. */
export interface PeerVolumeWorld {
  readonly id: string;
  readonly clusterID: string;
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

const annotationsOf = (wanted: VolumeItem): Record<string, string> => ({
  [ANNOTATIONS.originUID]: wanted.uid,
  [STORAGE_ANNOTATIONS.epoch]: String(wanted.epoch),
  [STORAGE_ANNOTATIONS.state]: wanted.state,
});

const manifest = (
  { id, clusterID }: PeerVolumeWorld,
  wanted: VolumeItem,
  twin: string,
): PersistentVolumeClaim => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: {
    name: wanted.claimName,
    namespace: twin,
    labels: {
      [LABELS.origin]: clusterID,
      [LABELS.managedBy]: MANAGED_BY,
      [STORAGE_LABELS.volume]: id,
    },
    annotations: annotationsOf(wanted),
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

const statusOf = (
  claim: PersistentVolumeClaim,
  uid: string,
  warning: string | undefined,
): VolumeStatusItem => {
  const storageClass = claim.spec.storageClassName;
  const base = { uid, ...(storageClass === undefined ? {} : { storageClass }) };
  const phase = claim.status?.phase;
  const capacity = claim.status?.capacity?.['storage'];
  if (phase === 'Bound') return { ...base, phase: 'Bound', ...(capacity === undefined ? {} : { capacity }) };
  if (phase === 'Lost')
    return { ...base, phase: 'Failed', reason: 'Lost', message: 'its PersistentVolume at the peer is gone' };
  return warning === undefined
    ? { ...base, phase: 'Pending' }
    : { ...base, phase: 'Pending', reason: 'ProvisioningFailed', message: warning.slice(0, 1024) };
};

/** What to do about one volume of a consumer. */
export const planPeerVolume = (world: PeerVolumeWorld): PeerVolumePlan => {
  const { wanted, claim, twin } = world;
  if (wanted === undefined) {
    if (claim === undefined) return { ...NOTHING, status: 'forget' };
    // Nothing is deleted on silence: only a consumer that told everything means it.
    const mayGo = world.isComplete && claim.metadata.deletionTimestamp === undefined;
    return { ...NOTHING, deleteClaim: mayGo };
  }
  if (claim !== undefined) {
    if (claim.metadata.deletionTimestamp !== undefined)
      return { ...NOTHING, status: failed(wanted.uid, 'Terminating', 'it is being deleted at the peer') };
    const desired = annotationsOf(wanted);
    const stale = Object.entries(desired).some(([key, value]) => claim.metadata.annotations?.[key] !== value);
    return {
      ...NOTHING,
      annotate: stale ? desired : undefined,
      status: statusOf(claim, wanted.uid, world.warning),
    };
  }
  if (twin === undefined)
    return {
      ...NOTHING,
      status: {
        uid: wanted.uid,
        phase: 'Pending',
        reason: 'NoTwin',
        message: 'its namespace is not ready there',
      },
    };
  // A moved-away copy that isn't here (any more) is never made anew.
  if (wanted.state === 'retained') return { ...NOTHING, status: { uid: wanted.uid, phase: 'Gone' } };
  if (world.obstacle !== undefined)
    return {
      ...NOTHING,
      status: failed(wanted.uid, 'Conflict', `there is another claim ${wanted.claimName} in the twin`),
    };
  if (!world.hasDefaultClass)
    return {
      ...NOTHING,
      status: failed(
        wanted.uid,
        'NoStorageClass',
        'the peer has no default StorageClass: its administrator marks one with storageclass.kubernetes.io/is-default-class=true',
      ),
    };
  return {
    ...NOTHING,
    create: manifest(world, wanted, twin),
    status: { uid: wanted.uid, phase: 'Pending' },
  };
};
