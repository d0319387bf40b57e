/** Pods that were let go towards a place which their volume left before kube-scheduler had bound them, or just then. Pure. */
import { atPlace, placeText } from '../../api/places.ts';
import { STORAGE_ANNOTATIONS, STORAGE_CLASS } from '../../api/storage-names.ts';
import { anewOf, isMade } from '../../api/unmade-volume.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { claimNames, type ClaimLookup } from './plan-claims.ts';
import { placementRecordOf } from './plan-placement-patch.ts';

/** Where the pod was sent: the place it is bound to, or those among which kube-scheduler may still choose. */
const sentTo = (pod: Pod, peer: string | undefined): readonly string[] => {
  if (pod.spec.nodeName) return peer === undefined ? [] : [peer];
  return placementRecordOf(pod)?.candidates ?? [];
};

/**
 * Why such a pod can never run: no node will take it, since its affinity, which nothing takes back, is that of a place where its
 * volume isn't any more; or it was bound to `peer` in the moment in which its volume, never made, went elsewhere. Undefined while it may;
 * also while the volume moves, since nobody knows yet where to.
 */
export const whyLeftBehind = (
  pod: Pod,
  peer: string | undefined,
  lookup: Pick<ClaimLookup, 'claim' | 'volume'>,
): string | undefined => {
  const claims = claimNames(pod.spec);
  const sent = claims.length === 0 ? [] : sentTo(pod, peer);
  if (sent.length === 0) return undefined;
  for (const name of claims) {
    const claim = lookup.claim(name);
    if (claim?.spec.storageClassName !== STORAGE_CLASS) continue;
    const { annotations } = lookup.volume(claim.spec.volumeName ?? '')?.metadata ?? {};
    const location = annotations?.[STORAGE_ANNOTATIONS.location];
    if (location === undefined || annotations?.[STORAGE_ANNOTATIONS.move] !== undefined) continue;
    if (anewOf(annotations) !== undefined) continue;
    // Pods that run where a volume was made are let go by its move.
    if (pod.spec.nodeName && isMade(annotations)) continue;
    if (!sent.includes(location))
      return `the volume of claim ${name} is ${atPlace(location)}, and it was to go to ${sent.map(placeText).join(', ')}`;
  }
  return undefined;
};
