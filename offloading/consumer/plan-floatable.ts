import { controllerOf } from '../../api/owners.ts';
import type { Container, EnvVar, Pod, PodSpec, Volume } from '../../runtime/kube/types.ts';

/** Names of the claims of a pod whose volumes can be had at peers (see `plan-claims.ts`). */
export type FloatingClaims = ReadonlySet<string>;
const NO_CLAIMS: FloatingClaims = new Set();

/** Volumes that can be had anywhere; ConfigMaps and Secrets are reflected. */
const PORTABLE_VOLUMES = new Set(['emptyDir', 'configMap', 'secret', 'downwardAPI', 'projected', 'image']);
const PORTABLE_SOURCES = new Set(['configMap', 'secret', 'downwardAPI', 'serviceAccountToken']);

/** Environment fields that are known when the pod is translated, so that they can become literals. */
const LITERAL_FIELD =
  /^(?:metadata\.(?:name|namespace|uid|(?:labels|annotations)\['[^']+'\])|spec\.(?:nodeName|serviceAccountName))$/;
/** Fields of downward-API volumes that mean the same at the peer. */
const VOLUME_FIELD = /^metadata\.(?:name|labels|annotations|(?:labels|annotations)\['[^']+'\])$/;

/** The volume that the API server adds to every pod for its token; it is left out at the peer. */
export const isTokenVolume = (volume: Volume): boolean => volume.name.startsWith('kube-api-access-');

const containersOf = (spec: PodSpec): readonly Container[] => [
  ...spec.containers,
  ...(spec.initContainers ?? []),
];

interface DownwardItem {
  readonly fieldRef?: { readonly fieldPath: string };
}

const whyVolumeStays = (volume: Volume, claims: FloatingClaims): string | undefined => {
  if (isTokenVolume(volume)) return undefined;
  const source = Object.keys(volume).find(
    (key) => key !== 'name' && volume[key] !== undefined && volume[key] !== null,
  );
  if (source === 'hostPath') return `volume ${volume.name} is a directory of the node (hostPath)`;
  if (source === 'persistentVolumeClaim' && claims.has(volume.persistentVolumeClaim?.claimName ?? '')) {
    return undefined;
  }
  if (source === 'persistentVolumeClaim') return `volume ${volume.name} is in this cluster only`;
  if (source === 'ephemeral') {
    return `volume ${volume.name} is a claim of its own (ephemeral), whose volume is in this cluster only`;
  }
  if (source === undefined || !PORTABLE_VOLUMES.has(source)) {
    return `volume ${volume.name} is of a kind that only home has (${source ?? 'none'})`;
  }
  const downward = (volume['downwardAPI'] as { items?: readonly DownwardItem[] } | undefined)?.items ?? [];
  const projected = volume.projected?.sources ?? [];
  for (const part of projected) {
    const kind = Object.keys(part).find((key) => part[key] !== undefined && part[key] !== null) ?? '';
    if (kind === 'serviceAccountToken') {
      return `volume ${volume.name} asks for a token of home's API, which peers don't get`;
    }
    if (!PORTABLE_SOURCES.has(kind)) return `volume ${volume.name} has a source that only home has (${kind})`;
  }
  const items = [
    ...downward,
    ...projected.flatMap(
      (part) => (part['downwardAPI'] as { items?: readonly DownwardItem[] } | undefined)?.items ?? [],
    ),
  ];
  const odd = items.find(
    (item) => item.fieldRef !== undefined && !VOLUME_FIELD.test(item.fieldRef.fieldPath),
  );
  return odd === undefined
    ? undefined
    : `volume ${volume.name} shows ${odd.fieldRef?.fieldPath ?? ''}, which is another at a peer`;
};

const whyEnvStays = (container: Container, env: EnvVar): string | undefined => {
  const path = env.valueFrom?.fieldRef?.fieldPath;
  if (path !== undefined && !LITERAL_FIELD.test(path)) {
    return `container ${container.name} uses ${path}, which clusters see differently`;
  }
  return env.valueFrom?.['fileKeyRef'] === undefined
    ? undefined
    : `container ${container.name} reads its environment from a file`;
};

const whyContainerStays = (container: Container): string | undefined => {
  const security = container.securityContext;
  if (security?.['privileged'] === true) return `container ${container.name} is privileged`;
  if ((container.ports ?? []).some((port) => (port.hostPort ?? 0) > 0)) {
    return `container ${container.name} uses a port of its node (hostPort)`;
  }
  if (((container.resources?.['claims'] as unknown[] | undefined) ?? []).length > 0) {
    return `container ${container.name} uses a resource claim`;
  }
  for (const env of container.env ?? []) {
    const reason = whyEnvStays(container, env);
    if (reason !== undefined) return reason;
  }
  return undefined;
};

/**
 * Why this pod can't run at a peer; undefined when it can. The reason is shown to people. `claims` are those of its claims
 * whose volumes follow it.
 */
export const whyNotFloatable = (
  pod: Pick<Pod, 'metadata' | 'spec'>,
  claims: FloatingClaims = NO_CLAIMS,
): string | undefined => {
  const { spec } = pod;
  if (spec.hostNetwork === true) return 'it uses the network of its node (hostNetwork)';
  if (spec.hostPID === true || spec.hostIPC === true)
    return 'it shares a namespace of its node (hostPID, hostIPC)';
  if (((spec['resourceClaims'] as unknown[] | undefined) ?? []).length > 0) return 'it uses resource claims';
  if (controllerOf(pod)?.kind === 'DaemonSet') return 'it belongs to a DaemonSet';
  for (const volume of spec.volumes ?? []) {
    const reason = whyVolumeStays(volume, claims);
    if (reason !== undefined) return reason;
  }
  for (const container of containersOf(spec)) {
    const reason = whyContainerStays(container);
    if (reason !== undefined) return reason;
  }
  return undefined;
};
