import { HOME_PLACE, placeText } from '../../api/places.ts';
import {
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  STORAGE_LABELS,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
import { anewOf, isMade, liveRefusals, refusalsOf } from '../../api/unmade-volume.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { PodSpec } from '../../runtime/kube/types.ts';

/** What a pod's claims mean for where it may run. */
export interface ClaimsVerdict {
  /** Claims whose volumes can be had at peers. */
  readonly floating: ReadonlySet<string>;
  /** Labels that a node must carry for all volumes to be usable there. */
  readonly nodeSelector: Readonly<Record<string, string>>;
  /** Why it can't run at home; undefined when it can. */
  readonly notHome: string | undefined;
  /** Why it can't leave home; undefined when it can, as far as its claims go. */
  readonly stays: string | undefined;
  /** Why it can run nowhere yet; undefined when nothing is missing. */
  readonly waits: string | undefined;
  /** Places that lately could not make a volume of it that was never made, and why. */
  readonly refused: ReadonlyMap<string, string>;
  /** Claims whose volumes were never made where they were to be: nothing holds them there. */
  readonly unmade: readonly string[];
}

/** How claims and placeholders are looked up. */
export interface ClaimLookup {
  claim(name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  /** Whether home has a class to make volumes with. */
  hasHomeClass(): boolean;
  /** Whether home has the StorageClass. */
  hasClass(name: string): boolean;
  /** Milliseconds since 1970. */
  now(): number;
}

/** `placed`: every volume is where it is to be; `anew`: one that was never made may be made elsewhere. */
export type ClaimsMode = 'placed' | 'anew';

/** Names of the claims that a pod mounts, each once. */
export const claimNames = (spec: PodSpec): readonly string[] => [
  ...new Set(
    (spec.volumes ?? []).flatMap((volume) => {
      const name = volume.persistentVolumeClaim?.claimName;
      return name === undefined ? [] : [name];
    }),
  ),
];

/** Why a claim of another class keeps its pods in this cluster. */
const whyKept = (name: string, storageClass: string | undefined, lookup: ClaimLookup): string => {
  const follows = `class ${STORAGE_CLASS} makes volumes that follow their pods`;
  if (!storageClass) return `claim ${name} has a volume of this cluster only; ${follows}`;
  return lookup.hasClass(storageClass)
    ? `claim ${name} is of class ${storageClass}, whose volumes are in this cluster only; ${follows}`
    : `claim ${name} is of class ${storageClass}, which does not exist; ${follows}`;
};

/** Judges the claims of a pod. */
export const judgeClaims = (
  spec: PodSpec,
  lookup: ClaimLookup,
  mode: ClaimsMode = 'placed',
): ClaimsVerdict => {
  const floating = new Set<string>();
  const nodeSelector: Record<string, string> = {};
  let notHome: string | undefined;
  let stays: string | undefined;
  let waits: string | undefined;
  const refused = new Map<string, string>();
  const unmade: string[] = [];
  const needsHomeClass = (name: string): void => {
    if (!lookup.hasHomeClass())
      notHome ??= `claim ${name}: this cluster has no default StorageClass to make its volume with`;
  };
  for (const name of claimNames(spec)) {
    const claim = lookup.claim(name);
    if (claim === undefined) {
      waits ??= `PersistentVolumeClaim ${name} does not exist: create it, or see what makes it`;
      continue;
    }
    const { storageClassName } = claim.spec;
    if (storageClassName !== STORAGE_CLASS) {
      stays ??= whyKept(name, storageClassName, lookup);
      continue;
    }
    floating.add(name);
    const { volumeName } = claim.spec;
    if (volumeName === undefined || volumeName === '') {
      needsHomeClass(name);
      continue;
    }
    const volume = lookup.volume(volumeName);
    const id = volume?.metadata.labels?.[STORAGE_LABELS.volume];
    if (volume === undefined || id === undefined) {
      waits ??= `the volume of claim ${name} is not there`;
      continue;
    }
    const { annotations } = volume.metadata;
    const location = annotations?.[STORAGE_ANNOTATIONS.location] ?? 'a peer';
    if (annotations?.[STORAGE_ANNOTATIONS.move] !== undefined)
      waits ??= `the volume of claim ${name} is being moved from ${placeText(location)}`;
    const loss = annotations?.[STORAGE_ANNOTATIONS.loss];
    if (loss !== undefined) waits ??= `the volume of claim ${name} can't be had: ${loss}`;
    if (!isMade(annotations)) {
      unmade.push(name);
      const anew = anewOf(annotations);
      if (anew !== undefined)
        waits ??= `the volume of claim ${name}, not made at ${placeText(location)}, is to be made at ${placeText(anew)}`;
      const refusals = liveRefusals(refusalsOf(annotations), lookup.now());
      for (const [place, { message }] of Object.entries(refusals))
        refused.set(place, `it could not make the volume of claim ${name}: ${message}`);
      if (mode === 'anew') {
        needsHomeClass(name);
        continue;
      }
    }
    if (location === HOME_PLACE) stays ??= `the volume of claim ${name} is in this cluster`;
    else notHome ??= `the volume of claim ${name} is at ${location}`;
    nodeSelector[volumeNodeLabel(id)] = 'true';
  }
  notHome ??= refused.get(HOME_PLACE);
  return { floating, nodeSelector, notHome, stays, waits, refused, unmade };
};
