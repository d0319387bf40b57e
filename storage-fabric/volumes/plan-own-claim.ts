/** When home's own claim for a volume, and with it the real volume, may go. Pure; asked with what the API server says now. */
import { HOME_PLACE } from '../../api/places.ts';
import { ANNOTATIONS } from '../../api/labels.ts';
import { placeholderName } from '../../api/storage-names.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { isHomeSource, recordOf } from './plan-source.ts';
import { placeOf } from './volume-place.ts';

export interface OwnClaimWorld {
  readonly id: string;
  readonly homeClaim: PersistentVolumeClaim;
  /** The PersistentVolume `fluvia-<volume>`. */
  readonly volume: PersistentVolume | undefined;
  /** The claim for which the volume is, under its name; it may be another of the same name. */
  readonly claim: PersistentVolumeClaim | undefined;
}

/** Why it must stay; undefined when nothing is lost by its going. */
export const whyKept = ({ id, homeClaim, volume, claim }: OwnClaimWorld): string | undefined => {
  if (recordOf(homeClaim) !== undefined) return 'a PersistentVolume is being made anew';
  // Nothing was made for it yet.
  if ((homeClaim.spec.volumeName ?? '') === '') return undefined;
  const name = placeholderName(id);
  if (volume === undefined) {
    const isOrigin = claim?.metadata.uid === homeClaim.metadata.annotations?.[ANNOTATIONS.originUID];
    return isOrigin && claim?.spec.volumeName === name
      ? `claim ${claim.metadata.name} is bound to it`
      : undefined;
  }
  const place = placeOf(volume);
  if (place === undefined) return `PersistentVolume ${name} says nothing of its place`;
  const holders = [place.location, ...place.retained, place.restoring];
  if (!holders.includes(HOME_PLACE) && !isHomeSource(volume)) return undefined;
  if (volume.spec.persistentVolumeReclaimPolicy === 'Retain')
    return `PersistentVolume ${name} is to be retained`;
  return claim !== undefined && claim.metadata.uid === volume.spec.claimRef?.uid
    ? `the volume of claim ${claim.metadata.name} is here`
    : undefined;
};
