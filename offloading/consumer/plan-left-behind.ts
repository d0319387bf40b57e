/** Pods that were let go towards a place which their volume left before kube-scheduler had bound them. Pure. */
import { HOME_PLACE } from '../../api/places.ts';
import { STORAGE_ANNOTATIONS, STORAGE_CLASS } from '../../api/storage-names.ts';
import { anewOf } from '../../api/unmade-volume.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import type { ClaimLookup } from './plan-claims.ts';
import { placementRecordOf, shown } from './plan-placement-patch.ts';

/**
 * Why no node will ever take such a pod: its affinity, which nothing takes back, is that of a place where its volume isn't any
 * more. Undefined while one may; also while the volume moves, since nobody knows yet where to.
 */
export const whyLeftBehind = (
  pod: Pod,
  lookup: Pick<ClaimLookup, 'claim' | 'volume'>,
): string | undefined => {
  const record = placementRecordOf(pod);
  if (pod.spec.nodeName || record === undefined || record.candidates.length === 0) return undefined;
  for (const { persistentVolumeClaim } of pod.spec.volumes ?? []) {
    const claim =
      persistentVolumeClaim === undefined ? undefined : lookup.claim(persistentVolumeClaim.claimName);
    if (claim?.spec.storageClassName !== STORAGE_CLASS) continue;
    const { annotations } = lookup.volume(claim.spec.volumeName ?? '')?.metadata ?? {};
    const location = annotations?.[STORAGE_ANNOTATIONS.location];
    if (location === undefined || annotations?.[STORAGE_ANNOTATIONS.move] !== undefined) continue;
    if (anewOf(annotations) !== undefined) continue;
    if (!record.candidates.includes(shown(location)))
      return `the volume of claim ${claim.metadata.name} is ${location === HOME_PLACE ? 'in this cluster' : `at ${location}`}, and it was to go to ${record.candidates.join(', ')}`;
  }
  return undefined;
};
