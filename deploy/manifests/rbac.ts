import {
  NAMES,
  PEERING_CLUSTER_ROLE,
  PEERS_NAMESPACE,
  SYSTEM_NAMESPACE,
  VOLUMES_NAMESPACE,
} from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { meta } from './common.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

const RBAC = 'rbac.authorization.k8s.io';
const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'update', 'patch', 'delete'];
const STATUS = ['update', 'patch'];

const rule = (group: string, resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups: [group],
  resources,
  verbs,
});
const named = (base: Rule, ...resourceNames: readonly string[]): Rule => ({ ...base, resourceNames });

const clusterRole = (name: string, rules: readonly Rule[]): KubeObject => ({
  apiVersion: `${RBAC}/v1`,
  kind: 'ClusterRole',
  metadata: meta(name),
  rules,
});
const role = (name: string, namespace: string, rules: readonly Rule[]): KubeObject => ({
  apiVersion: `${RBAC}/v1`,
  kind: 'Role',
  metadata: meta(name, namespace),
  rules,
});
const account = (name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: meta(name, SYSTEM_NAMESPACE),
  automountServiceAccountToken: false,
});
const subjects = (name: string): readonly object[] => [
  { kind: 'ServiceAccount', name, namespace: SYSTEM_NAMESPACE },
];
const clusterRoleBinding = (name: string): KubeObject => ({
  apiVersion: `${RBAC}/v1`,
  kind: 'ClusterRoleBinding',
  metadata: meta(name),
  roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name },
  subjects: subjects(name),
});
const roleBinding = (name: string, namespace: string, roleName: string, to: string): KubeObject => ({
  apiVersion: `${RBAC}/v1`,
  kind: 'RoleBinding',
  metadata: meta(name, namespace),
  roleRef: { apiGroup: RBAC, kind: 'Role', name: roleName },
  subjects: subjects(to),
});

/** Fabric objects of its own cluster, and the status of two of them, which a policy narrows to its own node's. */
const agentRules: readonly Rule[] = [
  rule('fluvia.dev', ['fabricnodes', 'gateways', 'views', 'offers', 'networkconfigs'], READ),
  rule('fluvia.dev', ['fabricnodes/status', 'gateways/status'], STATUS),
  // to take its finalizer away once the node is torn down
  rule('fluvia.dev', ['fabricnodes', 'gateways'], ['patch']),
];

/** What a peering's ServiceAccount may do, bound only in its twin namespaces; the controller acts as it. */
const peeringRules: readonly Rule[] = [
  rule('', ['pods'], ['get', 'create', 'patch', 'delete']),
  rule('', ['pods/log'], ['get']),
  rule('', ['pods/exec', 'pods/attach', 'pods/portforward'], ['get', 'create']),
  rule('', ['services', 'configmaps', 'secrets'], ['get', 'create', 'update', 'patch', 'delete']),
  rule('discovery.k8s.io', ['endpointslices'], ['get', 'create', 'update', 'patch', 'delete']),
  rule('fluvia.dev', ['shadowpods'], ['get', 'create', 'patch', 'delete']),
  rule('fluvia.dev', ['shadowpods/status'], ['patch']),
  // storage: a consumer's volumes, and the Jobs that copy them
  rule('', ['persistentvolumeclaims'], ['get', 'create', 'patch', 'delete']),
  rule('batch', ['jobs'], ['get', 'create', 'patch', 'delete']),
];

const ALL_KINDS = [
  'peers',
  'invites',
  'claims',
  'grants',
  'grantpolicies',
  'virtualnodes',
  'namespaceoffloadings',
  'shadowpods',
  'networkconfigs',
  'views',
  'gateways',
  'fabricnodes',
  'offers',
  'floatpolicies',
  'volumereplicas',
];

/** The controller's, cluster-wide; each block names the capability that needs it. */
const controllerRules: readonly Rule[] = [
  // all: its own kinds
  rule('fluvia.dev', ALL_KINDS, READ),
  rule(
    'fluvia.dev',
    ALL_KINDS.map((kind) => `${kind}/status`),
    STATUS,
  ),
  rule(
    'fluvia.dev',
    ALL_KINDS.map((kind) => `${kind}/finalizers`),
    ['update'],
  ),
  rule('events.k8s.io', ['events'], ['create', 'patch', 'update']),
  // peering: peers and invites by the protocol, claims and grants
  rule('fluvia.dev', ['peers', 'invites', 'claims', 'grants'], WRITE),
  // network: views, gateways, nodes, offers; the offloading writes offers of its own
  rule('fluvia.dev', ['views', 'gateways', 'fabricnodes', 'offers'], WRITE),
  rule('fluvia.dev', ['networkconfigs'], ['patch']),
  // offloading, home: the label's NamespaceOffloading, virtual nodes and their Nodes, floated pods
  rule('fluvia.dev', ['namespaceoffloadings', 'virtualnodes'], WRITE),
  rule('', ['namespaces'], [...READ, 'patch']),
  rule('', ['nodes'], [...READ, ...WRITE]),
  rule('', ['nodes/status'], STATUS),
  rule('', ['pods'], [...READ, 'patch', 'delete']),
  rule('', ['pods/status'], STATUS),
  rule('', ['services', 'configmaps', 'secrets'], READ),
  rule('discovery.k8s.io', ['endpointslices'], READ),
  rule('admissionregistration.k8s.io', ['mutatingwebhookconfigurations'], ['list', 'watch']),
  named(
    rule('admissionregistration.k8s.io', ['mutatingwebhookconfigurations'], ['get', 'patch']),
    'fluvia-remote',
    'fluvia',
  ),
  rule('authentication.k8s.io', ['tokenreviews'], ['create']),
  rule('authorization.k8s.io', ['subjectaccessreviews'], ['create']),
  // storage, home: placeholders of volumes at peers, where they are, copies of them
  rule('', ['persistentvolumeclaims'], [...READ, 'patch']),
  rule('', ['persistentvolumeclaims/status'], ['patch']),
  rule('', ['persistentvolumes'], [...READ, 'create', 'patch', 'delete']),
  rule('storage.k8s.io', ['storageclasses'], READ),
  // storage, provider: why a volume isn't made, how a copy goes
  rule('events.k8s.io', ['events'], ['list']),
  rule('batch', ['jobs'], READ),
  // offloading, provider: twins and the one binding in them; all else is done as the peering
  rule('', ['namespaces'], ['create', 'delete']),
  rule(RBAC, ['rolebindings'], ['get', 'create', 'patch', 'delete']),
  named(rule(RBAC, ['clusterroles'], ['bind']), PEERING_CLUSTER_ROLE),
];

/** The controller's in its own namespace: election, identity, webhook certificate, the peering Service's endpoints. */
const systemRules: readonly Rule[] = [
  rule('coordination.k8s.io', ['leases'], [...READ, 'create']),
  named(rule('coordination.k8s.io', ['leases'], ['update', 'patch']), NAMES.leaderLease),
  // requests to join (Secrets join-*) come and go
  rule('', ['secrets'], [...READ, ...WRITE]),
  rule('', ['configmaps'], ['create']),
  // the public half of the identity
  named(rule('', ['configmaps'], ['get', 'update', 'patch']), NAMES.identitySecret),
  named(rule('', ['services'], ['get']), NAMES.peeringService),
  rule('discovery.k8s.io', ['endpointslices'], [...READ, ...WRITE]),
];

/** The controller's where this cluster's own volumes of class fluvia are claimed and copied, as in the twins of its peers. */
const volumesRules: readonly Rule[] = [
  rule('', ['persistentvolumeclaims', 'secrets'], ['create', 'delete']),
  rule('batch', ['jobs'], ['create', 'delete']),
  rule('', ['pods/log'], ['get']),
];

const EXTENSION_READER = 'extension-apiserver-authentication-reader';
const LEASES = 'kube-node-lease';

/** ServiceAccounts, roles and bindings: as small as each role needs. */
export const rbac: readonly KubeObject[] = [
  account(NAMES.agent),
  account(NAMES.controller),
  clusterRole(NAMES.agent, agentRules),
  clusterRoleBinding(NAMES.agent),
  clusterRole(PEERING_CLUSTER_ROLE, peeringRules),
  clusterRole(NAMES.controller, controllerRules),
  clusterRoleBinding(NAMES.controller),
  role(NAMES.controller, SYSTEM_NAMESPACE, systemRules),
  roleBinding(NAMES.controller, SYSTEM_NAMESPACE, NAMES.controller, NAMES.controller),
  role(NAMES.controller, VOLUMES_NAMESPACE, volumesRules),
  roleBinding(NAMES.controller, VOLUMES_NAMESPACE, NAMES.controller, NAMES.controller),
  // to act as a peering's ServiceAccount, and as no one else
  role(NAMES.controller, PEERS_NAMESPACE, [
    rule('', ['serviceaccounts'], ['get', 'list', 'watch', 'create', 'delete', 'impersonate']),
  ]),
  roleBinding(NAMES.controller, PEERS_NAMESPACE, NAMES.controller, NAMES.controller),
  // heartbeats of the virtual nodes
  role(NAMES.controller, LEASES, [rule('coordination.k8s.io', ['leases'], ['get', ...WRITE])]),
  roleBinding(NAMES.controller, LEASES, NAMES.controller, NAMES.controller),
  // the CA by which the virtual kubelets know the API server
  roleBinding(NAMES.controller, 'kube-system', EXTENSION_READER, NAMES.controller),
];
