import { GROUP } from '../../api/labels.ts';
import { KINDS } from '../../api/v1alpha1/kinds.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { ResourceRef } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';

const OF_MANIFESTS: readonly ResourceRef[] = [
  resources.NAMESPACE,
  resources.SERVICE,
  resources.SERVICE_ACCOUNT,
  resources.SECRET,
  resources.CRD,
  resources.CLUSTER_ROLE,
  resources.CLUSTER_ROLE_BINDING,
  resources.ROLE,
  resources.ROLE_BINDING,
  resources.MUTATING_WEBHOOK_CONFIGURATION,
  resources.MUTATING_ADMISSION_POLICY,
  resources.MUTATING_ADMISSION_POLICY_BINDING,
  resources.VALIDATING_ADMISSION_POLICY,
  resources.VALIDATING_ADMISSION_POLICY_BINDING,
  resources.DEPLOYMENT,
  resources.PERSISTENT_VOLUME_CLAIM,
  resources.DAEMON_SET,
  resources.POD_DISRUPTION_BUDGET,
  resources.STORAGE_CLASS,
];

/** Every kind of Fluvia's own. */
export const FLUVIA_RESOURCES: readonly ResourceRef[] = KINDS.map((kind) =>
  resources.fluviaResource(kind.kind, kind.plural, kind.scope === 'Namespaced'),
);

/** Where an object of the manifest lives in the API. Throws TypeError for a kind that no manifest holds. */
export const refOf = (object: Pick<KubeObject, 'apiVersion' | 'kind'>): ResourceRef => {
  const found = [...OF_MANIFESTS, ...FLUVIA_RESOURCES].find(
    (ref) => ref.kind === object.kind && resources.apiVersionOf(ref) === object.apiVersion,
  );
  if (found === undefined) {
    throw new TypeError(`no resource is known for ${object.apiVersion} ${object.kind}`);
  }
  return found;
};

/** The resource of one of Fluvia's kinds. */
export const fluviaRef = (kind: string): ResourceRef => refOf({ apiVersion: `${GROUP}/v1alpha1`, kind });
