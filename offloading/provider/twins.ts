/** The twin namespaces of this cluster; their labels are the record of what stands for what. */
import { LABELS, MANAGED_BY } from '../../api/labels.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import type { Informer } from '../../runtime/kube/informer.ts';
import type { HasMetadata, Namespace } from '../../runtime/kube/types.ts';

/** A namespace of a consumer. */
export interface Home {
  readonly clusterID: string;
  readonly namespace: string;
}

export interface Twins {
  /** The twin of a home namespace. */
  of(clusterID: string, homeNamespace: string): Namespace | undefined;
  ofCluster(clusterID: string): readonly Namespace[];
  /** What a namespace of this cluster is the twin of; undefined for a foreign one. */
  homeOf(twin: string): Home | undefined;
  /** `<cluster ID>/<home namespace>/<name>` of an object in a twin; undefined elsewhere. */
  homeKey(object: HasMetadata): string | undefined;
}

const BY_HOME = 'provider/home';
const BY_CLUSTER = 'provider/origin';

/** Of a namespace's labels: the home that it stands for. */
export const homeOfLabels = (object: HasMetadata): Home | undefined => {
  const labels = object.metadata.labels ?? {};
  const clusterID = labels[LABELS.origin];
  const namespace = labels[LABELS.originNamespace];
  return labels[LABELS.managedBy] === MANAGED_BY && clusterID !== undefined && namespace !== undefined
    ? { clusterID, namespace }
    : undefined;
};

/** Reads the twins of an informer of all namespaces. */
export const createTwins = (namespaces: Informer<Namespace>): Twins => {
  namespaces.addIndexers({
    [BY_HOME]: (namespace) => {
      const home = homeOfLabels(namespace);
      return home === undefined ? [] : [`${home.clusterID}/${home.namespace}`];
    },
    [BY_CLUSTER]: (namespace) => {
      const home = homeOfLabels(namespace);
      return home === undefined ? [] : [home.clusterID];
    },
  });
  const homeOf = (twin: string): Home | undefined => {
    const namespace = namespaces.get(undefined, twin);
    return namespace === undefined ? undefined : homeOfLabels(namespace);
  };
  return {
    of: (clusterID, homeNamespace) =>
      [...namespaces.byIndex(BY_HOME, `${clusterID}/${homeNamespace}`)].sort((a, b) =>
        a.metadata.name < b.metadata.name ? -1 : 1,
      )[0],
    ofCluster: (clusterID) => namespaces.byIndex(BY_CLUSTER, clusterID),
    homeOf,
    homeKey: ({ metadata }) => {
      const home = homeOf(metadata.namespace ?? '');
      return home === undefined ? undefined : `${home.clusterID}/${home.namespace}/${metadata.name}`;
    },
  };
};

/** Whether a ShadowPod stands in the twin of the home that it names: others aren't Fluvia's. */
export const isGenuine = (shadow: ShadowPod, twins: Twins): boolean => {
  const home = twins.homeOf(shadow.metadata.namespace ?? '');
  return (
    home !== undefined &&
    home.clusterID === shadow.spec.home.clusterID &&
    home.namespace === shadow.spec.home.namespace &&
    shadow.metadata.name === shadow.spec.home.name
  );
};

/** `<a>/<b>/<c>` of a key; later slashes belong to the last part. */
export const splitHomeKey = (
  key: string,
): { readonly clusterID: string; readonly namespace: string; readonly name: string } => {
  const [clusterID = '', namespace = '', ...rest] = key.split('/');
  return { clusterID, namespace, name: rest.join('/') };
};
