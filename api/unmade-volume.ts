/**
 * What storage and offloading say to each other of a volume that was never made: storage notes on the placeholder which places
 * could not make it, placement answers on the claim with the node where it is wanted, as kube-scheduler does for a first pod.
 */
import { z } from 'zod';
import { STORAGE_ANNOTATIONS } from './storage-names.ts';

/** On a claim: the node chosen for its first pod. Written by kube-scheduler, and by placement while the volume isn't made. */
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';

/** By place: when it was found that the volume can't be made there (RFC 3339), and why. */
export const Refusals = z.record(
  z.string().max(63),
  z.object({ at: z.string(), message: z.string().max(1024) }),
);
export type Refusals = z.infer<typeof Refusals>;

/** After so long a place may be tried again. */
export const REFUSED_FOR_MS = 600_000;

type Annotations = Readonly<Record<string, string>> | undefined;

/** Whether the volume of a placeholder was ever there, so that it may hold something. One that was moved was filled. */
export const isMade = (annotations: Annotations): boolean =>
  annotations?.[STORAGE_ANNOTATIONS.made] !== undefined ||
  !(Number(annotations?.[STORAGE_ANNOTATIONS.epoch] ?? '1') <= 1);

/** Where a volume that was never made is to be made instead; undefined while it isn't on its way. */
export const anewOf = (annotations: Annotations): string | undefined =>
  annotations?.[STORAGE_ANNOTATIONS.anew];

/** All that was noted; nothing where the note isn't readable. */
export const refusalsOf = (annotations: Annotations): Refusals => {
  const text = annotations?.[STORAGE_ANNOTATIONS.refused];
  if (text === undefined) return {};
  try {
    const parsed = Refusals.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : {};
  } catch {
    return {};
  }
};

/** Those that still bar their place. `now` in milliseconds since 1970. */
export const liveRefusals = (refusals: Refusals, now: number): Refusals =>
  Object.fromEntries(
    // A clock that was set back must not bar a place for longer.
    Object.entries(refusals).filter(([, { at }]) => Math.abs(now - Date.parse(at)) < REFUSED_FOR_MS),
  );
