/** `network.gateway`: picks the node that holds the tunnels, and writes its Gateway and the NetworkConfig's status. */
import { isConditionTrue, type ConditionInput } from '../api/conditions.ts';
import { FINALIZERS, LABELS, MANAGED_BY } from '../api/labels.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import { ensure, equalJson } from '../runtime/kube/apply.ts';
import type { Reconcile } from '../runtime/kube/controller.ts';
import { hasFinalizer, removeFinalizer } from '../runtime/kube/finalizers.ts';
import { GATEWAY, NETWORK_CONFIG } from './kinds.ts';
import { FIELD_MANAGER } from './names.ts';
import { applyCondition, removeObject, type NetworkContext } from './network-context.ts';
import { planGateway, type GatewayPeer } from './plan-gateway.ts';
import { planGatewayNode } from './plan-gateway-node.ts';

/** The controller's one key. */
export const GATEWAY_KEY = 'gateway';
/** A heartbeat grows old by itself. */
const JUDGE_MS = 10_000;

const chooseNode = (context: NetworkContext): string | undefined => {
  const { informers, deps } = context;
  return planGatewayNode({
    fabricNodes: informers.fabricNodes.list(),
    readyNodes: new Set(
      informers.nodes
        .list()
        .filter((node) => node.metadata.labels?.[LABELS.virtualNode] === undefined)
        .filter((node) => node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'))
        .map((node) => node.metadata.name),
    ),
    current: context.gateway()?.metadata.name,
    nowMs: deps.clock.now().getTime(),
  });
};

/** Entries of peers that exist but haven't spoken since this process started stay as they are. */
const planPeers = (context: NetworkContext, existing: readonly GatewayPeer[]): GatewayPeer[] => {
  const { informers } = context;
  const names = informers.peers.list().map((peer) => peer.metadata.name);
  const remotes = names.flatMap((peer) => {
    const network = context.remote(peer);
    const theirs = context.allocated.get(peer) ?? informers.views.get(undefined, peer)?.spec.theirs ?? [];
    return network === undefined || context.viewFailures.has(peer) ? [] : [{ peer, network, theirs }];
  });
  const ownKeys = informers.gateways.list().flatMap((item) => item.status?.publicKey ?? []);
  const plan = planGateway({ remotes, existing, ownKeys });
  for (const peer of names) {
    const message = plan.refused.get(peer);
    if (message === undefined) context.tunnelFailures.delete(peer);
    else context.tunnelFailures.set(peer, { reason: 'GatewayRefused', message: `No tunnel: ${message}.` });
  }
  const spoken = new Set(remotes.map(({ peer }) => peer));
  const kept = existing.filter(({ peer }) => names.includes(peer) && !spoken.has(peer));
  return [...plan.peers, ...kept].sort((a, b) => (a.peer < b.peer ? -1 : 1));
};

const ensureGateway = async (
  context: NetworkContext,
  config: NetworkConfig,
  name: string,
  signal: AbortSignal,
): Promise<void> => {
  const existing = context.informers.gateways.get(undefined, name);
  if (existing?.metadata.deletionTimestamp !== undefined) return;
  const peers = planPeers(context, existing?.spec.peers ?? context.gateway()?.spec.peers ?? []);
  const spec: Gateway['spec'] = {
    listenPort: config.spec.wireguardPort,
    ...(config.spec.mtu === undefined ? {} : { mtu: config.spec.mtu }),
    peers,
  };
  const labels = { [LABELS.managedBy]: MANAGED_BY };
  const manifest = { metadata: { name, labels, finalizers: [FINALIZERS.cleanup] }, spec };
  const options = { fieldManager: FIELD_MANAGER, signal };
  // A field that is no longer wanted must go, which `existing` alone wouldn't show.
  const same = equalJson(existing?.spec, spec) ? existing : undefined;
  await ensure(context.deps.client, GATEWAY, manifest, { ...options, existing: same });
};

/** Others go; one whose node is gone has no agent that could clean up, and nothing to clean up. */
const removeOthers = async (
  context: NetworkContext,
  keep: string | undefined,
  signal: AbortSignal,
): Promise<void> => {
  const { informers, deps } = context;
  for (const gateway of informers.gateways.list().filter((item) => item.metadata.name !== keep)) {
    await removeObject(context, GATEWAY, gateway, signal);
    const isOrphan = informers.nodes.get(undefined, gateway.metadata.name) === undefined;
    if (
      isOrphan &&
      gateway.metadata.deletionTimestamp !== undefined &&
      hasFinalizer(gateway, FINALIZERS.cleanup)
    ) {
      await removeFinalizer(deps.client, GATEWAY, gateway, FINALIZERS.cleanup, { signal });
    }
  }
};

const configCondition = (context: NetworkContext, node: string | undefined): ConditionInput => {
  if (node !== undefined && context.gateway()?.status?.publicKey !== undefined) {
    return {
      type: 'Ready',
      status: 'True',
      reason: 'GatewayUp',
      message: `Node ${node} holds the tunnels.`,
    };
  }
  const failing = context.informers.fabricNodes
    .list()
    .find((item) => !isConditionTrue(item.status?.conditions, 'Ready'));
  const why = failing?.status?.conditions?.find((item) => item.type === 'Ready');
  const where =
    failing === undefined
      ? ''
      : ` Node ${failing.metadata.name}: ${why?.message ?? 'its agent has not reported.'}`;
  return {
    type: 'Ready',
    status: 'False',
    reason: node === undefined ? (why?.reason ?? 'NoGateway') : 'TunnelStarting',
    message: node === undefined ? `No node can hold the tunnels.${where}` : `Node ${node} makes its tunnel.`,
  };
};

/** createGatewayReconcile makes the controller's reconcile; `onChosen` is called when another node was chosen. */
export const createGatewayReconcile = (
  context: NetworkContext,
  onChosen: (node: string | undefined) => void,
): Reconcile => {
  let last: string | undefined;
  return async (_key, signal) => {
    const config = context.config();
    const node = config === undefined ? undefined : chooseNode(context);
    if (config !== undefined && node !== undefined) await ensureGateway(context, config, node, signal);
    await removeOthers(context, node, signal);
    if (node !== last) {
      last = node;
      onChosen(node);
    }
    if (config === undefined) return {};
    const status = node === undefined ? {} : { gateway: node };
    await applyCondition(context, NETWORK_CONFIG, config, configCondition(context, node), signal, status);
    return { requeueAfterMs: JUDGE_MS };
  };
};
