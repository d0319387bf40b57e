import { setCondition } from '../../api/conditions.ts';
import { VolumeReplicaKind, type VolumeReplica } from '../../api/v1alpha1/volume-replica.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { equalJson } from '../../runtime/kube/apply.ts';
import { isNotFound } from '../../runtime/kube/errors.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import { fluviaResource } from '../../runtime/kube/resources.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import { FIELD_MANAGER, idOfClaim, isOurs, type HomeVolumes } from '../volumes/home-volumes.ts';
import { createPlaceNames, type PlaceNames } from './place-names.ts';

const REPLICA = fluviaResource(VolumeReplicaKind.kind, VolumeReplicaKind.plural, true);
const BY_CLAIM = 'storage/claim';

/** VolumeReplicas as the leader reads and writes them: within, this cluster goes by the place that it is, not by its name. */
export interface ReplicaObjects {
  readonly informer: Informer<VolumeReplica>;
  readonly names: PlaceNames;
  /** Those of a claim; the first counts. */
  of(claim: PersistentVolumeClaim): readonly VolumeReplica[];
  /** The volume that one is about: its ID, or none. */
  idsOf(replica: VolumeReplica): readonly string[];
  /** @throws a conflict when it isn't the version that was read. */
  save(replica: VolumeReplica, change: Partial<NonNullable<VolumeReplica['status']>>): Promise<void>;
  /** Takes back all that was said of an earlier volume of the claim's name. @throws as `save` */
  renew(replica: VolumeReplica, id: string): Promise<void>;
  /** Whether the cache doesn't show yet what was written last: nothing must be decided by such a list of points. */
  isBehind(replica: VolumeReplica): boolean;
  /** Says why one copies nothing. */
  refuse(replica: VolumeReplica, reason: string, message: string): Promise<void>;
  /** Those whose claim isn't there, or isn't one of ours, say so. */
  refuseOrphans(): Promise<void>;
}

/** Whether what a VolumeReplica says is of another volume: its claim was deleted, and another made under the name. */
export const isOfAnother = ({ status }: VolumeReplica, id: string): boolean =>
  status?.volume !== undefined && status.volume !== id;

/** Longest that the cache is waited for. */
const BEHIND_MS = 5000;

const claimKey = ({ metadata }: PersistentVolumeClaim): string =>
  `${metadata.namespace ?? ''}/${metadata.name}`;

/** Opens them. */
export const openReplicas = (
  { client, clock, informers, clusterName }: ControllerDeps,
  home: HomeVolumes,
  signal: AbortSignal,
): ReplicaObjects => {
  const informer = informers.for<VolumeReplica>(REPLICA);
  informer.addIndexers({
    [BY_CLAIM]: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.claimName}`],
  });
  const names = createPlaceNames(clusterName, (name) => home.peers.get(undefined, name) !== undefined);

  /** By UID: the version over which was written last, and when. */
  const written = new Map<string, { readonly over: string; readonly at: number }>();

  const write = async (
    replica: VolumeReplica,
    wanted: NonNullable<VolumeReplica['status']>,
  ): Promise<void> => {
    const status = names.inNames(wanted);
    if (equalJson(names.inNames(replica.status ?? {}), status)) return;
    // With the version that was read: a point that was just written must not be lost to an older picture.
    const { name, namespace, uid, resourceVersion } = replica.metadata;
    const manifest = { metadata: { name, namespace, uid, resourceVersion }, status };
    const saved = await client
      .apply<VolumeReplica>(REPLICA, manifest, {
        fieldManager: FIELD_MANAGER,
        subresource: 'status',
        force: true,
        signal,
      })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
        return undefined;
      });
    if (saved === undefined || saved.metadata.resourceVersion === resourceVersion) return;
    written.set(uid ?? '', { over: resourceVersion ?? '', at: clock.monotonicMs() });
  };
  const save: ReplicaObjects['save'] = (replica, change) => write(replica, { ...replica.status, ...change });
  const isBehind: ReplicaObjects['isBehind'] = ({ metadata: { uid = '', resourceVersion } }) => {
    const last = written.get(uid);
    if (last === undefined) return false;
    if (last.over === resourceVersion && clock.monotonicMs() - last.at < BEHIND_MS) return true;
    written.delete(uid);
    return false;
  };
  const refuse: ReplicaObjects['refuse'] = (replica, reason, message) =>
    save(replica, {
      conditions: setCondition(
        replica.status?.conditions ?? [],
        { type: 'Ready', status: 'False', reason, message },
        clock.now().toISOString(),
      ),
    });
  const idsOf: ReplicaObjects['idsOf'] = ({ metadata, spec }) => {
    const claim = home.claims.get(metadata.namespace, spec.claimName);
    return claim !== undefined && isOurs(claim) ? [idOfClaim(claim)] : [];
  };

  return {
    informer,
    names,
    idsOf,
    save,
    renew: (replica, id) => write(replica, { volume: id }),
    isBehind,
    refuse,
    of: (claim) =>
      informer
        .byIndex(BY_CLAIM, claimKey(claim))
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        // The oldest counts: it has the recovery points.
        .toSorted(
          (a, b) =>
            (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
            (a.metadata.name < b.metadata.name ? -1 : 1),
        )
        .map((replica) => names.inPlaces(replica)),
    refuseOrphans: async () => {
      for (const replica of informer.list().filter((one) => idsOf(one).length === 0)) {
        const { namespace = '' } = replica.metadata;
        const { claimName } = replica.spec;
        const claim = home.claims.get(namespace, claimName);
        const message =
          claim === undefined
            ? `there is no PersistentVolumeClaim ${claimName} in namespace ${namespace}: kubectl get pvc`
            : `claim ${claimName} is of class ${claim.spec.storageClassName ?? '(none)'}: only volumes of class fluvia can be copied`;
        await refuse(replica, 'NoVolume', message);
      }
    },
  };
};
