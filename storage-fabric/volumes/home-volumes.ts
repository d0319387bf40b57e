/** Home's volumes as the storage fabric's controllers read them: shared caches and the few questions all of them ask. */
import { NAMES, VOLUMES_NAMESPACE } from '../../api/labels.ts';
import { STORAGE_CLASS, STORAGE_LABELS, placeholderName } from '../../api/storage-names.ts';
import {
  NamespaceOffloadingKind,
  type NamespaceOffloading,
} from '../../api/v1alpha1/namespace-offloading.ts';
import { PeerKind, type Peer } from '../../api/v1alpha1/peer.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import {
  fluviaResource,
  NODE,
  PERSISTENT_VOLUME,
  PERSISTENT_VOLUME_CLAIM,
  STORAGE_CLASS as STORAGE_CLASS_RESOURCE,
} from '../../runtime/kube/resources.ts';
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../runtime/kube/storage-types.ts';
import type { Node } from '../../runtime/kube/types.ts';
import { volumeIdOf } from './volume-id.ts';

export const PEER = fluviaResource(PeerKind.kind, PeerKind.plural, false);
const NAMESPACE_OFFLOADING = fluviaResource(
  NamespaceOffloadingKind.kind,
  NamespaceOffloadingKind.plural,
  true,
);

/** Field manager of everything that this capability writes. */
export const FIELD_MANAGER = 'fluvia-storage';

export interface HomeVolumes {
  readonly claims: Informer<PersistentVolumeClaim>;
  /** Placeholders only. */
  readonly volumes: Informer<PersistentVolume>;
  readonly nodes: Informer<Node>;
  readonly peers: Informer<Peer>;
  readonly offloadings: Informer<NamespaceOffloading>;
  readonly classes: Informer<StorageClass>;
  offloadingOf(namespace: string): NamespaceOffloading | undefined;
  claimOf(id: string): PersistentVolumeClaim | undefined;
  volumeOf(id: string): PersistentVolume | undefined;
  /** Home's own claim for a volume that is or was in this cluster, in `fluvia-volumes`. */
  homeClaimOf(id: string): PersistentVolumeClaim | undefined;
  /** The volume of a claim in `fluvia-volumes`. */
  idOfHomeClaim(claim: PersistentVolumeClaim): string | undefined;
  /** IDs of every volume that there is or is to be. */
  ids(): readonly string[];
  whenSynced(signal?: AbortSignal): Promise<void>;
}

const BY_ID = 'storage/volume-id';

/** Whether a claim is for a volume of ours. */
export const isOurs = (claim: PersistentVolumeClaim): boolean =>
  claim.spec.storageClassName === STORAGE_CLASS;

/** The volume ID of a claim of our class. */
export const idOfClaim = (claim: PersistentVolumeClaim): string => volumeIdOf(claim.metadata.uid ?? '');

/** The volume ID of a placeholder. */
export const idOfVolume = (volume: PersistentVolume): string =>
  volume.metadata.labels?.[STORAGE_LABELS.volume] ?? '';

/** Opens the caches; they fill in the background. */
export const openHomeVolumes = ({ informers }: ControllerDeps): HomeVolumes => {
  const claims = informers.for<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM);
  const volumes = informers.for<PersistentVolume>(PERSISTENT_VOLUME, {
    labelSelector: STORAGE_LABELS.volume,
  });
  const nodes = informers.for<Node>(NODE);
  const peers = informers.for<Peer>(PEER);
  const offloadings = informers.for<NamespaceOffloading>(NAMESPACE_OFFLOADING);
  const classes = informers.for<StorageClass>(STORAGE_CLASS_RESOURCE);
  claims.addIndexers({ [BY_ID]: (claim) => (isOurs(claim) ? [idOfClaim(claim)] : []) });
  const all = [claims, volumes, nodes, peers, offloadings, classes];
  const idOfHomeClaim = ({ metadata }: PersistentVolumeClaim): string | undefined =>
    metadata.namespace === VOLUMES_NAMESPACE ? metadata.labels?.[STORAGE_LABELS.volume] : undefined;
  return {
    claims,
    volumes,
    nodes,
    peers,
    offloadings,
    classes,
    offloadingOf: (namespace) => offloadings.get(namespace, NAMES.namespaceOffloading),
    claimOf: (id) => claims.byIndex(BY_ID, id)[0],
    volumeOf: (id) => volumes.get(undefined, placeholderName(id)),
    homeClaimOf: (id) => claims.get(VOLUMES_NAMESPACE, placeholderName(id)),
    idOfHomeClaim,
    ids: () => [
      ...new Set([
        ...claims.list().filter(isOurs).map(idOfClaim),
        ...claims
          .list()
          .map(idOfHomeClaim)
          .filter((id) => id !== undefined),
        ...volumes.list().map(idOfVolume),
      ]),
    ],
    whenSynced: async (signal) => {
      await Promise.all(all.map((informer) => informer.whenSynced(signal)));
    },
  };
};
