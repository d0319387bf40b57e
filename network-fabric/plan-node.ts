/** What one node must know of the fabric, drawn from Fluvia's objects; undefined when nothing of Fluvia may be on it. */
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { OfferedAddress, Offer } from '../api/v1alpha1/offer.ts';
import type { View, ViewRange } from '../api/v1alpha1/view.ts';

/** Everything that an agent observes of its cluster. */
export interface FabricObjects {
  readonly config: NetworkConfig | undefined;
  readonly views: readonly View[];
  readonly gateways: readonly Gateway[];
  readonly fabricNodes: readonly FabricNode[];
  readonly offers: readonly Offer[];
}

export interface FabricPeer {
  readonly name: string;
  readonly theirs: readonly ViewRange[];
  readonly ours: readonly ViewRange[];
  readonly offered: readonly OfferedAddress[];
}

/** Another node that this one exchanges VXLAN frames with. */
export interface FabricNeighbour {
  readonly name: string;
  readonly nodeAddress: string;
  readonly externalAddress: string;
  readonly podRanges: readonly string[];
  /** Undefined until its agent told. */
  readonly mac: string | undefined;
  readonly isGateway: boolean;
}

export interface NodeFabric {
  readonly nodeName: string;
  readonly nodeAddress: string;
  readonly externalAddress: string;
  readonly podCIDRs: readonly string[];
  readonly externalCIDR: string;
  readonly vxlanPort: number;
  /** From the configuration; undefined: from the underlay. */
  readonly tunnelMtu: number | undefined;
  readonly peers: readonly FabricPeer[];
  /** On the gateway all other nodes, elsewhere the gateway only. */
  readonly neighbours: readonly FabricNeighbour[];
  /** Set when this node is the gateway. */
  readonly tunnel: Gateway['spec'] | undefined;
}

const byName = <T extends { readonly metadata: { readonly name: string } }>(objects: readonly T[]): T[] =>
  [...objects].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));

const isLive = (object: { readonly metadata: { readonly deletionTimestamp?: string } }): boolean =>
  object.metadata.deletionTimestamp === undefined;

/** planNode picks what concerns the node; a deleted NetworkConfig or FabricNode means: leave nothing on the node. */
export const planNode = (objects: FabricObjects, nodeName: string): NodeFabric | undefined => {
  const { config } = objects;
  const self = objects.fabricNodes.find((node) => node.metadata.name === nodeName);
  if (config === undefined || !isLive(config) || self === undefined || !isLive(self)) return undefined;
  const gatewayName = self.spec.gateway;
  const isGateway = gatewayName === nodeName;
  const gateway = objects.gateways.find((item) => item.metadata.name === nodeName && isLive(item));
  const neighbours = byName(objects.fabricNodes)
    .filter((node) => node.metadata.name !== nodeName && isLive(node))
    .filter((node) => isGateway || node.metadata.name === gatewayName)
    .map((node) => ({
      name: node.metadata.name,
      nodeAddress: node.spec.nodeAddress,
      externalAddress: node.spec.externalAddress,
      podRanges: node.spec.podRanges,
      mac: node.status?.vxlanMAC,
      isGateway: node.metadata.name === gatewayName,
    }));
  const offers = byName(objects.offers).filter(isLive);
  return {
    nodeName,
    nodeAddress: self.spec.nodeAddress,
    externalAddress: self.spec.externalAddress,
    podCIDRs: config.spec.podCIDRs,
    externalCIDR: config.spec.externalCIDR,
    vxlanPort: config.spec.vxlanPort,
    tunnelMtu: config.spec.mtu ?? gateway?.spec.mtu,
    peers: byName(objects.views)
      .filter(isLive)
      .map((view) => ({
        name: view.metadata.name,
        theirs: view.spec.theirs,
        ours: view.spec.ours,
        offered: offers
          .filter((offer) => offer.spec.peer === view.metadata.name)
          .flatMap((offer) => offer.spec.addresses),
      })),
    neighbours,
    tunnel: isGateway ? gateway?.spec : undefined,
  };
};
