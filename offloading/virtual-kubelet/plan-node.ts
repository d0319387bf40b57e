import { isConditionTrue } from '../../api/conditions.ts';
import { LABELS, PORTS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { parseResources } from '../../api/quantity.ts';
import type { Claim } from '../../api/v1alpha1/claim.ts';
import type { Peer } from '../../api/v1alpha1/peer.ts';
import type { VirtualNode } from '../../api/v1alpha1/virtual-node.ts';
import type { Node, StatusCondition, Taint } from '../../runtime/kube/types.ts';

/** What the Node of a virtual node is made from. */
export interface NodeWorld {
  readonly virtualNode: VirtualNode;
  readonly claim: Claim | undefined;
  readonly peer: Peer;
  /** `unsure` leaves Ready as it is. */
  readonly link: 'up' | 'unsure' | 'lost';
  /** Address and port of the kubelet API: the leader's pod. */
  readonly podIP: string;
  readonly port: number;
  readonly existing: Node | undefined;
  /** RFC 3339. */
  readonly now: string;
}

/** Desired metadata and spec; `spec.taints` only has ours. */
export interface DesiredNode {
  readonly labels: Readonly<Record<string, string>>;
  readonly providerID: string;
  readonly taint: Taint;
  readonly unschedulable: boolean;
}

/** What goes into `status`; other writers' conditions are not in it. */
export interface DesiredNodeStatus {
  readonly capacity: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly conditions: readonly StatusCondition[];
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly daemonEndpoints: { readonly kubeletEndpoint: { readonly Port: number } };
  readonly nodeInfo: Readonly<Record<string, string>>;
}

/** Pods of a node whose grant doesn't limit them: the kubelet's default. */
const DEFAULT_PODS = '110';
const MAX_LABEL = 63;

/** Labels that only Fluvia may set on a virtual Node, whatever people say. */
const isReserved = (key: string): boolean =>
  key.startsWith('fluvia.dev/') ||
  key.startsWith('node-role.kubernetes.io/') ||
  key.startsWith('node.kubernetes.io/exclude-') ||
  key === 'kubernetes.io/hostname';

const allowed = (labels: Readonly<Record<string, string>> | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => !isReserved(key)));

const only = (
  labels: Readonly<Record<string, string>> | undefined,
  keys: readonly string[],
): Record<string, string> =>
  Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => keys.includes(key)));

const ZONE = 'topology.kubernetes.io/zone';
const REGION = 'topology.kubernetes.io/region';

/**
 * Metadata and spec of the Node. Its labels are home's: of the provider come only what it is (os, arch) and where (zone,
 * region, unless home says), since with any other label it would draw pods that home pinned to nodes of its own. No
 * podCIDR: a controller-manager that allocates node CIDRs refuses to start while a Node has one outside its range
 * (nodeipam, range_allocator.go), which would harm home more than one range does.
 */
export const planNodeSpec = ({ virtualNode, claim, peer }: NodeWorld): DesiredNode => {
  const terms = claim?.status?.terms;
  const { name } = virtualNode.metadata;
  return {
    labels: {
      ...allowed(virtualNode.spec.labels),
      'kubernetes.io/os': terms?.operatingSystems?.[0] ?? 'linux',
      'kubernetes.io/arch': terms?.architectures?.[0] ?? 'amd64',
      'kubernetes.io/hostname': name.slice(0, MAX_LABEL),
      ...(terms?.region === undefined ? {} : { [REGION]: terms.region }),
      // Always a zone: one Ready node without it switches off topology-aware routing for all Services.
      [ZONE]: terms?.zone ?? `fluvia-${peer.metadata.name}`.slice(0, MAX_LABEL),
      ...only(virtualNode.spec.labels, [ZONE, REGION]),
      'node.kubernetes.io/exclude-from-external-load-balancers': 'true',
      // Else lost peers count as a zone disruption and stop the eviction of real nodes' pods.
      'node.kubernetes.io/exclude-disruption': 'true',
      [LABELS.virtualNode]: 'true',
      [LABELS.peer]: peer.metadata.name,
    },
    providerID: `fluvia://${peer.spec.clusterID}/${virtualNode.spec.claim}`,
    taint: { key: VIRTUAL_NODE_TAINT, effect: 'NoSchedule' },
    unschedulable:
      virtualNode.spec.cordoned || peer.spec.cordoned || virtualNode.metadata.deletionTimestamp !== undefined,
  };
};

const condition = (
  world: NodeWorld,
  type: string,
  isTrue: boolean,
  reason: string,
  message: string,
): StatusCondition => {
  const old = world.existing?.status?.conditions?.find((c) => c.type === type);
  const status = isTrue ? 'True' : 'False';
  const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? world.now) : world.now;
  return { type, status, reason, message, lastHeartbeatTime: world.now, lastTransitionTime };
};

/** Whether the virtual node can run pods: the link is up and the claim granted. */
export const planReady = (world: NodeWorld): StatusCondition => {
  const { peer, claim } = world;
  const old = world.existing?.status?.conditions?.find((c) => c.type === 'Ready');
  if (!isConditionTrue(claim?.status?.conditions, 'Granted')) {
    return condition(
      world,
      'Ready',
      false,
      'NotGranted',
      `claim ${world.virtualNode.spec.claim} is not granted`,
    );
  }
  if (world.link === 'lost') {
    return condition(world, 'Ready', false, 'PeerUnreachable', `peer ${peer.metadata.name} does not answer`);
  }
  // Only this controller judges; what the controller-manager made Unknown while no leader lived is judged anew.
  if (world.link === 'unsure' && old?.status !== 'True') {
    return condition(
      world,
      'Ready',
      false,
      'PeerConnecting',
      `no answer from peer ${peer.metadata.name} yet`,
    );
  }
  return condition(world, 'Ready', true, 'PeerReady', `peer ${peer.metadata.name} answers`);
};

/** The Node's status. */
export const planNodeStatus = (world: NodeWorld): DesiredNodeStatus => {
  const { claim, peer } = world;
  const granted = claim?.status?.granted ?? {};
  const capacity = { ...granted, pods: granted['pods'] ?? DEFAULT_PODS };
  const terms = claim?.status?.terms;
  const networkReady = isConditionTrue(peer.status?.conditions, 'NetworkReady');
  const fine = (type: string, reason: string) =>
    condition(world, type, false, reason, 'looked after by the provider');
  return {
    capacity,
    allocatable: capacity,
    conditions: [
      planReady(world),
      fine('MemoryPressure', 'ProviderHasSufficientMemory'),
      fine('DiskPressure', 'ProviderHasNoDiskPressure'),
      fine('PIDPressure', 'ProviderHasSufficientPID'),
      networkReady
        ? condition(world, 'NetworkUnavailable', false, 'TunnelReady', 'pods there are reachable')
        : condition(
            world,
            'NetworkUnavailable',
            true,
            'TunnelNotReady',
            `the tunnel to ${peer.metadata.name} is not ready`,
          ),
    ],
    // Only InternalIP: the API server prefers Hostname where there is one.
    addresses: [{ type: 'InternalIP', address: world.podIP }],
    daemonEndpoints: { kubeletEndpoint: { Port: world.port } },
    nodeInfo: {
      architecture: terms?.architectures?.[0] ?? 'amd64',
      operatingSystem: terms?.operatingSystems?.[0] ?? 'linux',
      kubeletVersion: terms?.kubeletVersion ?? '',
      containerRuntimeVersion: 'fluvia://0.1.0',
      osImage: 'Fluvia virtual node',
      kernelVersion: '',
      kubeProxyVersion: '',
      machineID: '',
      systemUUID: '',
      bootID: '',
    },
  };
};

/** The lowest port from `PORTS.kubeletBase` that no virtual node holds. */
export const freePort = (taken: Iterable<number | undefined>): number => {
  const used = new Set(taken);
  let port: number = PORTS.kubeletBase;
  while (used.has(port)) port += 1;
  return port;
};

const HEARTBEAT_MS = 300_000;

const withoutHeartbeat = (c: StatusCondition | undefined): unknown =>
  c && [c.status, c.reason, c.message, c.lastTransitionTime];

/** Whether the Node's status must be written: it differs, or the last heartbeat is older than five minutes. */
export const isStatusStale = (existing: Node, desired: DesiredNodeStatus, now: number): boolean => {
  const has = existing.status;
  const same = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);
  if (!sameAmounts(has?.capacity, desired.capacity)) return true;
  if (!sameAmounts(has?.allocatable, desired.allocatable)) return true;
  if (!same(has?.addresses, desired.addresses) || !same(has?.daemonEndpoints, desired.daemonEndpoints))
    return true;
  if (Object.entries(desired.nodeInfo).some(([key, value]) => (has?.nodeInfo?.[key] ?? '') !== value))
    return true;
  return desired.conditions.some((wanted) => {
    const old = has?.conditions?.find((c) => c.type === wanted.type);
    const age = now - Date.parse(old?.lastHeartbeatTime ?? '');
    return !same(withoutHeartbeat(old), withoutHeartbeat(wanted)) || !(age < HEARTBEAT_MS);
  });
};

/** The API server rewrites quantities into its own canonical text, so amounts are compared. */
const sameAmounts = (
  a: Readonly<Record<string, string>> | undefined,
  b: Readonly<Record<string, string>>,
): boolean => canonical(parseResources(a)) === canonical(parseResources(b));

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
