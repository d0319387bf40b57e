import type { SHADOWS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import { VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { Container, EnvVar, Pod, PodSpec, Toleration, Volume } from '../../runtime/kube/types.ts';
import { isTokenVolume } from './plan-floatable.ts';

/** Fields of a PodSpec that travel. Everything else is home's own business or would widen what the pod may do. */
const TRAVELLING_FIELDS = [
  'restartPolicy',
  'terminationGracePeriodSeconds',
  'activeDeadlineSeconds',
  'dnsPolicy',
  'dnsConfig',
  'hostname',
  'subdomain',
  'setHostnameAsFQDN',
  'hostAliases',
  'securityContext',
  'shareProcessNamespace',
  'enableServiceLinks',
  'imagePullSecrets',
  'runtimeClassName',
  'os',
  'resources',
] as const satisfies readonly (keyof PodSpec | string)[];

const MAX_ANNOTATION_BYTES = 65_536;

/** A value that kubelet doesn't expand: `$(X)` in a field's value is text, in a literal it would be a reference. */
const literal = (value: string): string => value.replaceAll('$', '$$$$');

const fieldValue = (pod: Pod, path: string): string | undefined => {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (keyed !== null)
    return (keyed[1] === 'labels' ? metadata.labels : metadata.annotations)?.[keyed[2] ?? ''] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace ?? '';
    case 'metadata.uid':
      return metadata.uid ?? '';
    case 'spec.nodeName':
      return spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return spec.serviceAccountName ?? 'default';
    default:
      return undefined;
  }
};

const translateEnv = (pod: Pod, env: EnvVar): EnvVar => {
  const path = env.valueFrom?.fieldRef?.fieldPath;
  const value = path === undefined ? undefined : fieldValue(pod, path);
  return value === undefined ? env : { name: env.name, value: literal(value) };
};

const translateContainer = (pod: Pod, container: Container, gone: ReadonlySet<string>): Container => ({
  ...container,
  ...(container.env === undefined ? {} : { env: container.env.map((env) => translateEnv(pod, env)) }),
  ...(container.volumeMounts === undefined
    ? {}
    : { volumeMounts: container.volumeMounts.filter((mount) => !gone.has(mount.name)) }),
});

/** Tolerations of Fluvia's and of node conditions mean something at home only. */
const travels = (toleration: Toleration): boolean =>
  toleration.key !== undefined &&
  toleration.key !== '' &&
  toleration.key !== VIRTUAL_NODE_TAINT &&
  !toleration.key.startsWith('node.kubernetes.io/');

const cleanAnnotations = (
  annotations: Readonly<Record<string, string>> | undefined,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(annotations ?? {}).filter(
      ([key, value]) =>
        !key.startsWith('fluvia.dev/') &&
        !key.startsWith('kubernetes.io/config.') &&
        key !== 'kubectl.kubernetes.io/last-applied-configuration' &&
        value.length <= MAX_ANNOTATION_BYTES,
    ),
  );

const cleanLabels = (labels: Readonly<Record<string, string>> | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => !key.startsWith('fluvia.dev/')));

/** The PodSpec for the peer: only listed fields, no token of home's API, downward fields that are known as literals. */
export const translatePodSpec = (pod: Pod): Record<string, unknown> => {
  const { spec } = pod;
  const volumes = (spec.volumes ?? []).filter((volume: Volume) => !isTokenVolume(volume));
  const gone = new Set((spec.volumes ?? []).filter(isTokenVolume).map((volume) => volume.name));
  const containers = (list: readonly Container[]) => list.map((c) => translateContainer(pod, c, gone));
  const kept = Object.fromEntries(
    TRAVELLING_FIELDS.filter((field) => spec[field] !== undefined).map((field) => [field, spec[field]]),
  );
  const tolerations = (spec.tolerations ?? []).filter(travels);
  return {
    ...kept,
    containers: containers(spec.containers),
    ...(spec.initContainers === undefined ? {} : { initContainers: containers(spec.initContainers) }),
    ...(volumes.length === 0 ? {} : { volumes }),
    ...(tolerations.length === 0 ? {} : { tolerations }),
    automountServiceAccountToken: false,
  };
};

/** The item of SHADOWS for a pod that is bound to virtual node `node` of claim `claim`. */
export const translatePod = (pod: Pod, node: string, claim: string): ItemOf<typeof SHADOWS> => ({
  uid: pod.metadata.uid ?? '',
  node,
  claim,
  labels: cleanLabels(pod.metadata.labels),
  annotations: cleanAnnotations(pod.metadata.annotations),
  spec: translatePodSpec(pod),
  ...(pod.metadata.deletionTimestamp === undefined
    ? {}
    : { deletionGraceSeconds: Math.min(86_400, Math.max(0, pod.metadata.deletionGracePeriodSeconds ?? 30)) }),
});

/** Names of ConfigMaps and Secrets that a pod refers to. */
export interface ConfigReferences {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
}

interface ProjectedSource {
  readonly configMap?: { readonly name?: string };
  readonly secret?: { readonly name?: string };
}

/** Every namespace has its own; the API server reverts foreign ones. */
const ROOT_CA = 'kube-root-ca.crt';

/** What must be at the peer before the pod can start there. */
export const configReferences = (spec: PodSpec): ConfigReferences => {
  const configMaps = new Set<string | undefined>();
  const secrets = new Set<string | undefined>();
  for (const volume of (spec.volumes ?? []).filter((v) => !isTokenVolume(v))) {
    configMaps.add(volume.configMap?.name);
    secrets.add(volume.secret?.secretName);
    for (const source of (volume.projected?.sources ?? []) as readonly ProjectedSource[]) {
      configMaps.add(source.configMap?.name);
      secrets.add(source.secret?.name);
    }
  }
  for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
    for (const { valueFrom } of container.env ?? []) {
      configMaps.add(valueFrom?.configMapKeyRef?.name);
      secrets.add(valueFrom?.secretKeyRef?.name);
    }
    for (const source of container.envFrom ?? []) {
      configMaps.add(source.configMapRef?.name);
      secrets.add(source.secretRef?.name);
    }
  }
  for (const { name } of spec.imagePullSecrets ?? []) secrets.add(name);
  configMaps.delete(ROOT_CA);
  const named = (set: Set<string | undefined>) =>
    new Set([...set].filter((name): name is string => name !== undefined && name !== ''));
  return { configMaps: named(configMaps), secrets: named(secrets) };
};
