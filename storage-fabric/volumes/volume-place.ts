/** Where a volume is, read from its placeholder. */
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import { anewOf, isMade, refusalsOf, type Refusals } from '../../api/unmade-volume.ts';
import { moveOf, placesIn } from '../../api/volume-places.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';

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
    retained: placesIn(annotations[STORAGE_ANNOTATIONS.retained]).filter((peer) => peer !== location),
    diverged: placesIn(annotations[STORAGE_ANNOTATIONS.diverged]),
    restoring: restores,
    anew,
    isMade: isMade(annotations),
    refused: refusalsOf(annotations),
    isUsable: move === undefined && anew === undefined,
  };
};
