/**
 * How home's PersistentVolume gets another source when its volume came home or left. A source is immutable, so the object is
 * made anew under the same name, for the same claim. What it says is written down before it goes, and stays written down until
 * its successor stands: at every moment the authority is in one of the two. Pure; one step at a time, each safe to be repeated.
 */
import { HOME_PLACE } from '../../api/places.ts';
import { placeholderName, STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import {
  Authority,
  authorityOf,
  homeVolumeOf,
  isHomeSource,
  isKept,
  isOwnClaim,
  isRealOf,
  placeholderOf,
  recordOf,
  type SwapRecord,
} from './plan-source.ts';

/** Keeps a PersistentVolume while it is bound; ours alone to take away, and only with a record. */
const PV_PROTECTION = 'kubernetes.io/pv-protection';

export interface SwapWorld {
  readonly id: string;
  readonly claim: PersistentVolumeClaim | undefined;
  /** Home's PersistentVolume as the cache has it. */
  readonly volume: PersistentVolume | undefined;
  /** Home's own claim, and what it is bound to. */
  readonly homeClaim: PersistentVolumeClaim | undefined;
  readonly real: PersistentVolume | undefined;
}

export type SwapStep =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly message: string }
  /** The real volume is to outlive its claim. */
  | { readonly do: 'keep'; readonly real: PersistentVolume }
  /** Onto home's own claim, if that is still as it was seen. */
  | { readonly do: 'record'; readonly homeClaim: PersistentVolumeClaim; readonly record: SwapRecord }
  /** If it is still as it was recorded. */
  | { readonly do: 'delete'; readonly uid: string; readonly resourceVersion: string }
  | { readonly do: 'release'; readonly volume: PersistentVolume; readonly finalizers: readonly string[] }
  | { readonly do: 'create'; readonly volume: PersistentVolume }
  /** Makes the controller-manager bind the claim again. */
  | { readonly do: 'touch'; readonly claim: PersistentVolumeClaim; readonly uid: string }
  | { readonly do: 'forget'; readonly homeClaim: PersistentVolumeClaim };

const NOTHING: SwapStep = { do: 'nothing' };
const wait = (message: string): SwapStep => ({ do: 'wait', message });

const locationOf = (annotations: Readonly<Record<string, string>> | undefined): string | undefined =>
  annotations?.[STORAGE_ANNOTATIONS.location];

/** Whether the source fits the place that the annotations name; while it doesn't, nothing else begins. */
export const isSettled = (volume: PersistentVolume): boolean =>
  isHomeSource(volume) === (locationOf(volume.metadata.annotations) === HOME_PLACE);

const recreate = ({ id, homeClaim, real }: SwapWorld, record: SwapRecord): SwapStep => {
  if (locationOf(record.annotations) !== HOME_PLACE)
    return { do: 'create', volume: placeholderOf(id, record) };
  if (homeClaim === undefined || real === undefined || !isRealOf(homeClaim, real))
    return wait(`its claim ${placeholderName(id)} in namespace fluvia-volumes is not bound`);
  return isKept(real) ? { do: 'create', volume: homeVolumeOf(id, record, real) } : { do: 'keep', real };
};

/** Whether nothing would be forgotten by the object's going. */
const isRecorded = (volume: PersistentVolume, record: SwapRecord): boolean => {
  const authority = authorityOf(volume);
  return authority === undefined || JSON.stringify(authority) === JSON.stringify(Authority.parse(record));
};

const takeDown = (volume: PersistentVolume, record: SwapRecord): SwapStep => {
  const { uid = '', resourceVersion = '', deletionTimestamp, finalizers = [] } = volume.metadata;
  if (deletionTimestamp === undefined)
    return { do: 'delete', uid: record.uid, resourceVersion: record.resourceVersion };
  if (finalizers.includes(PV_PROTECTION))
    return { do: 'release', volume, finalizers: finalizers.filter((one) => one !== PV_PROTECTION) };
  return wait(
    `PersistentVolume ${volume.metadata.name} (${uid}, ${resourceVersion}) is held by ${finalizers.join(', ')}`,
  );
};

const finish = (
  { claim }: SwapWorld,
  homeClaim: PersistentVolumeClaim,
  record: SwapRecord,
  volume: PersistentVolume,
): SwapStep => {
  const { uid = '', annotations } = volume.metadata;
  const isSuccessor =
    volume.spec.claimRef?.uid === record.claim.uid &&
    locationOf(annotations) === locationOf(record.annotations);
  // Somebody else's object has the name: the record is the only authority, and stays.
  if (!isSuccessor)
    return wait(`PersistentVolume ${volume.metadata.name} is not the one that was to be made`);
  const isTouched = claim === undefined || claim.metadata.annotations?.[STORAGE_ANNOTATIONS.rebound] === uid;
  return isTouched ? { do: 'forget', homeClaim } : { do: 'touch', claim, uid };
};

const begin = (world: SwapWorld, volume: PersistentVolume): SwapStep => {
  const { id, homeClaim } = world;
  const authority = authorityOf(volume);
  const { uid, resourceVersion } = volume.metadata;
  // A move that is under way decides first; one that ended in vain needs no swap.
  if (isSettled(volume) || volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] !== undefined)
    return NOTHING;
  if (authority === undefined || uid === undefined || resourceVersion === undefined) return NOTHING;
  if (homeClaim === undefined || !isOwnClaim(id, homeClaim))
    return wait(`its claim ${placeholderName(id)} in namespace fluvia-volumes is gone`);
  const record: SwapRecord = { ...authority, uid, resourceVersion };
  const next = recreate(world, record);
  // Nothing is taken down before its successor could be made.
  return next.do === 'create' ? { do: 'record', homeClaim, record } : next;
};

/** The next step towards a PersistentVolume whose source fits its place. */
export const planSwap = (world: SwapWorld): SwapStep => {
  const { id, volume, homeClaim } = world;
  const record = homeClaim !== undefined && isOwnClaim(id, homeClaim) ? recordOf(homeClaim) : undefined;
  if (record === undefined || homeClaim === undefined)
    return volume === undefined ? NOTHING : begin(world, volume);
  if (volume === undefined) return recreate(world, record);
  const { uid = '', resourceVersion = '' } = volume.metadata;
  if (uid !== record.uid) return finish(world, homeClaim, record, volume);
  // What was recorded was overtaken: written down anew, as long as the object stands.
  const isDeleted = volume.metadata.deletionTimestamp !== undefined;
  if (isDeleted ? !isRecorded(volume, record) : resourceVersion !== record.resourceVersion) {
    if (!isDeleted && isSettled(volume)) return { do: 'forget', homeClaim };
    const authority = authorityOf(volume);
    return authority === undefined
      ? wait(`PersistentVolume ${volume.metadata.name} has no claim`)
      : { do: 'record', homeClaim, record: { ...authority, uid, resourceVersion } };
  }
  return takeDown(volume, record);
};
