/** Shapes of pods, re-exported by `types.ts`. */
import type { KubeObject, StatusCondition } from './types.ts';

export interface Taint {
  readonly key: string;
  readonly value?: string | undefined;
  readonly effect: string;
  readonly timeAdded?: string | undefined;
}

export interface Toleration {
  readonly key?: string | undefined;
  readonly operator?: string | undefined;
  readonly value?: string | undefined;
  readonly effect?: string | undefined;
  readonly tolerationSeconds?: number | undefined;
}

export interface ResourceRequirements {
  readonly requests?: Readonly<Record<string, string>> | undefined;
  readonly limits?: Readonly<Record<string, string>> | undefined;
  readonly [key: string]: unknown;
}

export interface ContainerPort {
  readonly name?: string | undefined;
  readonly containerPort: number;
  readonly hostPort?: number | undefined;
  readonly protocol?: string | undefined;
}

export interface EnvVar {
  readonly name: string;
  readonly value?: string | undefined;
  readonly valueFrom?:
    | {
        readonly configMapKeyRef?:
          | { readonly name?: string; readonly key: string; readonly optional?: boolean }
          | undefined;
        readonly secretKeyRef?:
          | { readonly name?: string; readonly key: string; readonly optional?: boolean }
          | undefined;
        readonly fieldRef?: { readonly apiVersion?: string; readonly fieldPath: string } | undefined;
        readonly [key: string]: unknown;
      }
    | undefined;
}

export interface EnvFromSource {
  readonly prefix?: string | undefined;
  readonly configMapRef?: { readonly name?: string; readonly optional?: boolean } | undefined;
  readonly secretRef?: { readonly name?: string; readonly optional?: boolean } | undefined;
}

export interface Container {
  readonly name: string;
  readonly image?: string | undefined;
  readonly command?: readonly string[] | undefined;
  readonly args?: readonly string[] | undefined;
  readonly env?: readonly EnvVar[] | undefined;
  readonly envFrom?: readonly EnvFromSource[] | undefined;
  readonly ports?: readonly ContainerPort[] | undefined;
  readonly resources?: ResourceRequirements | undefined;
  readonly volumeMounts?:
    | readonly { readonly name: string; readonly mountPath: string; readonly [key: string]: unknown }[]
    | undefined;
  readonly securityContext?: Readonly<Record<string, unknown>> | undefined;
  readonly restartPolicy?: string | undefined;
  readonly [key: string]: unknown;
}

/** Volume is a pod's volume; which source it has is told by which key is set. */
export interface Volume {
  readonly name: string;
  readonly configMap?:
    | { readonly name?: string; readonly optional?: boolean; readonly [key: string]: unknown }
    | undefined;
  readonly secret?:
    | { readonly secretName?: string; readonly optional?: boolean; readonly [key: string]: unknown }
    | undefined;
  readonly projected?:
    | { readonly sources?: readonly Readonly<Record<string, unknown>>[]; readonly [key: string]: unknown }
    | undefined;
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean } | undefined;
  readonly emptyDir?: Readonly<Record<string, unknown>> | undefined;
  readonly hostPath?: { readonly path: string; readonly type?: string } | undefined;
  readonly [key: string]: unknown;
}

export interface NodeSelectorRequirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | undefined;
}

export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly NodeSelectorRequirement[] | undefined;
  readonly matchFields?: readonly NodeSelectorRequirement[] | undefined;
}

export interface Affinity {
  readonly nodeAffinity?:
    | {
        readonly requiredDuringSchedulingIgnoredDuringExecution?:
          | { readonly nodeSelectorTerms: readonly NodeSelectorTerm[] }
          | undefined;
        readonly preferredDuringSchedulingIgnoredDuringExecution?:
          | readonly { readonly weight: number; readonly preference: NodeSelectorTerm }[]
          | undefined;
      }
    | undefined;
  readonly podAffinity?: Readonly<Record<string, unknown>> | undefined;
  readonly podAntiAffinity?: Readonly<Record<string, unknown>> | undefined;
}

export interface PodSpec {
  readonly nodeName?: string | undefined;
  readonly nodeSelector?: Readonly<Record<string, string>> | undefined;
  readonly affinity?: Affinity | undefined;
  readonly tolerations?: readonly Toleration[] | undefined;
  readonly schedulingGates?: readonly { readonly name: string }[] | undefined;
  readonly schedulerName?: string | undefined;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[] | undefined;
  readonly ephemeralContainers?: readonly Container[] | undefined;
  readonly volumes?: readonly Volume[] | undefined;
  readonly imagePullSecrets?: readonly { readonly name?: string }[] | undefined;
  readonly serviceAccountName?: string | undefined;
  readonly automountServiceAccountToken?: boolean | undefined;
  readonly hostNetwork?: boolean | undefined;
  readonly hostPID?: boolean | undefined;
  readonly hostIPC?: boolean | undefined;
  readonly hostname?: string | undefined;
  readonly subdomain?: string | undefined;
  readonly dnsPolicy?: string | undefined;
  readonly dnsConfig?: Readonly<Record<string, unknown>> | undefined;
  readonly hostAliases?:
    | readonly { readonly ip: string; readonly hostnames?: readonly string[] }[]
    | undefined;
  readonly restartPolicy?: string | undefined;
  readonly terminationGracePeriodSeconds?: number | undefined;
  readonly activeDeadlineSeconds?: number | undefined;
  readonly priorityClassName?: string | undefined;
  readonly runtimeClassName?: string | undefined;
  readonly securityContext?: Readonly<Record<string, unknown>> | undefined;
  readonly overhead?: Readonly<Record<string, string>> | undefined;
  readonly [key: string]: unknown;
}

export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string } | undefined;
  readonly running?: { readonly startedAt?: string } | undefined;
  readonly terminated?:
    | {
        readonly exitCode: number;
        readonly reason?: string;
        readonly message?: string;
        readonly startedAt?: string;
        readonly finishedAt?: string;
        readonly [key: string]: unknown;
      }
    | undefined;
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly image: string;
  readonly imageID: string;
  readonly containerID?: string | undefined;
  readonly started?: boolean | undefined;
  readonly state?: ContainerState | undefined;
  readonly lastState?: ContainerState | undefined;
  readonly [key: string]: unknown;
}

export interface PodStatus {
  readonly phase?: string | undefined;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  readonly conditions?: readonly StatusCondition[] | undefined;
  readonly podIP?: string | undefined;
  readonly podIPs?: readonly { readonly ip: string }[] | undefined;
  readonly hostIP?: string | undefined;
  readonly hostIPs?: readonly { readonly ip: string }[] | undefined;
  readonly startTime?: string | undefined;
  readonly qosClass?: string | undefined;
  readonly nominatedNodeName?: string | undefined;
  readonly observedGeneration?: number | undefined;
  readonly containerStatuses?: readonly ContainerStatus[] | undefined;
  readonly initContainerStatuses?: readonly ContainerStatus[] | undefined;
  readonly ephemeralContainerStatuses?: readonly ContainerStatus[] | undefined;
  readonly [key: string]: unknown;
}

export interface Pod extends KubeObject {
  readonly spec: PodSpec;
  readonly status?: PodStatus | undefined;
}
