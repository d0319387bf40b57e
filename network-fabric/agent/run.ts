/**
 * The agent: one on every node (DaemonSet), host network. It reads Fluvia's objects of its own cluster, brings the node's
 * tunnel, routes and nftables to what they say, and writes its own node's status. It holds no state of its own and no
 * credentials for other clusters; when it dies, what it made keeps working.
 *
 * What its pod needs (for the manifests):
 * - Pod: `hostNetwork: true`, `dnsPolicy: ClusterFirstWithHostNet`, tolerates everything, not on virtual nodes (node
 *   affinity: `fluvia.dev/virtual-node` DoesNotExist), `terminationGracePeriodSeconds: 10`, updateStrategy RollingUpdate.
 * - Container `agent` (`fluviad agent`): uid 0, capabilities drop ALL, add NET_ADMIN; allowPrivilegeEscalation false;
 *   readOnlyRootFilesystem true. Tools in the image's PATH: `nft`, `ip`, `bridge` (iproute2), `wg`.
 *   Mounts: emptyDir `wireguard` (medium Memory) at /var/run/wireguard; hostPath /proc/sys/net (type Directory) at
 *   /host/proc/sys/net (runc refuses mounts below /proc); emptyDir `run` (medium Memory) at /run/fluvia (iproute2, nft
 *   and wg write nothing else). hostPath /dev/net/tun isn't needed here.
 * - Container `wireguard` (`/bin/sh <image path of network-fabric/agent/wireguard-go.sh>`): uid 0, capabilities drop ALL,
 *   add NET_ADMIN; allowPrivilegeEscalation false; readOnlyRootFilesystem true. In its PATH: `wireguard-go`, `sleep`,
 *   `rm`. Mounts: the same emptyDir at /var/run/wireguard; hostPath /dev/net/tun (type CharDevice) at /dev/net/tun.
 *   On nodes whose kernel has WireGuard it idles.
 * - Env of `agent`: NODE_NAME (spec.nodeName); optional FLUVIA_SYSCTL_ROOT (default /host/proc/sys/net).
 * - The node forwards (net.ipv4.ip_forward=1, as every CNI needs); the agent doesn't change that, but says so.
 * - TCP 9447 on the node's address: the fence's yes/no port; open to this cluster's pods and nodes only (table `ip fluvia`).
 * - UDP open between nodes of the cluster: 8473; from peers' gateways: 51820 (both in NetworkConfig).
 *
 * RBAC (ClusterRole of the agent's ServiceAccount):
 * - fluvia.dev: networkconfigs, views, gateways, fabricnodes, offers: get, list, watch
 * - fluvia.dev: gateways/status, fabricnodes/status: patch
 * - fluvia.dev: gateways, fabricnodes: patch (only to take the finalizer `fluvia.dev/cleanup` off its own node's objects;
 *   an admission policy holds it to the objects named as the token's node claim)
 *
 * Uninstall: delete the NetworkConfig (or this node's FabricNode): the agent removes everything it made from the node and
 * then takes the finalizer off its FabricNode and Gateway. Keep agents running until no FabricNode is left (≤ 60 s).
 */
import { readFile } from 'node:fs/promises';
import { FINALIZERS, PORTS } from '../../api/labels.ts';
import { systemBootClock } from '../../runtime/boot-clock.ts';
import type { Clock } from '../../runtime/clock.ts';
import { execTool, type Exec } from '../../runtime/host/exec.ts';
import { createSysctl } from '../../runtime/host/sysctl.ts';
import type { WgDeviceState, WgPeerState } from '../../runtime/host/wg.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { isNotFound } from '../../runtime/kube/errors.ts';
import { hasFinalizer, isDeleting, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import type { ResourceRef } from '../../runtime/kube/resources.ts';
import type { HasMetadata } from '../../runtime/kube/types.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import type { HostState } from '../host-state.ts';
import { FABRIC_NODE, GATEWAY } from '../kinds.ts';
import { AGENT_FIELD_MANAGER, TUNNEL_DEVICE, VXLAN_DEVICE } from '../names.ts';
import { planHost } from '../plan-host.ts';
import { nodeNetworks } from '../plan-known-networks.ts';
import { planNode, type FabricObjects, type NodeFabric } from '../plan-node.ts';
import { announcedText, planWireguard } from '../plan-wireguard.ts';
import { createFenceResponder } from './fence-responder.ts';
import { createNodeFence } from './fence.ts';
import { createHost } from './host.ts';
import { followObjects } from './objects.ts';
import type { ProbeResult } from './probe.ts';
import { createProbes } from './probes.ts';
import { fabricNodeStatus, gatewayStatus, readyCondition, urgentText } from './report.ts';

export interface AgentOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Where the host's /proc/sys/net may be written; default: FLUVIA_SYSCTL_ROOT or /host/proc/sys/net. */
  readonly sysctlRoot?: string | undefined;
  /** Shared with the container of wireguard-go; `wg` finds its socket only here. */
  readonly wireguardDir?: string | undefined;
  readonly exec?: Exec | undefined;
}

/** Everything is looked at again after this time, so that drift is repaired. */
const RESYNC_MS = 30_000;
const HEARTBEAT_MS = 10_000;
const PROBE_MS = 2_000;
/** How often it is seen whether an ask of the fence is due. */
const FENCE_MS = 250;
/** Changes that come together are applied together. */
const COALESCE_MS = 50;
const RETRY_MS = { first: 1_000, most: 30_000 };

/** The tunnel's index changes when wireguard-go was started anew. */
const tunnelIndex = (): Promise<string> =>
  readFile(`/sys/class/net/${TUNNEL_DEVICE}/ifindex`, 'utf8').catch(() => '');

/** runAgent keeps the node as its objects say until `signal` aborts. It leaves everything in place when it ends. */
export const runAgent = async (options: AgentOptions, signal: AbortSignal): Promise<void> => {
  const { nodeName, client, clock, log, metrics } = options;
  const sysctl = createSysctl(
    options.sysctlRoot ?? process.env['FLUVIA_SYSCTL_ROOT'] ?? '/host/proc/sys/net',
  );
  const host = createHost({
    exec: options.exec ?? execTool,
    clock,
    sysctl,
    wireguardDir: options.wireguardDir ?? process.env['FLUVIA_WIREGUARD_DIR'] ?? '/var/run/wireguard',
  });
  const probes = createProbes(clock, log);
  const fence = createNodeFence(systemBootClock);
  const responder = createFenceResponder(fence, PORTS.fence, (err) =>
    log.warn('the fence can not be asked on this node', { err }),
  );
  const applied = metrics.counter('fluvia_agent_actions_total', 'Steps done on the node, by kind.');
  const failures = metrics.counter('fluvia_agent_failures_total', 'Rounds that failed.');

  let wake: (() => void) | undefined;
  let isDirty = true;
  const trigger = (): void => {
    isDirty = true;
    wake?.();
  };
  const objects = followObjects(options, trigger, signal);

  // What the last round saw and did; read by the reports.
  let state: HostState | undefined;
  let node: NodeFabric | undefined;
  let failure: unknown;
  let isForwarding = true;
  let acknowledged: ReadonlyMap<string, number> | undefined;
  let networks: readonly string[] | undefined;
  let device: WgDeviceState | undefined;
  let lastUrgent = '';
  let index = '';
  const announced = new Map<string, string>();

  const tunnelGauge = (name: string, help: string, of: (peer: WgPeerState) => number): void => {
    metrics.gaugeFrom(name, help, () =>
      (node?.tunnel?.peers ?? []).flatMap(({ peer, publicKey }) => {
        const found = device?.peers.find((item) => item.publicKey === publicKey);
        return found === undefined ? [] : [[of(found), { peer }] as const];
      }),
    );
  };
  tunnelGauge(
    'fluvia_tunnel_received_bytes',
    'Bytes from the peer, at the last heartbeat.',
    (peer) => peer.rxBytes,
  );
  tunnelGauge(
    'fluvia_tunnel_sent_bytes',
    'Bytes to the peer, at the last heartbeat.',
    (peer) => peer.txBytes,
  );
  tunnelGauge(
    'fluvia_tunnel_handshake_timestamp_seconds',
    'Time of the last handshake since the epoch; 0 for none.',
    (peer) => peer.latestHandshake,
  );
  const probeGauge = (name: string, help: string, of: (probe: ProbeResult) => number | undefined): void => {
    metrics.gaugeFrom(name, help, () =>
      (node?.tunnel?.peers ?? []).flatMap(({ peer }) => {
        const probe = probes.result(peer);
        const value = probe === undefined ? undefined : of(probe);
        return value === undefined ? [] : [[value, { peer }] as const];
      }),
    );
  };
  probeGauge(
    'fluvia_tunnel_rtt_milliseconds',
    'Round trip to the peer in the tunnel.',
    (probe) => probe.rttMilliseconds,
  );
  probeGauge('fluvia_tunnel_loss_percent', 'Probes lost of the last 15.', (probe) => probe.lossPercent);

  const memory = () => ({ announced, nowSeconds: clock.now().getTime() / 1000 });

  /** One round; `objects` are those that were there when it began, and only they are acknowledged. */
  const reconcile = async (seen: FabricObjects): Promise<void> => {
    node = planNode(seen, nodeName);
    const before = await host.observe();
    const actions = planHost(before, node, memory());
    if (actions.length > 0) {
      log.info('changing the node', { actions: actions.map((action) => action.kind) });
      for (const action of actions) applied.inc({ kind: action.kind });
      await host.apply(actions);
    }
    state = actions.length > 0 ? await host.observe() : before;
    responder.serve(node?.nodeAddress);
    for (const peer of node?.tunnel?.peers ?? []) announced.set(peer.publicKey, announcedText(peer));
    acknowledged = new Map(
      node === undefined
        ? []
        : seen.offers.map((offer) => [offer.metadata.name, offer.metadata.generation ?? 0]),
    );
    networks = nodeNetworks(await host.destinations(), [
      ...(node?.podCIDRs ?? []),
      ...(seen.config?.spec.serviceCIDRs ?? []),
    ]);
    index = await tunnelIndex();
    probes.serve(node?.tunnel === undefined ? undefined : node.externalAddress);
  };

  const release = async (resource: ResourceRef, object: HasMetadata | undefined): Promise<void> => {
    if (object !== undefined && isDeleting(object) && hasFinalizer(object, FINALIZERS.cleanup)) {
      await removeFinalizer(client, resource, object, FINALIZERS.cleanup, { signal });
      log.info('cleaned up', { kind: resource.kind });
    }
  };

  const applyStatus = async (resource: ResourceRef, status: object): Promise<void> => {
    const manifest = { metadata: { name: nodeName }, status };
    const options = { fieldManager: AGENT_FIELD_MANAGER, subresource: 'status', force: true, signal };
    try {
      await client.apply(resource, manifest, options);
    } catch (error) {
      // Gone meanwhile: the informer will say so.
      if (!isNotFound(error)) throw error;
    }
  };

  const reportNode = async (): Promise<void> => {
    const object = objects.fabricNode(nodeName);
    if (object === undefined) return;
    const status = fabricNodeStatus({
      ready: readyCondition(failure, isForwarding),
      // Before this process has seen the node, what an earlier one said still holds: others send by it.
      vxlanMAC:
        state === undefined
          ? object.status?.vxlanMAC
          : state.links.find((link) => link.name === VXLAN_DEVICE)?.mac,
      networks: networks ?? object.status?.networks,
      fenceAsk: fence.ask() ?? object.status?.fenceAsk,
      acknowledged: acknowledged ?? new Map(Object.entries(object.status?.acknowledgedOffers ?? {})),
      previous: object.status?.conditions,
      now: clock.now().toISOString(),
    });
    await applyStatus(FABRIC_NODE, status);
  };

  /** Writes the Gateway's status with a heartbeat, or at once when something that others wait for changed. */
  const reportGateway = async (isHeartbeat: boolean): Promise<void> => {
    const gateway = objects.gateway(nodeName);
    if (gateway === undefined || node?.tunnel === undefined || isDeleting(gateway)) return;
    // Asking wg is a process: between heartbeats only while a handshake is awaited.
    const isWaiting = node.tunnel.peers.some(
      ({ publicKey }) =>
        !device?.peers.some((item) => item.publicKey === publicKey && item.latestHandshake > 0),
    );
    if (isHeartbeat || isWaiting) device = await host.wireguard().catch(() => undefined);
    if (planWireguard(device, node.tunnel, memory()) !== undefined) trigger();
    const status = gatewayStatus({
      gateway,
      device,
      ready: readyCondition(failure, isForwarding),
      links: state?.links ?? [],
      probe: (peer) => probes.result(peer),
      now: clock.now().toISOString(),
    });
    if (!isHeartbeat && urgentText(status) === lastUrgent) return;
    await applyStatus(GATEWAY, status);
    lastUrgent = urgentText(status);
  };

  const tryTo = async (what: string, action: () => Promise<void>): Promise<void> => {
    try {
      await action();
    } catch (err) {
      if (!signal.aborted) log.warn(`${what} failed`, { err });
    }
  };

  const waitForWork = async (ms: number): Promise<void> => {
    if (isDirty || signal.aborted) return;
    const timer = new AbortController();
    wake = () => timer.abort();
    await clock.sleep(ms, AbortSignal.any([signal, timer.signal]));
    wake = undefined;
  };

  const keepNode = async (): Promise<void> => {
    let retryMs = RETRY_MS.first;
    while (!signal.aborted) {
      isDirty = false;
      const seen = objects.snapshot();
      try {
        await reconcile(seen);
        isForwarding = (await sysctl.read('ipv4/ip_forward')) !== '0';
        failure = undefined;
      } catch (error) {
        failure = error;
        failures.inc();
        log.error('the node could not be brought to what its objects say', { err: error });
      }
      const isClean =
        node !== undefined || (state !== undefined && planHost(state, undefined, memory()).length === 0);
      if (failure === undefined && isClean) {
        retryMs = RETRY_MS.first;
        await tryTo('taking the finalizer off', async () => {
          await release(
            GATEWAY,
            seen.gateways.find((item) => item.metadata.name === nodeName),
          );
          await release(
            FABRIC_NODE,
            seen.fabricNodes.find((item) => item.metadata.name === nodeName),
          );
        });
      }
      await tryTo('reporting the node', reportNode);
      await tryTo('reporting the gateway', () => reportGateway(true));
      await waitForWork(failure === undefined ? RESYNC_MS : retryMs);
      if (failure !== undefined) retryMs = Math.min(retryMs * 2, RETRY_MS.most);
      await clock.sleep(COALESCE_MS, signal);
    }
  };

  const keepReporting = async (): Promise<void> => {
    let lastBeat = clock.monotonicMs();
    while (!signal.aborted) {
      await clock.sleep(PROBE_MS, signal);
      if (signal.aborted) return;
      const isHeartbeat = clock.monotonicMs() - lastBeat >= HEARTBEAT_MS;
      if (node?.tunnel !== undefined) {
        probes.probe(node.tunnel.peers);
        if ((await tunnelIndex()) !== index) trigger();
      }
      if (isHeartbeat) {
        lastBeat = clock.monotonicMs();
        await tryTo('reporting the node', reportNode);
      }
      await tryTo('reporting the gateway', () => reportGateway(isHeartbeat));
    }
  };

  const keepFence = async (): Promise<void> => {
    const stop = objects.onFabricNode(nodeName, (object) => fence.hear(object));
    fence.hear(objects.fabricNode(nodeName));
    while (!signal.aborted) {
      // The note first, then the writing of it.
      if (fence.askIfDue()) await tryTo('asking for leases', reportNode);
      await clock.sleep(FENCE_MS, signal);
    }
    stop();
  };

  try {
    await objects.whenSynced(signal);
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  await Promise.all([keepNode(), keepReporting(), keepFence()]);
  probes.close();
  responder.close();
};
