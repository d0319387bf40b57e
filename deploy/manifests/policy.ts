import { SYSTEM_NAMESPACE } from '../../api/labels.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { meta } from './common.ts';

interface Named {
  readonly name: string;
  readonly expression: string;
}

interface Validation {
  readonly expression: string;
  readonly message: string;
}

export interface PolicyInput {
  readonly name: string;
  /** ServiceAccount of Fluvia whose writes it is about; everybody's when missing. */
  readonly account?: string;
  readonly rules: readonly object[];
  /** Only in namespaces with these labels; a namespace itself is judged by what it is to have. */
  readonly namespaceSelector?: object;
  /** An object that people write and on which the decision depends: where there is none, what matches is refused. */
  readonly param?: { readonly kind: object; readonly name: string };
  readonly variables?: readonly Named[];
  readonly validations: readonly Validation[];
}

const byAccount = (account: string): Named => ({
  name: 'by-this-account',
  expression: `request.userInfo.username == 'system:serviceaccount:${SYSTEM_NAMESPACE}:${account}'`,
});

/** A policy over what is written, by one ServiceAccount of Fluvia or by all, and the binding that puts it in force. */
export const policy = (input: PolicyInput): readonly KubeObject[] => {
  const { name, account, rules, namespaceSelector, param, variables, validations } = input;
  return [
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata: meta(name),
      spec: {
        failurePolicy: 'Fail',
        ...(param === undefined ? {} : { paramKind: param.kind }),
        matchConstraints: {
          resourceRules: rules,
          ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
        },
        ...(account === undefined ? {} : { matchConditions: [byAccount(account)] }),
        ...(variables === undefined ? {} : { variables }),
        validations: validations.map((v) => ({ ...v, reason: 'Forbidden' })),
      },
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: meta(name),
      spec: {
        policyName: name,
        ...(param === undefined ? {} : { paramRef: { name: param.name, parameterNotFoundAction: 'Deny' } }),
        validationActions: ['Deny'],
      },
    },
  ];
};
