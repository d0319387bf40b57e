/** Makes the pod that this cluster runs of the PodSpec that a consumer asks for: only what the allow-list lets through. */
import { ANNOTATIONS, API_VERSION, FENCE_CONTAINER, LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { OwnerReference } from '../../api/define-kind.ts';
import type { ShadowPod } from '../../api/v1alpha1/shadow-pod.ts';
import { withNamesInTwin } from './plan-references.ts';
import { ForeignPodSpec } from './pod-schema.ts';
import { safeAnnotations, safeLabels } from './reflected-meta.ts';

/** Pod Security Standards. */
export type PodSecurityLevel = 'privileged' | 'baseline' | 'restricted';

export interface ForeignPod {
  readonly clusterID: string;
  readonly uid: string;
  /** Name of the node at home. */
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: Readonly<Record<string, unknown>>;
}

/** PodSpec as translated: what was allowed, and what is forced. */
export interface TranslatedPodSpec extends ForeignPodSpec {
  readonly hostNetwork: false;
  readonly hostPID: false;
  readonly hostIPC: false;
  readonly automountServiceAccountToken: false;
  readonly serviceAccountName: 'default';
  readonly enableServiceLinks: false;
  readonly affinity: Readonly<Record<string, unknown>>;
}

export interface TranslatedPod {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: TranslatedPodSpec;
}

export type PodPlan =
  | { readonly ok: true; readonly pod: TranslatedPod }
  | { readonly ok: false; readonly reason: string; readonly message: string };

type Container = ForeignPodSpec['containers'][number];
type SecurityContext = NonNullable<Container['securityContext']>;

/** Capabilities that the baseline standard lets a container add. */
const BASELINE_CAPABILITIES = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);

/** Sysctls that the baseline standard lets a pod set. */
const BASELINE_SYSCTLS = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_syncookies',
]);

/** Parts of a PodSpec without which the pod would be another one: never dropped silently. */
const NEVER_DROPPED = ['runtimeClassName', 'resourceClaims', 'ephemeralContainers'] as const;

const isPresent = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0);

/** What of a container goes beyond the baseline standard. */
const excessOf = (security: SecurityContext | undefined): string | undefined => {
  if (security === undefined) return undefined;
  if (security.privileged === true) return 'privileged';
  const added = security.capabilities?.add?.find((name) => !BASELINE_CAPABILITIES.has(name));
  if (added !== undefined) return `capability ${added.slice(0, 64)}`;
  if (security.seccompProfile?.type === 'Unconfined') return 'seccomp profile Unconfined';
  if (security.appArmorProfile?.type === 'Unconfined') return 'AppArmor profile Unconfined';
  if (security.procMount === 'Unmasked') return 'an unmasked /proc';
  return undefined;
};

const podExcess = (spec: ForeignPodSpec): string | undefined => {
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    const excess = excessOf(container.securityContext);
    if (excess !== undefined) return `container ${container.name} asks for ${excess}`;
  }
  const { securityContext } = spec;
  if (securityContext?.seccompProfile?.type === 'Unconfined')
    return 'the pod asks for seccomp profile Unconfined';
  if (securityContext?.appArmorProfile?.type === 'Unconfined')
    return 'the pod asks for AppArmor profile Unconfined';
  const sysctl = securityContext?.sysctls?.find(({ name }) => !BASELINE_SYSCTLS.has(name));
  if (sysctl !== undefined) return `the pod sets sysctl ${sysctl.name.slice(0, 64)}`;
  const hostPath = spec.volumes?.find((volume) => volume.hostPath !== undefined);
  return hostPath === undefined ? undefined : `volume ${hostPath.name} is a hostPath`;
};

/** Kinds of source that a raw volume names, to say why it can't be had. */
const sourcesOf = (raw: unknown): string =>
  typeof raw === 'object' && raw !== null
    ? Object.keys(raw)
        .filter((key) => key !== 'name')
        .map((key) => key.slice(0, 40))
        .slice(0, 3)
        .join(', ')
    : '';

const unknownVolume = (spec: ForeignPodSpec, raw: Readonly<Record<string, unknown>>): string | undefined => {
  const index = (spec.volumes ?? []).findIndex((volume) => Object.keys(volume).length < 2);
  if (index < 0) return undefined;
  const source = Array.isArray(raw['volumes']) ? sourcesOf(raw['volumes'][index]) : '';
  return `volume ${spec.volumes?.[index]?.name ?? ''} is of a kind that is not offered: ${source || 'none'}`;
};

/** A projected source of which nothing was allowed would be refused by the API server. */
const withoutEmptySources = (spec: ForeignPodSpec): ForeignPodSpec => ({
  ...spec,
  ...(spec.volumes === undefined
    ? {}
    : {
        volumes: spec.volumes.map((volume) =>
          volume.projected === undefined
            ? volume
            : {
                ...volume,
                projected: {
                  ...volume.projected,
                  sources: (volume.projected.sources ?? []).filter((one) => Object.keys(one).length > 0),
                },
              },
        ),
      }),
});

/** Never onto a node that stands for another cluster: a pod must not travel on. */
const OFF_VIRTUAL_NODES = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: VIRTUAL_NODE_TAINT, operator: 'DoesNotExist' }] }],
    },
  },
} as const;

const refused = (reason: string, message: string): PodPlan => ({
  ok: false,
  reason,
  message: message.slice(0, 1024),
});

/** Labels and annotations of the pod here. */
export const podMeta = (foreign: Omit<ForeignPod, 'spec'>): Omit<TranslatedPod, 'spec'> => ({
  labels: {
    ...safeLabels(foreign.labels),
    [LABELS.origin]: foreign.clusterID,
    [LABELS.reflected]: 'true',
  },
  annotations: {
    ...safeAnnotations(foreign.annotations),
    [ANNOTATIONS.originUID]: foreign.uid,
    [ANNOTATIONS.originNode]: foreign.node,
  },
});

/**
 * The pod for this cluster, or why it can't run here. Everything that isn't named in {@link ForeignPodSpec} is left out:
 * node name and selector, affinity, tolerations, priority, scheduler, service account, host namespaces, host ports.
 */
export const planPod = (foreign: ForeignPod, level: PodSecurityLevel): PodPlan => {
  const present = NEVER_DROPPED.find((field) => isPresent(foreign.spec[field]));
  if (present !== undefined) return refused('NotOffered', `${present} is not offered to peers`);
  const parsed = ForeignPodSpec.safeParse(foreign.spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = issue?.path.map((part) => String(part).slice(0, 40)).join('.') ?? '';
    return refused('InvalidSpec', `spec.${path}: ${issue?.message ?? 'not understood'}`);
  }
  const unknown = unknownVolume(parsed.data, foreign.spec);
  if (unknown !== undefined) return refused('NotOffered', unknown);
  const excess = level === 'privileged' ? undefined : podExcess(parsed.data);
  if (excess !== undefined) return refused('PodSecurity', `${excess}; this cluster enforces ${level}`);
  const allowed = withoutEmptySources(parsed.data);
  return {
    ok: true,
    pod: {
      ...podMeta(foreign),
      spec: {
        ...allowed,
        ...(allowed.dnsPolicy === 'ClusterFirstWithHostNet' ? { dnsPolicy: 'ClusterFirst' } : {}),
        hostNetwork: false,
        hostPID: false,
        hostIPC: false,
        automountServiceAccountToken: false,
        serviceAccountName: 'default',
        enableServiceLinks: false,
        affinity: OFF_VIRTUAL_NODES,
      },
    },
  };
};

/** A Pod to create. */
export interface PodManifest {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly ownerReferences: readonly OwnerReference[];
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

/**
 * Holds the pod, before its own init containers, until its node's agent says that the lease is live. The kubelet runs it
 * again with every new sandbox, so a node that rebooted doesn't start the pod unasked.
 */
const fenceContainer = (shadow: ShadowPod, image: string): Readonly<Record<string, unknown>> => ({
  name: FENCE_CONTAINER,
  image,
  imagePullPolicy: 'IfNotPresent',
  command: ['/bin/fluviad', 'fence-wait'],
  env: [
    { name: 'HOST_IP', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'status.hostIP' } } },
    { name: 'FLUVIA_HOME', value: shadow.spec.home.clusterID },
    { name: 'FLUVIA_POD', value: shadow.spec.home.uid },
  ],
  // Fit for the restricted standard, whatever the twin enforces.
  securityContext: {
    runAsNonRoot: true,
    runAsUser: 65532,
    runAsGroup: 65532,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  },
});

const withFence = (
  shadow: ShadowPod,
  spec: Readonly<Record<string, unknown>>,
  image: string | undefined,
): Readonly<Record<string, unknown>> => {
  if (shadow.spec.fence === undefined || image === undefined) return spec;
  const own: unknown = spec['initContainers'];
  return { ...spec, initContainers: [fenceContainer(shadow, image), ...(Array.isArray(own) ? own : [])] };
};

/**
 * The Pod that a ShadowPod keeps alive; it goes with it. `spec` is the ShadowPod's, understood; `image` is Fluvia's own, for
 * a pod that needs a lease.
 */
export const podManifest = (shadow: ShadowPod, spec: ForeignPodSpec, image?: string): PodManifest => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: shadow.metadata.name,
    namespace: shadow.metadata.namespace ?? '',
    labels: shadow.spec.pod.labels ?? {},
    annotations: shadow.spec.pod.annotations ?? {},
    ownerReferences: [
      {
        apiVersion: API_VERSION,
        kind: 'ShadowPod',
        name: shadow.metadata.name,
        uid: shadow.metadata.uid ?? '',
        controller: true,
      },
    ],
  },
  spec: withFence(shadow, { ...shadow.spec.pod.spec, ...withNamesInTwin(spec) }, image),
});

/** Names of the containers that the consumer's own spec has. */
export const containerNames = (spec: Readonly<Record<string, unknown>>): ReadonlySet<string> => {
  const names = [spec['initContainers'], spec['containers']]
    .filter((list) => Array.isArray(list))
    .flat()
    .map((one: unknown) => (typeof one === 'object' && one !== null && 'name' in one ? one.name : undefined));
  return new Set(names.filter((name) => typeof name === 'string'));
};

/** Restart policy of the pod that a ShadowPod keeps alive. */
export const restartPolicyOf = (shadow: ShadowPod): string => {
  const policy = shadow.spec.pod.spec['restartPolicy'];
  return typeof policy === 'string' ? policy : 'Always';
};
