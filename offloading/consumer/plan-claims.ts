import { HOME_PLACE } from '../../api/places.ts';
import {
  STORAGE_ANNOTATIONS,
  STORAGE_CLASS,
  STORAGE_LABELS,
  volumeNodeLabel,
} from '../../api/storage-names.ts';
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
}

/** How claims and placeholders are looked up. */
export interface ClaimLookup {
  claim(name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  /** Whether home has a class to make volumes with. */
  hasHomeClass(): boolean;
}

const claimNames = (spec: PodSpec): readonly string[] => [
  ...new Set(
    (spec.volumes ?? []).flatMap((volume) => {
      const name = volume.persistentVolumeClaim?.claimName;
      return name === undefined ? [] : [name];
    }),
  ),
];

/** Judges the claims of a pod. */
export const judgeClaims = (spec: PodSpec, lookup: ClaimLookup): ClaimsVerdict => {
  const floating = new Set<string>();
  const nodeSelector: Record<string, string> = {};
  let notHome: string | undefined;
  let stays: string | undefined;
  let waits: string | undefined;
  for (const name of claimNames(spec)) {
    const claim = lookup.claim(name);
    if (claim === undefined) {
      waits ??= `PersistentVolumeClaim ${name} does not exist`;
      continue;
    }
    if (claim.spec.storageClassName !== STORAGE_CLASS) continue;
    floating.add(name);
    const { volumeName } = claim.spec;
    if (volumeName === undefined || volumeName === '') {
      if (!lookup.hasHomeClass())
        notHome ??= `claim ${name}: this cluster has no default StorageClass to make its volume with`;
      continue;
    }
    const volume = lookup.volume(volumeName);
    const id = volume?.metadata.labels?.[STORAGE_LABELS.volume];
    if (volume === undefined || id === undefined) {
      waits ??= `the volume of claim ${name} is not there`;
      continue;
    }
    const location = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.location] ?? 'a peer';
    const isHome = location === HOME_PLACE;
    if (volume.metadata.annotations?.[STORAGE_ANNOTATIONS.move] !== undefined)
      waits ??= `the volume of claim ${name} is being moved from ${isHome ? 'this cluster' : location}`;
    const loss = volume.metadata.annotations?.[STORAGE_ANNOTATIONS.loss];
    if (loss !== undefined) waits ??= `the volume of claim ${name} can't be had: ${loss}`;
    if (isHome) stays ??= `the volume of claim ${name} is in this cluster`;
    else notHome ??= `the volume of claim ${name} is at ${location}`;
    nodeSelector[volumeNodeLabel(id)] = 'true';
  }
  return { floating, nodeSelector, notHome, stays, waits };
};
