/**
 * The border between a leader that was taken over and the nodes: with the rights that it needs it could else make a privileged
 * twin, widen its webhooks, give a pod that runs another image, or mount a node's root by a volume of its own making.
 */
import { API_VERSION, LABELS, NAMES, VOLUMES_NAMESPACE } from '../../api/labels.ts';
import { STORAGE_ANNOTATIONS, STORAGE_CLASS } from '../../api/storage-names.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { policy } from './policy.ts';

const ENFORCE = 'pod-security.kubernetes.io/enforce';
const VERSION = 'pod-security.kubernetes.io/enforce-version';

/** CEL: a label's value, empty when there is none. */
const label = (of: string, key: string): string =>
  `(has(${of}.metadata.labels) && '${key}' in ${of}.metadata.labels ? ${of}.metadata.labels['${key}'] : '')`;

/** CEL: an optional field of the spec is the same in both versions. */
const same = (field: string): string =>
  `(has(object.spec.${field}) == has(oldObject.spec.${field}) && (!has(object.spec.${field}) || object.spec.${field} == oldObject.spec.${field}))`;

const namespaceRules = [
  { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['namespaces'] },
];
const TWINS = { matchExpressions: [{ key: LABELS.origin, operator: 'Exists' }] };

/**
 * Twins enforce `baseline` or `restricted`. Another level only where people say so, in GrantPolicy `default`, which the
 * controller can't write; without that object it is refused, whoever asks: the account is looked at only after that.
 */
const levelPolicies = policy({
  name: 'fluvia-controller-privileged-twins',
  account: NAMES.controller,
  rules: namespaceRules,
  // a condition would come too late: where the object that people write is missing, all that this selects is refused
  namespaceSelector: {
    matchExpressions: [
      { key: LABELS.origin, operator: 'Exists' },
      { key: ENFORCE, operator: 'NotIn', values: ['baseline', 'restricted'] },
    ],
  },
  param: { kind: { apiVersion: API_VERSION, kind: 'GrantPolicy' }, name: 'default' },
  validations: [
    {
      expression: `${label('object', ENFORCE)} == 'privileged' && (params.spec.podSecurity == 'privileged' || (has(params.spec.privilegedTwins) && params.spec.privilegedTwins))`,
      message:
        'a twin enforces baseline or restricted, unless GrantPolicy default says spec.podSecurity: privileged or, for policies of single peers, spec.privilegedTwins: true',
    },
  ],
});

/** Old versions of a level forbid less. */
const versionPolicies = policy({
  name: 'fluvia-controller-twin-level-version',
  account: NAMES.controller,
  rules: namespaceRules,
  namespaceSelector: TWINS,
  validations: [
    {
      expression: `${label('object', VERSION)} == (oldObject == null ? '' : ${label('oldObject', VERSION)})`,
      message: 'the version of a twin’s Pod Security level is not Fluvia’s to set',
    },
  ],
});

const PLACEHOLDER = '^fluvia-v[0-9a-f]{16}$';
/** Directories that no volume lies in: the system's, and those of kubelet, container runtimes and etcd. As one regular expression. */
const SYSTEM_PATHS = [
  '^/*$',
  // the API server refuses `..`, but not this
  '/[.](/|$)',
  '^/+(bin|boot|dev|etc|home|lib|lib32|lib64|proc|root|run|sbin|sys|usr)(/|$)',
  '^/+var(/+lib)?/*$',
  '^/+var/+(cache|log|run|spool)(/|$)',
  '^/+var/+lib/+(calico|cilium|cni|containerd|containers|crio|docker|etcd|k0s|kubelet|minikube)(/|$)',
  '^/+var/+lib/+rancher(/+k3s)?/*$',
  '^/+var/+lib/+rancher/+(rke2|k3s/+(agent|data|server))(/|$)',
].join('|');

/**
 * What the controller makes is home's PersistentVolume of class fluvia: without a source of its own while the volume is at a
 * peer, else with that of a real one (of any kind: what storage a cluster has isn't ours to know). Such a source can't be
 * compared with the real one's here, so no directory of the system is let through, and {@link claimPolicies} keeps what was
 * made so out of every namespace that Fluvia runs pods in.
 */
const volumePolicies = policy({
  name: 'fluvia-controller-volumes',
  account: NAMES.controller,
  rules: [
    {
      apiGroups: [''],
      apiVersions: ['v1'],
      operations: ['CREATE', 'UPDATE', 'DELETE'],
      resources: ['persistentvolumes'],
    },
  ],
  variables: [
    { name: 'isCreate', expression: "request.operation == 'CREATE'" },
    { name: 'isUpdate', expression: "request.operation == 'UPDATE'" },
    {
      name: 'isAtHome',
      expression: `variables.isCreate && has(object.metadata.annotations) && '${STORAGE_ANNOTATIONS.real}' in object.metadata.annotations`,
    },
    {
      name: 'path',
      expression:
        "!variables.isCreate ? '' : has(object.spec.local) ? object.spec.local.path : has(object.spec.hostPath) ? object.spec.hostPath.path : '-'",
    },
  ],
  validations: [
    {
      expression: `variables.isUpdate || (variables.isCreate ? object.metadata.name : request.name).matches('${PLACEHOLDER}')`,
      message: 'Fluvia makes and deletes only its own PersistentVolumes (fluvia-v…)',
    },
    {
      expression: `!variables.isCreate || (has(object.spec.storageClassName) && object.spec.storageClassName == '${STORAGE_CLASS}' && has(object.spec.claimRef))`,
      message: `Fluvia makes PersistentVolumes of class ${STORAGE_CLASS} only, each for one claim`,
    },
    {
      expression:
        "!variables.isCreate || variables.isAtHome || variables.path == '/var/lib/fluvia-placeholder/' + object.metadata.name.substring(7)",
      message: 'a PersistentVolume without a real one behind it has the source of a placeholder',
    },
    {
      expression: `!variables.isCreate || !variables.path.matches('${SYSTEM_PATHS}')`,
      message: 'no PersistentVolume of Fluvia’s is a directory of the system',
    },
    {
      expression: `!variables.isUpdate || (${['claimRef', 'storageClassName', 'nodeAffinity', 'mountOptions', 'capacity', 'accessModes'].map(same).join(' && ')})`,
      message: 'of a PersistentVolume that exists Fluvia changes only the reclaim policy',
    },
  ],
});

const claims = (name: string, namespaceSelector: object): readonly KubeObject[] =>
  policy({
    name,
    rules: [
      {
        apiGroups: [''],
        apiVersions: ['v1'],
        operations: ['CREATE', 'UPDATE'],
        resources: ['persistentvolumeclaims'],
      },
    ],
    namespaceSelector,
    // by whomever: it is the controller-manager that binds a claim
    validations: [
      {
        expression: `!has(object.spec.volumeName) || !object.spec.volumeName.matches('${PLACEHOLDER}') || (oldObject != null && has(oldObject.spec.volumeName) && oldObject.spec.volumeName == object.spec.volumeName)`,
        message: 'a PersistentVolume of Fluvia’s own making is bound to no claim where Fluvia runs pods',
      },
    ],
  });

/** A claim in `fluvia-volumes` or in a twin is bound to a real volume, never to one that the controller made. */
const claimPolicies: readonly KubeObject[] = [
  ...claims('fluvia-claims-in-twins', TWINS),
  ...claims('fluvia-claims-of-volumes', {
    matchLabels: { 'kubernetes.io/metadata.name': VOLUMES_NAMESPACE },
  }),
];

const HOOK_FIELDS = [
  'rules',
  'failurePolicy',
  'matchPolicy',
  'namespaceSelector',
  'objectSelector',
  'sideEffects',
  'timeoutSeconds',
  'admissionReviewVersions',
  'reinvocationPolicy',
  'matchConditions',
  'clientConfig.url',
  'clientConfig.service',
];
/** CEL: webhooks `w` and `o` are the same but for the CA bundle. */
const sameHook = HOOK_FIELDS.map(
  (field) => `has(w.${field}) == has(o.${field}) && (!has(w.${field}) || w.${field} == o.${field})`,
).join(' && ');

/** Of a webhook's configuration the controller writes the CA that it is trusted by, and nothing else. */
const webhookPolicies = policy({
  name: 'fluvia-controller-webhooks',
  account: NAMES.controller,
  rules: [
    {
      apiGroups: ['admissionregistration.k8s.io'],
      apiVersions: ['*'],
      operations: ['CREATE', 'UPDATE', 'DELETE'],
      resources: ['mutatingwebhookconfigurations'],
    },
  ],
  variables: [
    { name: 'old', expression: 'oldObject != null && has(oldObject.webhooks) ? oldObject.webhooks : []' },
  ],
  validations: [
    {
      expression: "request.operation == 'UPDATE'",
      message: 'Fluvia neither makes nor deletes webhooks',
    },
    {
      expression: `request.operation != 'UPDATE' || ((has(object.webhooks) ? size(object.webhooks) : 0) == size(variables.old) && (!has(object.webhooks) || object.webhooks.all(w, variables.old.exists(o, o.name == w.name && ${sameHook}))))`,
      message: 'of a webhook Fluvia changes only the CA bundle',
    },
  ],
});

/** CEL: each container of a list has the image that it had. */
const sameImages = (list: string): string =>
  `(!has(object.spec.${list}) || object.spec.${list}.all(c, has(oldObject.spec.${list}) && oldObject.spec.${list}.exists(o, o.name == c.name && has(o.image) == has(c.image) && (!has(c.image) || o.image == c.image))))`;

/** The controller patches pods to place and to end them; another image would make it run what it likes in any pod. */
const podPolicies = policy({
  name: 'fluvia-controller-images',
  account: NAMES.controller,
  rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['UPDATE'], resources: ['pods'] }],
  validations: [
    {
      expression: `${sameImages('containers')} && ${sameImages('initContainers')}`,
      message: 'Fluvia changes no image of a pod',
    },
  ],
});

/** All of them. */
export const borderPolicies: readonly KubeObject[] = [
  ...levelPolicies,
  ...versionPolicies,
  ...volumePolicies,
  ...claimPolicies,
  ...webhookPolicies,
  ...podPolicies,
];
