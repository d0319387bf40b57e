import type { Condition } from '../api/conditions.ts';
import { parseQuantity } from '../api/quantity.ts';
import type { Claim } from '../api/v1alpha1/claim.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { Grant } from '../api/v1alpha1/grant.ts';
import type { NamespaceOffloading } from '../api/v1alpha1/namespace-offloading.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { View } from '../api/v1alpha1/view.ts';
import type { VirtualNode } from '../api/v1alpha1/virtual-node.ts';
import type { VolumeReplica } from '../api/v1alpha1/volume-replica.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../runtime/kube/storage-types.ts';
import type { Installation } from './installation.ts';
import type { Branch } from './output/tree.ts';
import { planVolumes, volumeLine, volumeProblems, type VolumeInfo } from './plan-volumes.ts';

/** What `info` and `status` read of a cluster. */
export interface InfoWorld {
  readonly installation: Installation;
  readonly identity?: { readonly clusterID: string; readonly pin: string };
  readonly kubernetes: string;
  readonly networkConfig?: NetworkConfig;
  readonly fabricNodes: readonly FabricNode[];
  readonly gateways: readonly Gateway[];
  readonly peers: readonly Peer[];
  readonly claims: readonly Claim[];
  readonly grants: readonly Grant[];
  readonly views: readonly View[];
  readonly virtualNodes: readonly VirtualNode[];
  readonly offloadings: readonly NamespaceOffloading[];
  readonly volumeClaims: readonly PersistentVolumeClaim[];
  /** Volumes of class fluvia. */
  readonly volumes: readonly PersistentVolume[];
  readonly volumeReplicas: readonly VolumeReplica[];
  /** Virtual node → pods of this cluster on it. */
  readonly podsByNode: ReadonlyMap<string, number>;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** An agent reports every 10 s; one that has been silent for so long is not well, whatever it said last. */
const SILENT_MS = 60_000;

/** A yes-or-no statement with what it is based on. */
export interface Health {
  readonly ok: boolean;
  readonly message: string;
}

/** One peer as `info` shows it. */
export interface PeerInfo {
  readonly name: string;
  readonly clusterID: string;
  readonly roles: readonly string[];
  readonly fingerprint?: string;
  readonly link: {
    readonly state: string;
    readonly since?: string;
    readonly rttMilliseconds?: number;
    readonly version?: string;
  };
  readonly ready: Health;
  readonly network: Health & {
    readonly handshakeAt?: string;
    readonly rttMilliseconds?: number;
    readonly rxBytes?: number;
    readonly txBytes?: number;
    readonly theirs: readonly { readonly real: string; readonly view: string }[];
    readonly ours: readonly { readonly real: string; readonly view: string }[];
  };
  readonly virtualNodes: readonly {
    readonly name: string;
    readonly ready: Health;
    readonly pods: number;
    readonly granted: Readonly<Record<string, string>>;
  }[];
  readonly given: readonly {
    readonly name: string;
    readonly resources: Readonly<Record<string, string>>;
    readonly used: Readonly<Record<string, string>>;
  }[];
}

/** Everything that `info` shows; the same data for people and programs. */
export interface Info {
  readonly cluster: {
    readonly name: string;
    readonly clusterID?: string;
    readonly kubernetes: string;
    readonly image: string;
  };
  readonly components: { readonly controllers: Health; readonly agents: Health };
  readonly network: Health & {
    readonly podCIDRs: readonly string[];
    readonly externalCIDR?: string;
    readonly gateway?: string;
    readonly wireguard?: string;
    readonly nodes: readonly { readonly name: string; readonly ready: Health }[];
  };
  readonly peers: readonly PeerInfo[];
  readonly namespaces: readonly {
    readonly name: string;
    readonly strategy: string;
    readonly ready: Health;
    readonly twins: readonly {
      readonly peer: string;
      readonly twin?: string;
      readonly ready: boolean;
      readonly message: string;
    }[];
  }[];
  readonly volumes: readonly VolumeInfo[];
  /** When it was read, RFC 3339. */
  readonly readAt: string;
}

const healthOf = (conditions: readonly Condition[] | undefined, type: string): Health => {
  const condition = conditions?.find((c) => c.type === type);
  return {
    ok: condition?.status === 'True',
    message: condition?.message ?? `nothing is said of ${type} yet`,
  };
};

const countHealth = (ready: number, wanted: number, noun: string): Health => ({
  ok: ready > 0 && ready >= wanted,
  message: `${ready} of ${wanted} ${noun} ready`,
});

const rangesOf = (
  ranges: View['spec']['theirs'] | undefined,
): readonly { readonly real: string; readonly view: string }[] =>
  (ranges ?? []).map(({ real, view }) => ({ real, view }));

const withoutUndefined = <T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };

const peerInfo = (world: InfoWorld, peer: Peer): PeerInfo => {
  const { name } = peer.metadata;
  const view = world.views.find((v) => v.spec.peer === name);
  const tunnel = world.gateways.flatMap((g) => g.status?.peers ?? []).find((p) => p.peer === name);
  const { status } = peer;
  return {
    name,
    clusterID: peer.spec.clusterID,
    roles: peer.spec.roles,
    ...(status?.fingerprint === undefined ? {} : { fingerprint: status.fingerprint }),
    link: withoutUndefined({
      state: status?.link?.state ?? 'Down',
      since: status?.link?.since,
      rttMilliseconds: status?.link?.rttMilliseconds,
      version: status?.link?.version,
    }) as PeerInfo['link'],
    ready: healthOf(status?.conditions, 'Ready'),
    network: {
      ...healthOf(status?.conditions, 'NetworkReady'),
      ...(withoutUndefined({
        handshakeAt: tunnel?.handshakeAt,
        rttMilliseconds: tunnel?.rttMilliseconds,
        rxBytes: tunnel?.rxBytes,
        txBytes: tunnel?.txBytes,
      }) as Partial<PeerInfo['network']>),
      theirs: rangesOf(view?.spec.theirs),
      ours: rangesOf(view?.spec.ours),
    },
    virtualNodes: world.virtualNodes
      .filter((node) => node.spec.peer === name)
      .map((node) => ({
        name: node.metadata.name,
        ready: healthOf(node.status?.conditions, 'Ready'),
        pods: world.podsByNode.get(node.metadata.name) ?? 0,
        granted: world.claims.find((c) => c.metadata.name === node.spec.claim)?.status?.granted ?? {},
      })),
    given: world.grants
      .filter((grant) => grant.spec.peer === name)
      .map((grant) => ({
        name: grant.metadata.name,
        resources: grant.spec.resources,
        used: grant.status?.used ?? {},
      })),
  };
};

const nodeHealth = (node: FabricNode, nowMs: number): Health => {
  const health = healthOf(node.status?.conditions, 'Ready');
  const heardMs = Date.parse(node.status?.heartbeatAt ?? '');
  return health.ok && nowMs - heardMs > SILENT_MS
    ? { ok: false, message: `its agent has said nothing since ${node.status?.heartbeatAt ?? ''}` }
    : health;
};

/** The data of `info`. Pure. */
export const planInfo = (world: InfoWorld): Info => {
  const { installation, networkConfig } = world;
  const gateway = networkConfig?.status?.gateway;
  const implementation = world.gateways.find((g) => g.metadata.name === gateway)?.status?.implementation;
  const byName = <T extends { readonly metadata: { readonly name: string } }>(
    items: readonly T[],
  ): readonly T[] => items.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return {
    cluster: {
      name: installation.clusterName,
      ...(world.identity === undefined ? {} : { clusterID: world.identity.clusterID }),
      kubernetes: world.kubernetes,
      image: installation.image,
    },
    components: {
      controllers: countHealth(installation.controllersReady, installation.controllers, 'controllers'),
      agents: countHealth(installation.agentsReady, installation.agents, 'agents'),
    },
    network: {
      ...healthOf(networkConfig?.status?.conditions, 'Ready'),
      podCIDRs: networkConfig?.spec.podCIDRs ?? [],
      ...(networkConfig === undefined ? {} : { externalCIDR: networkConfig.spec.externalCIDR }),
      ...(gateway === undefined ? {} : { gateway }),
      ...(implementation === undefined ? {} : { wireguard: implementation }),
      nodes: byName(world.fabricNodes).map((node) => ({
        name: node.metadata.name,
        ready: nodeHealth(node, world.nowMs),
      })),
    },
    peers: byName(world.peers).map((peer) => peerInfo(world, peer)),
    namespaces: world.offloadings
      .toSorted((a, b) => ((a.metadata.namespace ?? '') < (b.metadata.namespace ?? '') ? -1 : 1))
      .map((offloading) => ({
        name: offloading.metadata.namespace ?? '',
        strategy: offloading.spec.strategy,
        ready: healthOf(offloading.status?.conditions, 'Ready'),
        twins: (offloading.status?.peers ?? []).map(({ peer, twin, ready, message }) => ({
          peer,
          ...(twin === undefined ? {} : { twin }),
          ready,
          message,
        })),
      })),
    volumes: planVolumes(world.volumeClaims, world.volumes, world.volumeReplicas),
    readAt: new Date(world.nowMs).toISOString(),
  };
};

/** Everything in it that isn't as it should be, with where. */
export const problemsOf = (info: Info): readonly string[] => {
  const bad = (where: string, health: Health): readonly string[] =>
    health.ok ? [] : [`${where}: ${health.message}`];
  return [
    ...bad('controllers', info.components.controllers),
    ...bad('agents', info.components.agents),
    ...bad('network', info.network),
    ...info.network.nodes.flatMap((node) => bad(`node ${node.name}`, node.ready)),
    ...info.peers.flatMap((peer) => [
      ...(peer.link.state === 'Down' ? [`peer ${peer.name}: the link is down`] : []),
      ...bad(`peer ${peer.name}`, peer.ready),
      ...bad(`peer ${peer.name}, network`, peer.network),
      ...peer.virtualNodes.flatMap((node) => bad(`virtual node ${node.name}`, node.ready)),
    ]),
    ...info.namespaces.flatMap((namespace) => bad(`namespace ${namespace.name}`, namespace.ready)),
    ...info.volumes.flatMap(volumeProblems),
  ];
};

const formatAmount = (resource: string, text: string): string => {
  const value = parseQuantity(text);
  const isBytes = resource === 'memory' || resource.endsWith('storage');
  return isBytes ? `${(value / 2 ** 30).toFixed(1)} GiB` : String(Math.round(value * 10) / 10);
};

const amounts = (resources: Readonly<Record<string, string>>): string =>
  ['cpu', 'memory', 'pods']
    .flatMap((name) => {
      const text = resources[name];
      return text === undefined ? [] : [`${name} ${formatAmount(name, text)}`];
    })
    .join(', ') || 'nothing yet';

const mark = (health: Health): string => (health.ok ? '✓' : '✗');
const state = (title: string, health: Health): string =>
  `${mark(health)} ${title}${health.ok ? '' : `: ${health.message}`}`;
const ranges = (list: readonly { readonly real: string; readonly view: string }[]): string =>
  list.map(({ real, view }) => (real === view ? real : `${real} → ${view}`)).join(', ') || 'not known yet';

const peerBranch = (peer: PeerInfo): Branch => {
  const { link, network } = peer;
  const rtt = link.rttMilliseconds === undefined ? '' : `, RTT ${link.rttMilliseconds.toFixed(1)} ms`;
  return {
    title: `${state(peer.name, peer.ready)} (${peer.roles.join(' and ')})`,
    children: [
      `link ${link.state}${rtt}${peer.fingerprint === undefined ? '' : `, fingerprint ${peer.fingerprint}`}`,
      {
        title: state('network', network),
        children: [
          `they are seen here as: ${ranges(network.theirs)}`,
          `we are seen there as: ${ranges(network.ours)}`,
        ],
      },
      ...peer.virtualNodes.map(
        (node) =>
          `${state(`node ${node.name}`, node.ready)}, ${amounts(node.granted)}; ${node.pods} pods of ours there`,
      ),
      ...peer.given.map((grant) => `gives it ${amounts(grant.resources)}; used: ${amounts(grant.used)}`),
    ],
  };
};

const volumeBranch = (volume: VolumeInfo, readAt: string): Branch => {
  const problems = volumeProblems(volume);
  return {
    title: `${problems.length === 0 ? '✓' : '✗'} ${volume.claim}: ${volumeLine(volume, Date.parse(readAt))}`,
    children: problems,
  };
};

/** The tree that people see. */
export const infoTree = (info: Info): Branch => {
  const { cluster, components, network } = info;
  return {
    title: `${cluster.name} (Kubernetes ${cluster.kubernetes}, ${cluster.image}${cluster.clusterID === undefined ? '' : `, cluster ID ${cluster.clusterID}`})`,
    children: [
      `${mark(components.controllers)} ${components.controllers.message}`,
      `${mark(components.agents)} ${components.agents.message}`,
      {
        title: state('network', network),
        children: [
          `pods ${network.podCIDRs.join(', ')}; external ${network.externalCIDR ?? 'none'}`,
          `gateway ${network.gateway ?? 'none yet'}${network.wireguard === undefined ? '' : ` (WireGuard: ${network.wireguard})`}`,
          ...network.nodes
            .filter((node) => !node.ready.ok)
            .map((node) => state(`node ${node.name}`, node.ready)),
        ],
      },
      info.peers.length === 0 ? 'no peers' : { title: 'peers', children: info.peers.map(peerBranch) },
      info.namespaces.length === 0
        ? 'no open namespaces'
        : {
            title: 'open namespaces',
            children: info.namespaces.map((namespace) => ({
              title: `${state(namespace.name, namespace.ready)} (${namespace.strategy})`,
              children: namespace.twins.map(
                (twin) => `${twin.ready ? '✓' : '✗'} ${twin.peer}: ${twin.twin ?? twin.message}`,
              ),
            })),
          },
      ...(info.volumes.length === 0
        ? []
        : [{ title: 'volumes', children: info.volumes.map((one) => volumeBranch(one, info.readAt)) }]),
    ],
  };
};
