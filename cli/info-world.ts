import { NAMES, SYSTEM_NAMESPACE } from '../api/labels.ts';
import { STORAGE_LABELS } from '../api/storage-names.ts';
import { fluviaRef } from '../deploy/manifests/refs.ts';
import { CONFIG_MAP, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD } from '../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../runtime/kube/storage-types.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { Cluster } from './context.ts';
import { requireInstallation } from './installation.ts';
import type { InfoWorld } from './plan-info.ts';

interface IdentityMap extends KubeObject {
  readonly data?: { readonly clusterID?: string; readonly pin?: string };
}

interface PlacedPod {
  readonly spec: { readonly nodeName?: string };
}

/** Reads what `info` and `status` show. Throws NOT_INSTALLED where there is nothing. */
export const gatherInfo = async (cluster: Cluster, signal: AbortSignal): Promise<InfoWorld> => {
  const { client } = cluster;
  const installation = await requireInstallation(cluster);
  const all = async <K extends keyof InfoWorld>(kind: string): Promise<InfoWorld[K]> =>
    (await client.list(fluviaRef(kind), { signal })).items as unknown as InfoWorld[K];
  const [peers, claims, grants, views, virtualNodes, offloadings, fabricNodes, gateways] = await Promise.all([
    all<'peers'>('Peer'),
    all<'claims'>('Claim'),
    all<'grants'>('Grant'),
    all<'views'>('View'),
    all<'virtualNodes'>('VirtualNode'),
    all<'offloadings'>('NamespaceOffloading'),
    all<'fabricNodes'>('FabricNode'),
    all<'gateways'>('Gateway'),
  ]);
  const [volumeReplicas, volumeClaims, volumes] = await Promise.all([
    all<'volumeReplicas'>('VolumeReplica'),
    client.list<PersistentVolumeClaim>(PERSISTENT_VOLUME_CLAIM, { signal }),
    client.list<PersistentVolume>(PERSISTENT_VOLUME, { labelSelector: STORAGE_LABELS.volume, signal }),
  ]);
  const [networkConfig, identity, counts] = await Promise.all([
    client.get(fluviaRef('NetworkConfig'), NAMES.networkConfig),
    client.get<IdentityMap>(CONFIG_MAP, NAMES.identitySecret, SYSTEM_NAMESPACE),
    Promise.all(
      virtualNodes.map(async ({ metadata }) => {
        const pods = await client.list<PlacedPod>(POD, {
          fieldSelector: `spec.nodeName=${metadata.name}`,
          signal,
        });
        return [metadata.name, pods.items.length] as const;
      }),
    ),
  ]);
  const { clusterID, pin } = identity?.data ?? {};
  return {
    installation,
    kubernetes: cluster.version,
    ...(clusterID === undefined || pin === undefined ? {} : { identity: { clusterID, pin } }),
    ...(networkConfig === undefined
      ? {}
      : { networkConfig: networkConfig as unknown as NonNullable<InfoWorld['networkConfig']> }),
    fabricNodes,
    gateways,
    peers,
    claims,
    grants,
    views,
    virtualNodes,
    offloadings,
    volumeClaims: volumeClaims.items,
    volumes: volumes.items,
    volumeReplicas,
    podsByNode: new Map(counts),
    nowMs: Date.now(),
  };
};
