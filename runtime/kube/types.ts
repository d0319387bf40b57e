/**
 * Shapes of Kubernetes objects as they are on the wire: raw JSON, times are RFC 3339 strings, nothing is a class.
 *
 * Only the fields that Fluvia reads or writes are named; an index signature lets the rest through untouched. Optional fields
 * also admit `undefined`, so that types inferred from zod schemas are assignable.
 */
import type { ObjectMeta, OwnerReference } from '../../api/define-kind.ts';
import type { PodSpec, Taint } from './pod-types.ts';

export type * from './pod-types.ts';

export type { ObjectMeta, OwnerReference };

/** KubeObject is any object of the API. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [key: string]: unknown;
}

/**
 * Manifest is what may be sent to the API server: like KubeObject, but the client fills in `apiVersion` and `kind` from the
 * ResourceRef, and `metadata` needs a name or a generateName only.
 */
export interface Manifest {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata: ManifestMeta;
}

/** ManifestMeta is `metadata` of something to be written. */
export interface ManifestMeta {
  readonly name?: string | undefined;
  readonly generateName?: string | undefined;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly finalizers?: readonly string[] | undefined;
  readonly ownerReferences?: readonly OwnerReference[] | undefined;
}

/** HasMetadata is the least that an informer needs of an object. */
export interface HasMetadata {
  readonly metadata: ObjectMeta;
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?:
    | readonly {
        readonly key: string;
        readonly operator: string;
        readonly values?: readonly string[] | undefined;
      }[]
    | undefined;
}

/** ObjectReference names an object, as in Events and EndpointSlices. */
export interface ObjectReference {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly fieldPath?: string | undefined;
}

/** StatusCondition is a condition as built-in kinds have it (`metav1.Condition` and its older cousins). */
export interface StatusCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  readonly lastTransitionTime?: string | undefined;
  readonly lastHeartbeatTime?: string | undefined;
  readonly lastProbeTime?: string | null | undefined;
  readonly observedGeneration?: number | undefined;
}

export interface PodTemplateSpec {
  readonly metadata?: ManifestMeta | undefined;
  readonly spec: PodSpec;
}

export interface Node extends KubeObject {
  readonly spec: {
    readonly podCIDR?: string | undefined;
    readonly podCIDRs?: readonly string[] | undefined;
    readonly providerID?: string | undefined;
    readonly unschedulable?: boolean | undefined;
    readonly taints?: readonly Taint[] | undefined;
    readonly [key: string]: unknown;
  };
  readonly status?:
    | {
        readonly capacity?: Readonly<Record<string, string>> | undefined;
        readonly allocatable?: Readonly<Record<string, string>> | undefined;
        readonly conditions?: readonly StatusCondition[] | undefined;
        readonly addresses?: readonly { readonly type: string; readonly address: string }[] | undefined;
        readonly daemonEndpoints?: { readonly kubeletEndpoint?: { readonly Port: number } } | undefined;
        readonly nodeInfo?: Readonly<Record<string, unknown>> | undefined;
        readonly [key: string]: unknown;
      }
    | undefined;
}

export interface Namespace extends KubeObject {
  readonly spec?: { readonly finalizers?: readonly string[] | undefined } | undefined;
  readonly status?:
    | { readonly phase?: string | undefined; readonly conditions?: readonly StatusCondition[] | undefined }
    | undefined;
}

export interface ServicePort {
  readonly name?: string | undefined;
  readonly protocol?: string | undefined;
  readonly appProtocol?: string | undefined;
  readonly port: number;
  readonly targetPort?: number | string | undefined;
  readonly nodePort?: number | undefined;
}

export interface Service extends KubeObject {
  readonly spec: {
    readonly type?: string | undefined;
    readonly clusterIP?: string | undefined;
    readonly clusterIPs?: readonly string[] | undefined;
    readonly ports?: readonly ServicePort[] | undefined;
    readonly selector?: Readonly<Record<string, string>> | undefined;
    readonly ipFamilies?: readonly string[] | undefined;
    readonly ipFamilyPolicy?: string | undefined;
    readonly externalName?: string | undefined;
    readonly publishNotReadyAddresses?: boolean | undefined;
    readonly [key: string]: unknown;
  };
  readonly status?: Readonly<Record<string, unknown>> | undefined;
}

export interface Endpoint {
  readonly addresses: readonly string[];
  readonly conditions?:
    | { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean }
    | undefined;
  readonly hostname?: string | undefined;
  readonly nodeName?: string | undefined;
  readonly zone?: string | undefined;
  readonly targetRef?: ObjectReference | undefined;
  readonly hints?: Readonly<Record<string, unknown>> | undefined;
}

export interface EndpointPort {
  readonly name?: string | undefined;
  readonly port?: number | undefined;
  readonly protocol?: string | undefined;
  readonly appProtocol?: string | undefined;
}

export interface EndpointSlice extends KubeObject {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints?: readonly Endpoint[] | null | undefined;
  readonly ports?: readonly EndpointPort[] | null | undefined;
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | undefined;
  readonly binaryData?: Readonly<Record<string, string>> | undefined;
  readonly immutable?: boolean | undefined;
}

/** Secret holds its values in base64. */
export interface Secret extends KubeObject {
  readonly type?: string | undefined;
  readonly data?: Readonly<Record<string, string>> | undefined;
  readonly stringData?: Readonly<Record<string, string>> | undefined;
  readonly immutable?: boolean | undefined;
}

/** ServiceAccount is an account of the cluster for programs. */
export interface ServiceAccount extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name?: string }[] | undefined;
  readonly automountServiceAccountToken?: boolean | undefined;
}

/** Lease times have microseconds: `2026-11-25T01:02:03.000000Z`. */
export interface Lease extends KubeObject {
  readonly spec?:
    | {
        readonly holderIdentity?: string | undefined;
        readonly leaseDurationSeconds?: number | undefined;
        readonly acquireTime?: string | undefined;
        readonly renewTime?: string | undefined;
        readonly leaseTransitions?: number | undefined;
        readonly [key: string]: unknown;
      }
    | undefined;
}

/** KubeEvent is an Event of `events.k8s.io/v1`. */
export interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly series?: { readonly count: number; readonly lastObservedTime: string } | undefined;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly regarding?: ObjectReference | undefined;
  readonly related?: ObjectReference | undefined;
  readonly note?: string | undefined;
  readonly type: 'Normal' | 'Warning';
}

export interface Deployment extends KubeObject {
  readonly spec: {
    readonly replicas?: number | undefined;
    readonly selector: LabelSelector;
    readonly template: PodTemplateSpec;
    readonly [key: string]: unknown;
  };
  readonly status?:
    | {
        readonly observedGeneration?: number | undefined;
        readonly replicas?: number | undefined;
        readonly readyReplicas?: number | undefined;
        readonly updatedReplicas?: number | undefined;
        readonly availableReplicas?: number | undefined;
        readonly conditions?: readonly StatusCondition[] | undefined;
        readonly [key: string]: unknown;
      }
    | undefined;
}

export interface DaemonSet extends KubeObject {
  readonly spec: {
    readonly selector: LabelSelector;
    readonly template: PodTemplateSpec;
    readonly [key: string]: unknown;
  };
  readonly status?:
    | {
        readonly observedGeneration?: number | undefined;
        readonly desiredNumberScheduled?: number | undefined;
        readonly currentNumberScheduled?: number | undefined;
        readonly numberReady?: number | undefined;
        readonly updatedNumberScheduled?: number | undefined;
        readonly numberAvailable?: number | undefined;
        readonly [key: string]: unknown;
      }
    | undefined;
}

export interface ResourceQuota extends KubeObject {
  readonly spec?:
    | { readonly hard?: Readonly<Record<string, string>> | undefined; readonly [key: string]: unknown }
    | undefined;
  readonly status?:
    | {
        readonly hard?: Readonly<Record<string, string>> | undefined;
        readonly used?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
}

export interface PolicyRule {
  readonly apiGroups?: readonly string[] | undefined;
  readonly resources?: readonly string[] | undefined;
  readonly resourceNames?: readonly string[] | undefined;
  readonly nonResourceURLs?: readonly string[] | undefined;
  readonly verbs: readonly string[];
}

/** Role is a Role or ClusterRole. */
export interface Role extends KubeObject {
  readonly rules?: readonly PolicyRule[] | null | undefined;
}

/** RoleBinding is a RoleBinding or ClusterRoleBinding. */
export interface RoleBinding extends KubeObject {
  readonly roleRef: { readonly apiGroup: string; readonly kind: string; readonly name: string };
  readonly subjects?:
    | readonly {
        readonly kind: string;
        readonly name: string;
        readonly namespace?: string;
        readonly apiGroup?: string;
      }[]
    | undefined;
}

export interface TokenReview extends KubeObject {
  readonly spec: { readonly token: string; readonly audiences?: readonly string[] | undefined };
  readonly status?:
    | {
        readonly authenticated?: boolean | undefined;
        readonly error?: string | undefined;
        readonly user?:
          | {
              readonly username?: string;
              readonly uid?: string;
              readonly groups?: readonly string[];
              readonly extra?: Readonly<Record<string, readonly string[]>>;
            }
          | undefined;
      }
    | undefined;
}

export interface SubjectAccessReview extends KubeObject {
  readonly spec: {
    readonly user?: string | undefined;
    readonly groups?: readonly string[] | undefined;
    readonly resourceAttributes?: Readonly<Record<string, string>> | undefined;
    readonly nonResourceAttributes?: { readonly path?: string; readonly verb?: string } | undefined;
    readonly [key: string]: unknown;
  };
  readonly status?:
    | { readonly allowed: boolean; readonly denied?: boolean; readonly reason?: string }
    | undefined;
}

/** Status is the API server's `v1/Status`: the body of errors and of ERROR watch events. */
export interface Status {
  readonly kind?: string | undefined;
  readonly code?: number | undefined;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  readonly details?: StatusDetails | undefined;
}

/** StatusDetails says what an error is about; `causes` names fields (422) or field managers (409 of server-side apply). */
export interface StatusDetails {
  readonly name?: string | undefined;
  readonly group?: string | undefined;
  readonly kind?: string | undefined;
  readonly uid?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
  readonly causes?:
    | readonly {
        readonly reason?: string | undefined;
        readonly message?: string | undefined;
        readonly field?: string | undefined;
      }[]
    | undefined;
}

/** keyOf is an object's key in caches and queues: `namespace/name`, or `name` when it is cluster-scoped. */
export const keyOf = (object: HasMetadata): string => keyFor(object.metadata.namespace, object.metadata.name);

/** keyFor builds the key of an object from its parts. */
export const keyFor = (namespace: string | undefined, name: string): string =>
  namespace ? `${namespace}/${name}` : name;

/** splitKey is the inverse of {@link keyFor}. */
export const splitKey = (key: string): { readonly namespace: string | undefined; readonly name: string } => {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
};
