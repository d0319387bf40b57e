/** Names of the API's resources: where each kind lives in the URL space of the API server. */

/** ResourceRef locates one kind: `group` is empty for the core group, `plural` is the URL segment. */
export interface ResourceRef {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespaced: boolean;
  readonly kind: string;
}

const namespaced = (group: string, version: string, kind: string, plural: string): ResourceRef => ({
  group,
  version,
  plural,
  namespaced: true,
  kind,
});
const clusterScoped = (group: string, version: string, kind: string, plural: string): ResourceRef => ({
  group,
  version,
  plural,
  namespaced: false,
  kind,
});

export const POD = namespaced('', 'v1', 'Pod', 'pods');
export const NODE = clusterScoped('', 'v1', 'Node', 'nodes');
export const NAMESPACE = clusterScoped('', 'v1', 'Namespace', 'namespaces');
export const SERVICE = namespaced('', 'v1', 'Service', 'services');
export const CONFIG_MAP = namespaced('', 'v1', 'ConfigMap', 'configmaps');
export const SECRET = namespaced('', 'v1', 'Secret', 'secrets');
export const SERVICE_ACCOUNT = namespaced('', 'v1', 'ServiceAccount', 'serviceaccounts');
export const PERSISTENT_VOLUME = clusterScoped('', 'v1', 'PersistentVolume', 'persistentvolumes');
export const PERSISTENT_VOLUME_CLAIM = namespaced(
  '',
  'v1',
  'PersistentVolumeClaim',
  'persistentvolumeclaims',
);
export const ENDPOINT_SLICE = namespaced('discovery.k8s.io', 'v1', 'EndpointSlice', 'endpointslices');
export const LEASE = namespaced('coordination.k8s.io', 'v1', 'Lease', 'leases');
export const EVENT = namespaced('events.k8s.io', 'v1', 'Event', 'events');
export const DEPLOYMENT = namespaced('apps', 'v1', 'Deployment', 'deployments');
export const DAEMON_SET = namespaced('apps', 'v1', 'DaemonSet', 'daemonsets');
export const STATEFUL_SET = namespaced('apps', 'v1', 'StatefulSet', 'statefulsets');
export const JOB = namespaced('batch', 'v1', 'Job', 'jobs');
export const POD_DISRUPTION_BUDGET = namespaced(
  'policy',
  'v1',
  'PodDisruptionBudget',
  'poddisruptionbudgets',
);
export const CRD = clusterScoped(
  'apiextensions.k8s.io',
  'v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
);
const RBAC = 'rbac.authorization.k8s.io';
export const CLUSTER_ROLE = clusterScoped(RBAC, 'v1', 'ClusterRole', 'clusterroles');
export const CLUSTER_ROLE_BINDING = clusterScoped(RBAC, 'v1', 'ClusterRoleBinding', 'clusterrolebindings');
export const ROLE = namespaced(RBAC, 'v1', 'Role', 'roles');
export const ROLE_BINDING = namespaced(RBAC, 'v1', 'RoleBinding', 'rolebindings');
const ADMISSION = 'admissionregistration.k8s.io';
export const MUTATING_WEBHOOK_CONFIGURATION = clusterScoped(
  ADMISSION,
  'v1',
  'MutatingWebhookConfiguration',
  'mutatingwebhookconfigurations',
);
export const VALIDATING_ADMISSION_POLICY = clusterScoped(
  ADMISSION,
  'v1',
  'ValidatingAdmissionPolicy',
  'validatingadmissionpolicies',
);
export const VALIDATING_ADMISSION_POLICY_BINDING = clusterScoped(
  ADMISSION,
  'v1',
  'ValidatingAdmissionPolicyBinding',
  'validatingadmissionpolicybindings',
);
/** Served as v1 since Kubernetes 1.36. */
export const MUTATING_ADMISSION_POLICY = clusterScoped(
  ADMISSION,
  'v1',
  'MutatingAdmissionPolicy',
  'mutatingadmissionpolicies',
);
export const MUTATING_ADMISSION_POLICY_BINDING = clusterScoped(
  ADMISSION,
  'v1',
  'MutatingAdmissionPolicyBinding',
  'mutatingadmissionpolicybindings',
);
export const SERVICE_CIDR = clusterScoped('networking.k8s.io', 'v1', 'ServiceCIDR', 'servicecidrs');
export const STORAGE_CLASS = clusterScoped('storage.k8s.io', 'v1', 'StorageClass', 'storageclasses');
export const TOKEN_REVIEW = clusterScoped('authentication.k8s.io', 'v1', 'TokenReview', 'tokenreviews');
export const SELF_SUBJECT_REVIEW = clusterScoped(
  'authentication.k8s.io',
  'v1',
  'SelfSubjectReview',
  'selfsubjectreviews',
);
export const SUBJECT_ACCESS_REVIEW = clusterScoped(
  'authorization.k8s.io',
  'v1',
  'SubjectAccessReview',
  'subjectaccessreviews',
);

/** fluviaResource refers to one of Fluvia's own kinds (group `fluvia.dev`, version `v1alpha1`). */
export const fluviaResource = (kind: string, plural: string, isNamespaced: boolean): ResourceRef => ({
  group: 'fluvia.dev',
  version: 'v1alpha1',
  plural,
  namespaced: isNamespaced,
  kind,
});

/** apiVersionOf is the `apiVersion` that objects of the resource carry. */
export const apiVersionOf = (ref: ResourceRef): string =>
  ref.group ? `${ref.group}/${ref.version}` : ref.version;

/**
 * pathOf is the URL path of a resource's collection, or of one object.
 * @throws {TypeError} when a namespaced object is named without its namespace.
 */
export const pathOf = (ref: ResourceRef, namespace?: string, name?: string, subresource?: string): string => {
  const root = ref.group ? `/apis/${ref.group}/${ref.version}` : `/api/${ref.version}`;
  if (ref.namespaced && name !== undefined && !namespace) {
    throw new TypeError(`${ref.kind} ${name} is namespaced, but no namespace was given`);
  }
  const scope = ref.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const object = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${root}${scope}/${ref.plural}${object}${subresource ? `/${subresource}` : ''}`;
};
