/** Where a volume is and would lose something, as its placeholder says: for those that close or give up a place. */
import { STORAGE_ANNOTATIONS } from './storage-names.ts';

export interface VolumePlaces {
  /** Where it is, or is to be; undefined when nothing says so. */
  readonly location: string | undefined;
  /** Where a move under way brings it. */
  readonly target: string | undefined;
  /** Places that were lost while it was there: what was written there last is nowhere else. */
  readonly tails: readonly string[];
}

const targetOf = (note: string | undefined): string | undefined => {
  if (note === undefined) return undefined;
  try {
    const move: unknown = JSON.parse(note);
    if (typeof move !== 'object' || move === null || !('to' in move)) return undefined;
    return typeof move.to === 'string' ? move.to : undefined;
  } catch {
    return undefined;
  }
};

/** Reads the annotations of a placeholder. */
export const volumePlacesOf = (annotations: Readonly<Record<string, string>> | undefined): VolumePlaces => ({
  location: annotations?.[STORAGE_ANNOTATIONS.location],
  target: targetOf(annotations?.[STORAGE_ANNOTATIONS.move]),
  tails: (annotations?.[STORAGE_ANNOTATIONS.diverged] ?? '').split(',').filter((place) => place !== ''),
});

/** Whether the volume is at a place, or on its way there. */
export const isHeldAt = ({ location, target }: VolumePlaces, place: string): boolean =>
  location === place || target === place;
