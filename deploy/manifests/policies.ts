import { NAMES, PEERING_CLUSTER_ROLE, PEERS_NAMESPACE } from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { borderPolicies } from './border-policies.ts';
import { policy } from './policy.ts';

const NODE_CLAIM = 'authentication.kubernetes.io/node-name';

/**
 * An agent writes only about its own node: the API server states in the token's claims on which node the pod runs
 * (Kubernetes ≥ 1.32). Of the objects themselves it may only take its finalizer away.
 */
const agentPolicies = policy({
  name: NAMES.agent,
  account: NAMES.agent,
  rules: [
    {
      apiGroups: ['fluvia.dev'],
      apiVersions: ['*'],
      operations: ['CREATE', 'UPDATE', 'DELETE'],
      resources: ['fabricnodes', 'fabricnodes/status', 'gateways', 'gateways/status'],
    },
  ],
  variables: [
    {
      name: 'node',
      expression: `has(request.userInfo.extra) && '${NODE_CLAIM}' in request.userInfo.extra ? request.userInfo.extra['${NODE_CLAIM}'] : []`,
    },
  ],
  validations: [
    {
      expression: 'request.name in variables.node',
      message: "an agent may write only the FabricNode and Gateway of its token's node",
    },
    {
      expression: "request.operation == 'UPDATE'",
      message: 'an agent may neither make nor delete fabric objects',
    },
    {
      expression:
        "request.operation != 'UPDATE' || (has(request.subResource) && request.subResource == 'status') || object.spec == oldObject.spec",
      message: 'the spec is the controller’s',
    },
  ],
});

/** CEL: whether both versions have the same labels, those of fluvia.dev aside. Pod Security reads such labels. */
const sameForeignLabels = (() => {
  const labels = (of: string): string => `(has(${of}.metadata.labels) ? ${of}.metadata.labels : {})`;
  const within = (a: string, b: string): string =>
    `${labels(a)}.all(k, k.startsWith('fluvia.dev/') || (k in ${labels(b)} && ${labels(b)}[k] == ${labels(a)}[k]))`;
  return `(${within('object', 'oldObject')} && ${within('oldObject', 'object')})`;
})();

/**
 * What the controller may do on its own, beside acting as a peering's ServiceAccount: bind that one role in twins, and
 * make or delete namespaces that are twins. It can't turn a namespace that exists into one.
 */
const controllerPolicies = policy({
  name: NAMES.controller,
  account: NAMES.controller,
  rules: [
    {
      apiGroups: [''],
      apiVersions: ['v1'],
      operations: ['CREATE', 'UPDATE', 'DELETE'],
      resources: ['namespaces'],
    },
    {
      apiGroups: ['rbac.authorization.k8s.io'],
      apiVersions: ['v1'],
      operations: ['CREATE', 'UPDATE', 'DELETE'],
      resources: ['rolebindings'],
    },
  ],
  variables: [
    { name: 'isNamespace', expression: "request.resource.resource == 'namespaces'" },
    {
      name: 'isTwin',
      expression:
        "object != null && has(object.metadata.labels) && 'fluvia.dev/origin' in object.metadata.labels",
    },
    {
      name: 'wasTwin',
      expression:
        "oldObject != null && has(oldObject.metadata.labels) && 'fluvia.dev/origin' in oldObject.metadata.labels",
    },
  ],
  validations: [
    {
      expression:
        "!variables.isNamespace || request.operation == 'UPDATE' || (request.operation == 'CREATE' ? variables.isTwin : variables.wasTwin)",
      message: 'Fluvia makes and deletes only twin namespaces',
    },
    {
      expression:
        "!variables.isNamespace || request.operation != 'UPDATE' || (variables.wasTwin == variables.isTwin && (!variables.isTwin || object.metadata.labels['fluvia.dev/origin'] == oldObject.metadata.labels['fluvia.dev/origin']))",
      message: 'Fluvia never turns an existing namespace into a twin, nor a twin into another',
    },
    {
      expression: `!variables.isNamespace || request.operation != 'UPDATE' || variables.isTwin || ${sameForeignLabels}`,
      message: 'of a namespace that is no twin Fluvia writes only its own labels',
    },
    {
      expression: `variables.isNamespace || request.operation == 'DELETE' || (object.roleRef.kind == 'ClusterRole' && object.roleRef.name == '${PEERING_CLUSTER_ROLE}')`,
      message: `Fluvia binds only ClusterRole ${PEERING_CLUSTER_ROLE}`,
    },
    {
      expression:
        "variables.isNamespace || (has(namespaceObject.metadata.labels) && 'fluvia.dev/origin' in namespaceObject.metadata.labels)",
      message: 'Fluvia binds roles only in twin namespaces',
    },
    {
      expression: `variables.isNamespace || request.operation == 'DELETE' || !has(namespaceObject.metadata.labels) || !('fluvia.dev/origin' in namespaceObject.metadata.labels) || (has(object.subjects) && object.subjects.all(s, s.kind == 'ServiceAccount' && s.namespace == '${PEERS_NAMESPACE}' && s.name == namespaceObject.metadata.labels['fluvia.dev/origin']))`,
      message: 'Fluvia binds only the ServiceAccount of the peering whose twin it is',
    },
  ],
});

/** Every admission policy of the installation. */
export const admissionPolicies: readonly KubeObject[] = [
  ...agentPolicies,
  ...controllerPolicies,
  ...borderPolicies,
];
