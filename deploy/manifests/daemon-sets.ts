import { LABELS } from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { meta } from './common.ts';

/** Name of the policy that keeps DaemonSets off the nodes that stand for peers. */
export const DAEMON_SET_POLICY = 'fluvia-daemonsets';

const POD = 'object.spec.template.spec';
const AFFINITY = `${POD}.affinity`;
const NODE_AFFINITY = `${AFFINITY}.nodeAffinity`;
const REQUIRED = `${NODE_AFFINITY}.requiredDuringSchedulingIgnoredDuringExecution`;
const TERMS = `${REQUIRED}.nodeSelectorTerms`;
const PATH = '/spec/template/spec/affinity';

/** The one requirement, in CEL. Values are typed as the API is (`Object.spec.…`), so that the API server checks them. */
const TYPE = 'Object.spec.template.spec.affinity';
const REQUIRED_TYPE = `${TYPE}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`;
const requirement = `${REQUIRED_TYPE}.nodeSelectorTerms.matchExpressions{key: '${LABELS.virtualNode}', operator: 'DoesNotExist'}`;
const selector = `${REQUIRED_TYPE}{nodeSelectorTerms: [${REQUIRED_TYPE}.nodeSelectorTerms{matchExpressions: [${requirement}]}]}`;
const add = (path: string, value: string): string =>
  `[JSONPatch{op: 'add', path: '${PATH}${path}', value: ${value}}]`;

/** Terms that are looked at; no DaemonSet has more, and the index in a JSON patch must be written out. */
const MAX_TERMS = 32;
const indices = `[${Array.from({ length: MAX_TERMS }, (_, i) => i).join(', ')}]`;

const isKeptOff = (term: string): string =>
  `(has(${term}.matchExpressions) && ${term}.matchExpressions.exists(e, e.key == '${LABELS.virtualNode}'))`;
/** A term without any requirement matches no node; with one it would. */
const isEmpty = (term: string): string =>
  `!(has(${term}.matchExpressions) && size(${term}.matchExpressions) > 0) && !(has(${term}.matchFields) && size(${term}.matchFields) > 0)`;
const TERM = `${TERMS}[i]`;
const termsPath = `${PATH}/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/`;
/** Terms are alternatives: each of them gets the requirement. */
const toEachTerm = [
  `${indices}.filter(i, i < size(${TERMS}) && !(${isEmpty(TERM)}) && !${isKeptOff(TERM)})`,
  `.map(i, has(${TERM}.matchExpressions)`,
  ` ? JSONPatch{op: 'add', path: '${termsPath}' + string(i) + '/matchExpressions/-', value: ${requirement}}`,
  ` : JSONPatch{op: 'add', path: '${termsPath}' + string(i) + '/matchExpressions', value: [${requirement}]})`,
].join('');

const expression = [
  `!has(${AFFINITY}) ? ${add('', `${TYPE}{nodeAffinity: ${TYPE}.nodeAffinity{requiredDuringSchedulingIgnoredDuringExecution: ${selector}}}`)}`,
  `!has(${NODE_AFFINITY}) ? ${add('/nodeAffinity', `${TYPE}.nodeAffinity{requiredDuringSchedulingIgnoredDuringExecution: ${selector}}`)}`,
  `!has(${REQUIRED}) ? ${add('/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution', selector)}`,
  toEachTerm,
].join(' : ');

/**
 * DaemonSets whose pods tolerate every taint would also get a pod on each virtual node, and that pod would wait there for
 * ever: their pods never float. This adds the missing node affinity to their templates.
 *
 * It does no harm: a DaemonSet that exists is touched only when its template is changed anyway (else the next label on it
 * would restart its pods), one that names Fluvia's taint or label is left alone, and when the policy fails the DaemonSet
 * is admitted as it is. Kubernetes serves these policies as v1 from 1.36 on; before that, `install` only warns.
 */
export const daemonSetPolicies: readonly KubeObject[] = [
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingAdmissionPolicy',
    metadata: meta(DAEMON_SET_POLICY),
    spec: {
      failurePolicy: 'Ignore',
      reinvocationPolicy: 'IfNeeded',
      matchConstraints: {
        resourceRules: [
          {
            apiGroups: ['apps'],
            apiVersions: ['v1'],
            operations: ['CREATE', 'UPDATE'],
            resources: ['daemonsets'],
          },
        ],
      },
      matchConditions: [
        {
          name: 'its-pods-tolerate-every-taint',
          expression: `has(${POD}.tolerations) && ${POD}.tolerations.exists(t, (!has(t.key) || t.key == '') && has(t.operator) && t.operator == 'Exists' && (!has(t.effect) || t.effect in ['', 'NoSchedule']))`,
        },
        {
          name: 'its-template-is-new',
          expression: `request.operation == 'CREATE' || object.spec.template != oldObject.spec.template`,
        },
      ],
      mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression } }],
    },
  },
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingAdmissionPolicyBinding',
    metadata: meta(DAEMON_SET_POLICY),
    spec: { policyName: DAEMON_SET_POLICY },
  },
];
