/** Pods whose volume was never made where it was to be: they, and with them the volume, are placed anew. */
import { controllerOf } from '../../api/owners.ts';
import { STORAGE_ANNOTATIONS } from '../../api/storage-names.ts';
import { anewOf, isMade, liveRefusals, refusalsOf, SELECTED_NODE } from '../../api/unmade-volume.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { isConflict, isNotFound } from '../../runtime/kube/errors.ts';
import { PERSISTENT_VOLUME_CLAIM } from '../../runtime/kube/resources.ts';
import type { PersistentVolume } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { FIELD_MANAGER, type Home } from './home.ts';
import type { UnmadeClaim } from './plan-claims.ts';
import type { StrandedPod } from './stranded-pods.ts';

/** Reason of the event of a pod that is made again for it. */
export const NOT_MADE = 'VolumeNotMade';

/** What the place of a volume said when it could not make it; undefined while it may, or on the way elsewhere. */
const refusalOf = ({ metadata }: PersistentVolume, now: number): string | undefined => {
  const { annotations } = metadata;
  if (isMade(annotations) || anewOf(annotations) !== undefined) return undefined;
  const location = annotations?.[STORAGE_ANNOTATIONS.location] ?? '';
  return liveRefusals(refusalsOf(annotations), now)[location]?.message;
};

/** Pods that are bound at a peer which can't make their volume, and whose owner makes them again. */
export const podsWithoutVolume = (home: Home, now: number): readonly StrandedPod[] => {
  const refused = home.volumes.list().flatMap((volume) => {
    const message = refusalOf(volume, now);
    const { namespace, name } = volume.spec.claimRef ?? {};
    return message === undefined || namespace === undefined || name === undefined
      ? []
      : [{ namespace, name, message }];
  });
  return refused.flatMap(({ namespace, name, message }) =>
    home.podsIn(namespace).flatMap((pod): StrandedPod[] => {
      const peer = home.virtualNodeOf(pod)?.spec.peer;
      const uses = (pod.spec.volumes ?? []).some(
        ({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === name,
      );
      if (peer === undefined || !uses || controllerOf(pod) === undefined) return [];
      return pod.metadata.deletionTimestamp === undefined
        ? [{ pod, peer, reason: NOT_MADE, message: `the volume of claim ${name}: ${message}` }]
        : [];
    }),
  );
};

/** Says on the claims where their volumes are wanted. Returns whether any of them didn't say so yet. */
export const wantVolumesAt = async (
  { client }: ControllerDeps,
  home: Home,
  pod: Pod,
  claims: readonly UnmadeClaim[],
  node: string,
  signal: AbortSignal,
): Promise<boolean> => {
  const { namespace = '' } = pod.metadata;
  let isNews = false;
  for (const { name } of claims) {
    const claim = home.volumeClaims.get(namespace, name);
    if (claim === undefined || claim.metadata.annotations?.[SELECTED_NODE] === node) continue;
    isNews = true;
    const body = { metadata: { uid: claim.metadata.uid, annotations: { [SELECTED_NODE]: node } } };
    await client
      .patch(PERSISTENT_VOLUME_CLAIM, name, namespace, body, {
        type: 'merge',
        fieldManager: FIELD_MANAGER,
        signal,
      })
      .catch((error: unknown) => {
        if (!isConflict(error) && !isNotFound(error)) throw error;
      });
  }
  return isNews;
};
