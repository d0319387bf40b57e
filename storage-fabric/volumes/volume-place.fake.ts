import type { VolumePlace } from './volume-place.ts';

/** A volume of epoch 1 that was made at `east` and moves nowhere, for tests. */
export const volumePlace = (more: Partial<VolumePlace> = {}): VolumePlace => ({
  epoch: 1,
  location: 'east',
  retained: [],
  diverged: [],
  restoring: undefined,
  anew: undefined,
  isMade: true,
  refused: {},
  isUsable: true,
  ...more,
});
