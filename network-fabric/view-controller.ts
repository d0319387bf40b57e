/** `network.view`: one View for each peer, what we publish to it, and its Peer's NetworkReady condition. */
import { ERROR_CODES, FluviaError } from '../api/errors.ts';
import { LABELS, MANAGED_BY } from '../api/labels.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { Peer } from '../api/v1alpha1/peer.ts';
import type { View, ViewRange } from '../api/v1alpha1/view.ts';
import { ensure, equalJson } from '../runtime/kube/apply.ts';
import type { Reconcile } from '../runtime/kube/controller.ts';
import { PEER, VIEW } from './kinds.ts';
import { FIELD_MANAGER } from './names.ts';
import {
  applyCondition,
  ITEM_ID,
  ownedByPeer,
  removeObject,
  type NetworkContext,
} from './network-context.ts';
import { apiServerAddresses, networksBeyond } from './plan-known-networks.ts';
import { keptEndpoints, type NetworkItem } from './plan-gateway.ts';
import { planNetworkReady } from './plan-network-ready.ts';
import { checkOurs, planViews } from './plan-views.ts';

/** How often a peer's state is judged anew without any change: a handshake grows old by itself. */
const JUDGE_MS = 15_000;

/** Where the tunnels go. */
const endpointRanges = (context: NetworkContext, pools: readonly string[]): string[] =>
  [...context.remotes.keys()].flatMap((name) => keptEndpoints(context.remote(name)?.gateways[0], pools));

/**
 * What new views keep clear of, but one that stands isn't moved by: what some peer, node or tenant says must not renumber a
 * peering.
 */
const avoidedBy = (context: NetworkContext, pools: readonly string[]): string[] => {
  const { fabricNodes, slices } = context.informers;
  return [...endpointRanges(context, pools), ...networksBeyond(fabricNodes.list(), slices.list())];
};

/** The agent of the node that holds the tunnels told which networks it has routes to. */
const knowsNetworks = (context: NetworkContext): boolean =>
  context.informers.fabricNodes.get(undefined, context.gateway()?.metadata.name ?? '')?.status?.networks !==
  undefined;

/** Everything that a view of this peer must keep clear of. */
const occupiedFor = (context: NetworkContext, config: NetworkConfig, peer: string): string[] => {
  const { podCIDRs, serviceCIDRs, externalCIDR, reservedCIDRs } = config.spec;
  const views = new Map<string, readonly ViewRange[]>(
    context.informers.views.list().map((view) => [view.metadata.name, view.spec.theirs]),
  );
  for (const [name, theirs] of context.allocated) views.set(name, theirs);
  views.delete(peer);
  const nodes = context.informers.fabricNodes.list().map((node) => `${node.spec.nodeAddress}/32`);
  return [
    ...podCIDRs,
    ...serviceCIDRs,
    externalCIDR,
    ...reservedCIDRs,
    ...nodes,
    ...apiServerAddresses(context.informers.slices.list()),
    ...[...views.values()].flat().map((range) => range.view),
  ];
};

const REASONS: Readonly<Record<string, string>> = {
  [ERROR_CODES.POOL_EXHAUSTED]: 'PoolExhausted',
  [ERROR_CODES.QUOTA_EXCEEDED]: 'RangesTooLarge',
  [ERROR_CODES.CIDR_OVERLAP]: 'RangeRefused',
  [ERROR_CODES.BAD_INPUT]: 'RangeRefused',
};

/** What this cluster tells the peer; gateways only once their key is known. */
const networkItem = (
  context: NetworkContext,
  config: NetworkConfig,
  theirs: readonly ViewRange[],
): NetworkItem => {
  const gateway = context.gateway();
  const publicKey = gateway?.status?.publicKey;
  const node = context.informers.fabricNodes.get(undefined, gateway?.metadata.name ?? '');
  return {
    podCIDRs: [...config.spec.podCIDRs],
    externalCIDR: config.spec.externalCIDR,
    views: [...theirs],
    gateways:
      gateway === undefined || publicKey === undefined || node === undefined
        ? []
        : [
            {
              id: gateway.metadata.name,
              publicKey,
              endpoints: [
                ...(config.spec.gatewayEndpoints ?? [`${node.spec.nodeAddress}:${gateway.spec.listenPort}`]),
              ],
              externalAddress: node.spec.externalAddress,
            },
          ],
  };
};

const publish = (context: NetworkContext, peer: string, item: NetworkItem): void => {
  const publisher = context.remotes.get(peer)?.publisher;
  publisher?.set(ITEM_ID, item);
  publisher?.markComplete();
};

const planTheirs = (
  context: NetworkContext,
  config: NetworkConfig,
  name: string,
  network: NetworkItem,
  existing: readonly ViewRange[],
): ViewRange[] | undefined => {
  if (existing.length === 0 && !knowsNetworks(context)) {
    context.viewFailures.set(name, {
      reason: 'NoGateway',
      message: 'No gateway has told yet which networks it has routes to: see kubectl get fabricnodes.',
    });
    return undefined;
  }
  try {
    const theirs = planViews({
      announced: network,
      existing,
      occupied: occupiedFor(context, config, name),
      avoided: avoidedBy(context, config.spec.viewPools),
      pools: config.spec.viewPools,
      maxAddresses: context.informers.peers.get(undefined, name)?.spec.maxViewAddresses,
    });
    context.viewFailures.delete(name);
    context.allocated.set(name, theirs);
    return theirs;
  } catch (error) {
    if (!(error instanceof FluviaError)) throw error;
    const hint = error.hint === undefined ? '' : ` (${error.hint})`;
    context.viewFailures.set(name, {
      reason: REASONS[error.code] ?? 'RangeRefused',
      message: `${error.message}${hint}`,
    });
    return undefined;
  }
};

const viewSpec = (peer: Peer, theirs: readonly ViewRange[], ours: readonly ViewRange[]): View['spec'] => ({
  peer: peer.metadata.name,
  clusterID: peer.spec.clusterID,
  theirs: [...theirs],
  ours: [...ours],
});

/** createViewReconcile makes the controller's reconcile; keys are names of peers. */
export const createViewReconcile =
  (context: NetworkContext): Reconcile =>
  async (name, signal) => {
    const { informers, deps } = context;
    const peer = informers.peers.get(undefined, name);
    const view = informers.views.get(undefined, name);
    const config = context.config();
    if (peer === undefined || config === undefined) {
      context.allocated.delete(name);
      context.viewFailures.delete(name);
      context.tunnelFailures.delete(name);
      await removeObject(context, VIEW, view, signal);
      return {};
    }
    // A View of an earlier Peer of that name goes first.
    if (view !== undefined && view.spec.clusterID !== peer.spec.clusterID) {
      context.allocated.delete(name);
      await removeObject(context, VIEW, view, signal);
      return { requeueAfterMs: 500 };
    }
    const existing = context.allocated.get(name) ?? view?.spec.theirs ?? [];
    const network = context.remote(name);
    const theirs =
      network === undefined ? existing : (planTheirs(context, config, name, network, existing) ?? existing);
    if (network !== undefined && theirs.length > 0) {
      const ours = checkOurs(network.views, config.spec);
      const spec = viewSpec(peer, theirs, ours);
      if (view === undefined || !equalJson(view.spec, spec)) {
        const labels = { [LABELS.peer]: name, [LABELS.managedBy]: MANAGED_BY };
        const manifest = { metadata: { name, labels, ownerReferences: ownedByPeer(peer) }, spec };
        await ensure<View>(deps.client, VIEW, manifest, { fieldManager: FIELD_MANAGER, signal });
      }
    }
    publish(context, name, networkItem(context, config, theirs));
    const condition = planNetworkReady({
      peer: name,
      view,
      gateway: context.gateway(),
      viewFailure: context.viewFailures.get(name),
      tunnelFailure: context.tunnelFailures.get(name),
      nowMs: deps.clock.now().getTime(),
    });
    await applyCondition(context, PEER, peer, condition, signal);
    return { requeueAfterMs: JUDGE_MS };
  };
