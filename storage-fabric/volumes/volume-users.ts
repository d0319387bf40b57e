import { FINALIZERS, LABELS } from '../../api/labels.ts';
import { controllerOf } from '../../api/owners.ts';
import { HOME_PLACE } from '../../api/places.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { idOfClaim, isOurs, type HomeVolumes } from './home-volumes.ts';

/** Index of pods by the claims that they use. */
export const PODS_BY_CLAIM = 'storage/claim';

/** `namespace/name` of each claim that a pod uses. */
export const claimKeysOf = ({ metadata, spec }: Pod): readonly string[] =>
  (spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) =>
    persistentVolumeClaim === undefined
      ? []
      : [`${metadata.namespace ?? ''}/${persistentVolumeClaim.claimName}`],
  );

/** Home's pods that use a claim, without those that have ended. */
export interface VolumeUsers {
  /** Those that may write to a volume that is at this place. */
  at(claim: PersistentVolumeClaim, location: string): readonly Pod[];
  /** Of those one that nobody would start again, by name. */
  bareAt(claim: PersistentVolumeClaim, location: string): string | undefined;
  /** How many are bound to no node. */
  waiting(claim: PersistentVolumeClaim): number;
  /** IDs of the volumes that a pod uses. */
  volumesOf(pod: Pod): readonly string[];
}

/** Reads them from the cache of pods, to which it adds an index. */
export const openVolumeUsers = (pods: Informer<Pod>, home: HomeVolumes): VolumeUsers => {
  pods.addIndexers({ [PODS_BY_CLAIM]: claimKeysOf });
  /**
   * A pod of a node that is gone counts everywhere: a fenced one outlives its virtual node until no copy can run any more, and
   * a kubelet of home may live on without its Node.
   */
  const isAt = ({ spec: { nodeName = '' } }: Pod, location: string): boolean => {
    const node = nodeName === '' ? undefined : home.nodes.get(undefined, nodeName);
    if (node === undefined) return nodeName !== '';
    return (node.metadata.labels?.[LABELS.virtualNode] === 'true') === (location !== HOME_PLACE);
  };
  /**
   * Of a fenced pod whose virtual node is gone the phase says nothing: the pod garbage collector calls it Failed while its
   * copy may still run over there. It counts until its finalizer is taken away.
   */
  const isOver = ({ metadata, spec: { nodeName = '' }, status }: Pod): boolean =>
    (status?.phase === 'Succeeded' || status?.phase === 'Failed') &&
    !(
      nodeName !== '' &&
      metadata.finalizers?.includes(FINALIZERS.floated) === true &&
      home.nodes.get(undefined, nodeName) === undefined
    );
  const usersOf = ({ metadata }: PersistentVolumeClaim): readonly Pod[] =>
    pods.byIndex(PODS_BY_CLAIM, `${metadata.namespace ?? ''}/${metadata.name}`).filter((pod) => !isOver(pod));
  const at: VolumeUsers['at'] = (claim, location) => usersOf(claim).filter((pod) => isAt(pod, location));
  return {
    at,
    bareAt: (claim, location) =>
      at(claim, location).find((pod) => controllerOf(pod) === undefined)?.metadata.name,
    volumesOf: ({ metadata, spec }) =>
      (spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) => {
        const name = persistentVolumeClaim?.claimName;
        const claim = name === undefined ? undefined : home.claims.get(metadata.namespace, name);
        return claim !== undefined && isOurs(claim) ? [idOfClaim(claim)] : [];
      }),
    waiting: (claim) => usersOf(claim).filter(({ spec: { nodeName = '' } }) => nodeName === '').length,
  };
};
