/** What the provider's half of the storage fabric shares: twins of a consumer's namespaces, and a client that is the peering. */
import { LABELS, MANAGED_BY, PEERS_NAMESPACE } from '../api/labels.ts';
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
  /** Acts as the peering's ServiceAccount, so that RBAC, quota and admission of this cluster see the peer. */
  asPeering(clusterID: string): KubeClient;
}

const BY_HOME = 'storage/home';

/** Opens the caches; they fill in the background. */
export const openProviderSide = ({ informers, client }: ControllerDeps): ProviderSide => {
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
    twinOf: (clusterID, homeNamespace) =>
      namespaces
        .byIndex(BY_HOME, `${clusterID}/${homeNamespace}`)
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .map(({ metadata }) => metadata.name)
        .toSorted()[0],
    consumerOf: (name) => {
      const namespace = namespaces.get(undefined, name);
      return namespace !== undefined && isTwin(namespace)
        ? namespace.metadata.labels?.[LABELS.origin]
        : undefined;
    },
    asPeering: (clusterID) => {
      const known = clients.get(clusterID);
      if (known !== undefined) return known;
      const made = client.asUser({ user: `system:serviceaccount:${PEERS_NAMESPACE}:${clusterID}` });
      clients.set(clusterID, made);
      return made;
    },
  };
};
