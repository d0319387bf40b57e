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

/** Of a move under way, as far as it can be read: what bars pods must not depend on who wrote the note. */
export interface MoveText {
  readonly to?: unknown;
  readonly stage?: unknown;
  readonly failures?: unknown;
  readonly message?: unknown;
}

/** Reads the note of a move; undefined without one. */
export const moveOf = (text: string | undefined): MoveText | undefined => {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
};

/** Reads a list of places as it stands in an annotation. */
export const placesIn = (text: string | undefined): readonly string[] =>
  (text ?? '').split(',').filter((place) => place !== '');

/** Reads the annotations of a placeholder. */
export const volumePlacesOf = (annotations: Readonly<Record<string, string>> | undefined): VolumePlaces => {
  const to = moveOf(annotations?.[STORAGE_ANNOTATIONS.move])?.to;
  return {
    location: annotations?.[STORAGE_ANNOTATIONS.location],
    target: typeof to === 'string' ? to : undefined,
    tails: placesIn(annotations?.[STORAGE_ANNOTATIONS.diverged]),
  };
};

/** Whether the volume is at a place, or on its way there. */
export const isHeldAt = ({ location, target }: VolumePlaces, place: string): boolean =>
  location === place || target === place;
