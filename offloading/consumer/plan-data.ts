/** What it would take to have a pod's volumes elsewhere: bytes, by what is known of their copies. Pure. */
import { parseQuantity } from '../../api/quantity.ts';
import { completePoints, newestFirst } from '../../api/recovery-points.ts';
import { STORAGE_ANNOTATIONS, STORAGE_CLASS } from '../../api/storage-names.ts';
import { isMade } from '../../api/unmade-volume.ts';
import type { RecoveryPoint, VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { PodSpec } from '../../runtime/kube/types.ts';
import { claimNames } from './plan-claims.ts';
import type { PlaceName } from './plan-placement.ts';

/** A volume of class fluvia that a pod mounts. */
export interface PlacedVolume {
  readonly claim: string;
  readonly location: PlaceName;
  /** Whether it was ever there. */
  readonly isMade: boolean;
  /** As it was last copied; what was asked for where it never was. */
  readonly sizeBytes: number;
  /** Complete copies of it. */
  readonly points: readonly RecoveryPoint[];
}

/** How the volumes of a pod are looked up. */
export interface DataLookup {
  claim(name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  replicas(claim: string): readonly VolumeReplica[];
}

const sizeOf = (volume: PersistentVolume, points: readonly RecoveryPoint[]): number => {
  const [newest] = points;
  if (newest !== undefined) return newest.bytesScanned;
  try {
    return parseQuantity(volume.spec.capacity?.['storage'] ?? '0');
  } catch {
    return 0;
  }
};

/** The volumes that a pod mounts and that are somewhere, or are to be. */
export const placedVolumes = (spec: PodSpec, lookup: DataLookup): readonly PlacedVolume[] =>
  claimNames(spec).flatMap((name): PlacedVolume[] => {
    const claim = lookup.claim(name);
    const { storageClassName, volumeName = '' } = claim?.spec ?? {};
    const volume =
      storageClassName === STORAGE_CLASS && volumeName !== '' ? lookup.volume(volumeName) : undefined;
    const location = volume?.metadata.annotations?.[STORAGE_ANNOTATIONS.location];
    if (volume === undefined || location === undefined) return [];
    const points = completePoints(lookup.replicas(name).flatMap(({ status }) => status?.points ?? []));
    const made = isMade(volume.metadata.annotations);
    return [{ claim: name, location, isMade: made, sizeBytes: made ? sizeOf(volume, points) : 0, points }];
  });

/**
 * Bytes that would have to move for the volume to be at `place`: none where it is, the delta where a copy is, else all of
 * it. The delta isn't known before it is copied: as much as the last one there, and all that newer copies elsewhere sent.
 */
export const bytesToMove = ({ location, sizeBytes, points }: PlacedVolume, place: PlaceName): number => {
  if (place === location) return 0;
  const sorted = points.toSorted(newestFirst);
  const [newest, ...older] = sorted.filter(({ peer }) => peer === place);
  if (newest === undefined) return sizeBytes;
  // A first copy is all of the volume, and so says nothing of the next one.
  const usual = older.length === 0 ? 0 : newest.bytesSent;
  const since = sorted
    .filter((point) => newestFirst(point, newest) < 0)
    .reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  return Math.min(sizeBytes, usual + since);
};

/** Bytes to move for all of the volumes, by place. */
export const dataBytes = (
  volumes: readonly PlacedVolume[],
  places: readonly PlaceName[],
): ReadonlyMap<PlaceName, number> =>
  new Map(
    volumes.length === 0
      ? []
      : places.map((place) => [place, volumes.reduce((sum, volume) => sum + bytesToMove(volume, place), 0)]),
  );

/** An amount in words. */
export const bytesText = (amount: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = amount;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(1))} ${units[unit] ?? ''}`;
};

/** Why the pod can't go to `place` as its volumes are, with what a move would take; undefined when they are all there. */
export const whyDataElsewhere = (
  volumes: readonly PlacedVolume[],
  place: PlaceName,
  namespace: string,
): string | undefined => {
  const away = volumes.find(({ location }) => location !== place);
  if (away === undefined) return undefined;
  const { claim, location } = away;
  if (!away.isMade) return `the volume of claim ${claim} is to be made at ${location}`;
  const amount = volumes.reduce((sum, volume) => sum + bytesToMove(volume, place), 0);
  return `the volume of claim ${claim} is at ${location}, ${bytesText(amount)} to move: fluviactl move volume ${claim} -n ${namespace} --to ${place}`;
};
