/** What a claim's condition `fluvia.dev/Volume` says: where the volume is, and what keeps it from being used. */
import { HOME_PLACE } from '../../api/places.ts';
import type { MoveText } from '../../api/volume-places.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { isLostData, LOST, type VolumeStatusItem } from './volume-items.ts';
import type { VolumePlace } from './volume-place.ts';

/** A word about the claim for people; undefined: what was said stays. */
export type VolumeCondition =
  | { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string }
  | undefined;

/** A place in words. */
export const placeText = (place: string): string => (place === HOME_PLACE ? 'this cluster' : `peer ${place}`);
const atPlace = (place: string): string => `${place === HOME_PLACE ? 'in' : 'at'} ${placeText(place)}`;

/** Reason of the condition of a volume that was made and of which its place says nothing. */
const NOT_HEARD = 'NotHeard';
type ClaimCondition = NonNullable<NonNullable<PersistentVolumeClaim['status']>['conditions']>[number];

/** Reason of the condition of a volume that goes from where it was never made to where it will be. */
export const PLACED_ANEW = 'PlacedAnew';
/** What a place's refusal means for pods that wait there. */
const PODS_GO = 'pods that wait for it go elsewhere where they fit, one without an owner once it is deleted';

/** Of a volume that isn't there yet. */
export const newCondition = (location: string, told: VolumeStatusItem | undefined): VolumeCondition => {
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
): VolumeCondition => {
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
const moveText = ({ to, failures, message }: MoveText): string => {
  const trouble =
    Number(failures) > 0 && typeof message === 'string' ? `; it failed and is tried again: ${message}` : '';
  return `${typeof to === 'string' ? ` to ${placeText(to)}` : ''}${trouble}`;
};

/** What home says of a volume besides where it is. */
export interface Told {
  readonly loss: string | undefined;
  readonly move: MoveText | undefined;
  /** The condition as it stands. */
  readonly said: ClaimCondition | undefined;
}

/** Of a volume that has its placeholder. */
export const conditionOf = (
  place: VolumePlace,
  told: VolumeStatusItem | undefined,
  { loss, move, said }: Told,
): VolumeCondition => {
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
