/**
 * What the provider's half of the storage fabric shares: twins of a consumer's namespaces, and a client that is the peering.
 * This cluster is a consumer of itself: the twin of all of its namespaces is `fluvia-volumes`.
 */
import { LABELS, MANAGED_BY, PEERS_NAMESPACE, VOLUMES_NAMESPACE } from '../api/labels.ts';
import { placeholderName } from '../api/storage-names.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import type { KubeClient } from '../runtime/kube/client.ts';
import type { Informer } from '../runtime/kube/informer.ts';
import { NAMESPACE } from '../runtime/kube/resources.ts';
import type { Namespace } from '../runtime/kube/types.ts';

export interface ProviderSide {
  readonly namespaces: Informer<Namespace>;
  /** Name of the twin of a consumer's namespace; undefined when there is none, or it is going. */
  twinOf(clusterID: string, homeNamespace: string): string | undefined;
  /** The consumer whose twin a namespace is. */
  consumerOf(namespace: string): string | undefined;
  /** Whether this is the cluster itself, and not a peer. */
  isOwn(clusterID: string): boolean;
  /** Name of the claim for a consumer's volume; in `fluvia-volumes` claims of many namespaces meet. */
  claimName(clusterID: string, volume: string, homeName: string): string;
  /** Acts as the peering's ServiceAccount, so that RBAC, quota and admission of this cluster see the peer; for itself as itself. */
  asPeering(clusterID: string): KubeClient;
}

const BY_HOME = 'storage/home';

/** Opens the caches; they fill in the background. */
export const openProviderSide = (
  { informers, client }: ControllerDeps,
  ownClusterID: string,
): ProviderSide => {
  const isOwn = (clusterID: string): boolean => clusterID === ownClusterID;
  const namespaces = informers.for<Namespace>(NAMESPACE);
  const isTwin = ({ metadata }: Namespace): boolean =>
    metadata.labels?.[LABELS.managedBy] === MANAGED_BY && metadata.labels[LABELS.origin] !== undefined;
  namespaces.addIndexers({
    [BY_HOME]: (namespace) => {
      const labels = namespace.metadata.labels ?? {};
      return isTwin(namespace)
        ? [`${labels[LABELS.origin] ?? ''}/${labels[LABELS.originNamespace] ?? ''}`]
        : [];
    },
  });
  const clients = new Map<string, KubeClient>();
  return {
    namespaces,
    isOwn,
    claimName: (clusterID, volume, homeName) => (isOwn(clusterID) ? placeholderName(volume) : homeName),
    twinOf: (clusterID, homeNamespace) =>
      isOwn(clusterID)
        ? VOLUMES_NAMESPACE
        : namespaces
            .byIndex(BY_HOME, `${clusterID}/${homeNamespace}`)
            .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
            .map(({ metadata }) => metadata.name)
            .toSorted()[0],
    consumerOf: (name) => {
      if (name === VOLUMES_NAMESPACE) return ownClusterID;
      const namespace = namespaces.get(undefined, name);
      return namespace !== undefined && isTwin(namespace)
        ? namespace.metadata.labels?.[LABELS.origin]
        : undefined;
    },
    asPeering: (clusterID) => {
      if (isOwn(clusterID)) return client;
      const known = clients.get(clusterID);
      if (known !== undefined) return known;
      const made = client.asUser({ user: `system:serviceaccount:${PEERS_NAMESPACE}:${clusterID}` });
      clients.set(clusterID, made);
      return made;
    },
  };
};
