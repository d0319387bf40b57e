/**
 * How a volume that its place can't make is made elsewhere. Storage notes the refusal, placement answers with another node on
 * the claim, and the volume leaves its place only after that place has said that nothing was ever written there: no pod of ours
 * is bound there any more, none can begin (`retained`), and the claim is still unbound *since then*. Pure.
 */
import { HOME_PLACE } from '../../api/places.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import { liveRefusals, type Refusals } from '../../api/unmade-volume.ts';
import { isLostData, NODE_REFUSED, type VolumeStatusItem } from './volume-items.ts';
import type { VolumePlace } from './volume-place.ts';

export interface AnewWorld {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly place: VolumePlace;
  /** Whether a move of it is under way. */
  readonly isMoving: boolean;
  /** What its place says of it. */
  readonly told: VolumeStatusItem | undefined;
  /** What the place says that it is to go to. */
  readonly toldThere: VolumeStatusItem | undefined;
  /** For how long its place has been saying that it can't make it, in milliseconds. */
  readonly failingMs: number | undefined;
  /** Whether its place exists. */
  readonly isPlace: boolean;
  /** Place of the node that was chosen for its first pod; undefined while there is no such node. */
  readonly wanted: string | undefined;
  /** Pods that are bound where it is; also those that are ending. */
  readonly users: number;
  /** Whether kube-scheduler may still send a pod there. */
  readonly isOffered: boolean;
}

export type AnewStep =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly afterMs: number }
  /** Writes annotations onto the placeholder, if it is still as it was seen. */
  | { readonly do: 'annotate'; readonly annotations: Readonly<Record<string, string | null>> };

/** Whoever is setting up a cluster has so long; a provisioner, which tries again by itself and may be slow, has longer. */
const PATIENCE_MS = 10_000;
const PROVISIONER_PATIENCE_MS = 30_000;
const LOOK_AGAIN_MS = 1000;
const NOTHING: AnewStep = { do: 'nothing' };

const PROVISIONING_FAILED = 'ProvisioningFailed';

/** Words of a place that pass without anybody's doing. */
const PASSING = new Set(['Terminating', 'ClaimGone']);

/** Why the place can't make the volume, as it says; undefined while it can, or has said nothing. */
export const whyNotMade = (told: VolumeStatusItem | undefined): string | undefined => {
  if (told === undefined || isLostData(told) || PASSING.has(told.reason ?? '')) return undefined;
  const fails =
    told.phase === 'Failed' ||
    (told.phase === 'Pending' && (told.reason === PROVISIONING_FAILED || told.reason === NODE_REFUSED));
  return fails ? (told.message ?? told.reason ?? 'it could not be made') : undefined;
};

const note = (refusals: Refusals): AnewStep => ({
  do: 'annotate',
  annotations: {
    [STORAGE_ANNOTATIONS.refused]: Object.keys(refusals).length === 0 ? null : JSON.stringify(refusals),
  },
});

const without = (refusals: Refusals, place: string): Refusals =>
  Object.fromEntries(Object.entries(refusals).filter(([name]) => name !== place));

const planLeaving = (world: AnewWorld, to: string): AnewStep => {
  const { told, isPlace } = world;
  // Made after all: what a pod may have written stays where it is.
  if (told?.phase === 'Bound' || isLostData(told))
    return { do: 'annotate', annotations: { [STORAGE_ANNOTATIONS.anew]: null } };
  const wait: AnewStep = { do: 'wait', afterMs: LOOK_AGAIN_MS };
  if (world.users > 0 || world.isOffered) return wait;
  const isNowhere = told?.state === 'retained' && !PASSING.has(told.reason ?? '');
  // Who is no peer any more keeps nothing of ours, and can't be asked.
  if (isPlace && !isNowhere) return wait;
  // It left there before: that word must not be taken for one of the next time.
  if (world.toldThere?.state === 'retained') return wait;
  return {
    do: 'annotate',
    annotations: {
      [STORAGE_ANNOTATIONS.location]: to,
      [STORAGE_ANNOTATIONS.anew]: null,
      [STORAGE_ANNOTATIONS.loss]: null,
    },
  };
};

const planRefusal = (world: AnewWorld, why: string): AnewStep => {
  const { place, failingMs = 0, now, users } = world;
  const live = liveRefusals(place.refused, now);
  if (live[place.location] !== undefined) return NOTHING;
  // Without a pod nothing is tried at a peer, and what it says is of an earlier one.
  if (users === 0 && place.location !== HOME_PLACE) return NOTHING;
  const patience = world.told?.reason === PROVISIONING_FAILED ? PROVISIONER_PATIENCE_MS : PATIENCE_MS;
  if (failingMs < patience) return { do: 'wait', afterMs: patience - failingMs };
  return note({
    ...live,
    [place.location]: { at: new Date(now).toISOString(), message: why.slice(0, 1024) },
  });
};

/** The next step of a volume that isn't made; one at a time, each safe to be repeated. */
export const planAnew = (world: AnewWorld): AnewStep => {
  const { place, told, wanted } = world;
  if (place.anew !== undefined && !place.isMade) return planLeaving(world, place.anew);
  if (place.isMade) {
    const left = { [STORAGE_ANNOTATIONS.anew]: null, [STORAGE_ANNOTATIONS.refused]: null };
    const isClean = place.anew === undefined && Object.keys(place.refused).length === 0;
    return isClean ? NOTHING : { do: 'annotate', annotations: left };
  }
  if (world.isMoving || told?.phase === 'Bound' || isLostData(told)) return NOTHING;
  // Pods that are bound where it is to be wait for it there; placement lets them go, if they fit elsewhere.
  if (wanted !== undefined && wanted !== place.location && world.users === 0)
    return { do: 'annotate', annotations: { [STORAGE_ANNOTATIONS.anew]: wanted } };
  const why = whyNotMade(told);
  if (why !== undefined) return planRefusal(world, why);
  // A claim of it stands there, and nothing is wrong with it.
  const isMended =
    told?.phase === 'Pending' &&
    told.reason === undefined &&
    told.state === 'active' &&
    place.refused[place.location] !== undefined;
  return isMended ? note(without(place.refused, place.location)) : NOTHING;
};
