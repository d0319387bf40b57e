/**
 * The network controllers of the leader: Views, the Gateway, FabricNodes, Offers of what people open, and NETWORK over
 * each link. They only read and write objects; the agents do what those say on the nodes.
 *
 * RBAC (ClusterRole of the controller's ServiceAccount, network part):
 * - fluvia.dev: networkconfigs, peers: get, list, watch; networkconfigs/status, peers/status: patch
 * - fluvia.dev: views, gateways, fabricnodes, offers: get, list, watch, create, patch, delete; update of finalizers is part
 *   of patch
 * - core: nodes, pods: get, list, watch
 * - discovery.k8s.io: endpointslices: get, list, watch
 */
import { LABELS } from '../api/labels.ts';
import type { Links } from '../api/link.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { equalJson } from '../runtime/kube/apply.ts';
import { runController, watchSource, type Reconcile, type WatchSource } from '../runtime/kube/controller.ts';
import { createWorkQueue, type WorkQueue } from '../runtime/kube/work-queue.ts';
import { createFabricNodeReconcile, hasOwnAddress } from './fabric-node-controller.ts';
import { createGatewayReconcile, GATEWAY_KEY } from './gateway-controller.ts';
import { createContext } from './network-context.ts';
import { createOfferReconcile } from './offer-controller.ts';
import { apiServerAddresses } from './plan-known-networks.ts';
import { createViewReconcile } from './view-controller.ts';

/** Pods come and go in bursts; what depends on them is planned once for many. */
const POD_DELAY_MS = 100;

/** startNetworkControllers returns once they run; they end when `signal` aborts. */
export const startNetworkControllers = async (
  deps: ControllerDeps,
  links: Links,
  clusterID: string,
  signal: AbortSignal,
): Promise<void> => {
  const queues = {
    view: createWorkQueue({ clock: deps.clock }),
    gateway: createWorkQueue({ clock: deps.clock }),
    node: createWorkQueue({ clock: deps.clock }),
    offer: createWorkQueue({ clock: deps.clock }),
  };
  const context = createContext(
    deps,
    links,
    (peer) => {
      queues.view.add(peer);
      queues.gateway.add(GATEWAY_KEY);
    },
    signal,
  );
  const { informers } = context;
  const peerNames = (): string[] => informers.peers.list().map((peer) => peer.metadata.name);
  const viewNames = (): string[] => informers.views.list().map((view) => view.metadata.name);
  const nodeNames = (): string[] => [
    ...informers.nodes.list().map((node) => node.metadata.name),
    ...informers.fabricNodes.list().map((node) => node.metadata.name),
  ];
  let chosen: string | undefined = context.gateway()?.metadata.name;

  const run = (
    name: string,
    queue: WorkQueue,
    sources: readonly WatchSource[],
    reconcile: Reconcile,
  ): void => {
    const { log, clock, metrics } = deps;
    const reads = Object.values(informers);
    const options = {
      name: `network.${name}`,
      sources,
      reads,
      reconcile,
      workers: 1,
      queue,
      log,
      clock,
      metrics,
    };
    runController(options, signal).catch((err: unknown) => {
      if (!signal.aborted) log.error('a network controller ended', { controller: options.name, err });
    });
  };

  run(
    'view',
    queues.view,
    [
      watchSource(informers.peers),
      watchSource(informers.views, (change) => {
        // The gateway's tunnel and everyone's room depend on views.
        queues.gateway.add(GATEWAY_KEY);
        return [change.object.metadata.name];
      }),
      watchSource(informers.configs, () => new Set([...peerNames(), ...viewNames()])),
      watchSource(informers.gateways, peerNames),
      watchSource(informers.slices, ({ object }) =>
        apiServerAddresses([object]).length > 0 ? peerNames() : [],
      ),
      watchSource(informers.fabricNodes, (change) =>
        change.type === 'updated' &&
        change.old.metadata.generation === change.object.metadata.generation &&
        equalJson(change.old.status?.networks, change.object.status?.networks)
          ? []
          : peerNames(),
      ),
    ],
    createViewReconcile(context),
  );
  run(
    'gateway',
    queues.gateway,
    [
      watchSource(informers.configs, () => [GATEWAY_KEY]),
      watchSource(informers.peers, (change) =>
        change.type === 'updated' && change.old.metadata.generation === change.object.metadata.generation
          ? []
          : [GATEWAY_KEY],
      ),
      watchSource(informers.gateways, () => [GATEWAY_KEY]),
      watchSource(informers.fabricNodes, () => [GATEWAY_KEY]),
      watchSource(informers.nodes, (change) => (change.type === 'updated' ? [] : [GATEWAY_KEY])),
    ],
    createGatewayReconcile(context, (node) => {
      chosen = node;
      for (const name of nodeNames()) queues.node.add(name);
      for (const name of peerNames()) queues.view.add(name);
    }),
  );
  run(
    'fabric-node',
    queues.node,
    [
      watchSource(informers.nodes),
      watchSource(informers.fabricNodes),
      watchSource(informers.configs, () => new Set(nodeNames())),
      watchSource(informers.pods, (change) => {
        const node = change.object.spec.nodeName;
        const hasRange = (informers.nodes.get(undefined, node ?? '')?.spec.podCIDR ?? '') !== '';
        if (node !== undefined && !hasRange) queues.node.addAfter(node, POD_DELAY_MS);
        return [];
      }),
    ],
    createFabricNodeReconcile(context, () => chosen ?? context.gateway()?.metadata.name),
  );
  run(
    'offer',
    queues.offer,
    [
      watchSource(informers.peers, (change) =>
        change.type === 'updated' && change.old.metadata.generation === change.object.metadata.generation
          ? []
          : [change.object.metadata.name],
      ),
      watchSource(informers.configs, peerNames),
      watchSource(informers.offers, (change) => {
        const peer = change.object.metadata.labels?.[LABELS.peer];
        return peer === undefined ? [] : [peer];
      }),
      watchSource(informers.pods, (change) => {
        const config = context.config();
        const namespace = change.object.metadata.namespace ?? '';
        const isOpen = config?.spec.open.some((rule) => rule.namespaces?.includes(namespace)) ?? false;
        const podCIDRs = config?.spec.podCIDRs ?? [];
        const isConcerned =
          change.type !== 'updated' ||
          change.old.status?.podIP !== change.object.status?.podIP ||
          hasOwnAddress(change.old, podCIDRs) !== hasOwnAddress(change.object, podCIDRs);
        if (isOpen && isConcerned) {
          for (const peer of peerNames()) queues.offer.addAfter(peer, POD_DELAY_MS);
        }
        return [];
      }),
    ],
    createOfferReconcile(context),
  );
  deps.log.info('network controllers started', { clusterID });
  return Promise.resolve();
};
