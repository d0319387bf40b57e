/** Fluvia's objects of this cluster, as the agent follows them. */
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../../api/v1alpha1/gateway.ts';
import type { NetworkConfig } from '../../api/v1alpha1/network-config.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import type { View } from '../../api/v1alpha1/view.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { KubeClient } from '../../runtime/kube/client.ts';
import { createInformer, type Informer } from '../../runtime/kube/informer.ts';
import type { ResourceRef } from '../../runtime/kube/resources.ts';
import type { HasMetadata } from '../../runtime/kube/types.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import { FABRIC_NODE, GATEWAY, NETWORK_CONFIG, OFFER, VIEW } from '../kinds.ts';
import type { FabricObjects } from '../plan-node.ts';

export interface ObjectsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface Objects {
  whenSynced(signal: AbortSignal): Promise<void>;
  snapshot(): FabricObjects;
  fabricNode(name: string): FabricNode | undefined;
  gateway(name: string): Gateway | undefined;
  /** Calls for every change of this FabricNode, of its status, too; returns how to stop. */
  onFabricNode(name: string, listener: (node: FabricNode) => void): () => void;
}

/** A status changes with every heartbeat; only these parts of others' concern this node. */
const relevantText = (
  object: HasMetadata & { readonly spec?: unknown; readonly status?: unknown },
): string => {
  const { generation, deletionTimestamp, uid, finalizers } = object.metadata;
  const { vxlanMAC } = (object.status ?? {}) as { readonly vxlanMAC?: string };
  const { fence, ...spec } = (object.spec ?? {}) as { readonly fence?: unknown };
  // The fence's answers come every few seconds and change nothing on the node.
  const version = fence === undefined ? generation : spec;
  return JSON.stringify([uid, version, deletionTimestamp, finalizers, vxlanMAC]);
};

/** followObjects starts the informers; `onChange` is called for each change that may matter to the node. */
export const followObjects = (
  options: ObjectsOptions,
  onChange: () => void,
  signal: AbortSignal,
): Objects => {
  const follow = <T extends HasMetadata>(resource: ResourceRef): Informer<T> => {
    const informer = createInformer<T>({ ...options, resource });
    informer.onChange((change) => {
      if (change.type !== 'updated' || relevantText(change.old) !== relevantText(change.object)) onChange();
    });
    informer.start(signal);
    return informer;
  };
  const configs = follow<NetworkConfig>(NETWORK_CONFIG);
  const views = follow<View>(VIEW);
  const gateways = follow<Gateway>(GATEWAY);
  const fabricNodes = follow<FabricNode>(FABRIC_NODE);
  const offers = follow<Offer>(OFFER);
  return {
    whenSynced: async (stop) => {
      await Promise.all(
        [configs, views, gateways, fabricNodes, offers].map((informer) => informer.whenSynced(stop)),
      );
    },
    snapshot: () => ({
      config: configs.list()[0],
      views: views.list(),
      gateways: gateways.list(),
      fabricNodes: fabricNodes.list(),
      offers: offers.list(),
    }),
    fabricNode: (name) => fabricNodes.get(undefined, name),
    gateway: (name) => gateways.get(undefined, name),
    onFabricNode: (name, listener) =>
      fabricNodes.onChange(({ object }) => {
        if (object.metadata.name === name) listener(object);
      }),
  };
};
