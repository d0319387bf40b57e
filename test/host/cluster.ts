/** A cluster as the planners see it, without an API server: objects in memory, applied to nodes of the lab. */
import { formatIp, parseCidr } from '../../api/cidr.ts';
import { API_VERSION } from '../../api/labels.ts';
import type { FabricNode } from '../../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../../api/v1alpha1/gateway.ts';
import type { NetworkConfig } from '../../api/v1alpha1/network-config.ts';
import type { Offer, OfferedAddress } from '../../api/v1alpha1/offer.ts';
import type { View, ViewRange } from '../../api/v1alpha1/view.ts';
import { createHost, type Host } from '../../network-fabric/agent/host.ts';
import { allocateAddresses } from '../../network-fabric/ipam.ts';
import { VXLAN_DEVICE } from '../../network-fabric/names.ts';
import { planGateway, type NetworkItem } from '../../network-fabric/plan-gateway.ts';
import { planHost, type HostAction } from '../../network-fabric/plan-host.ts';
import { planNode, type FabricObjects } from '../../network-fabric/plan-node.ts';
import { checkOurs, planViews } from '../../network-fabric/plan-views.ts';
import { announcedText } from '../../network-fabric/plan-wireguard.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { LabNode } from './lab.ts';

const POD_CIDR = '10.244.0.0/16';
const EXTERNAL_CIDR = '10.70.0.0/16';

export interface TestCluster {
  readonly name: string;
  readonly nodes: readonly LabNode[];
  readonly hosts: ReadonlyMap<string, Host>;
  views(): ReadonlyMap<string, View>;
  /** What this cluster publishes to a peer. */
  publish(peer: string): NetworkItem;
  /** Takes what peers publish and allocates views. */
  learn(remotes: ReadonlyMap<string, NetworkItem>): void;
  offer(peer: string, addresses: readonly OfferedAddress[]): void;
  externalAddress(node: string): string;
  /** Removes the NetworkConfig: uninstall. */
  remove(): void;
  /** Brings all nodes to what the objects say; returns what was done. */
  sync(): Promise<HostAction[]>;
}

const object = <K extends string, S>(kind: K, name: string, spec: S) => ({
  apiVersion: API_VERSION,
  kind,
  metadata: { name, generation: 1 },
  spec,
});

export const createCluster = (
  name: string,
  nodes: readonly LabNode[],
  viewPools: readonly string[],
): TestCluster => {
  const gatewayName = nodes[0]?.name ?? '';
  const hosts = new Map(
    nodes.map((node) => [
      node.name,
      createHost({
        exec: node.exec,
        clock: systemClock,
        sysctl: node.sysctl,
        wireguardDir: node.wireguardDir,
      }),
    ]),
  );
  let config: NetworkConfig | undefined = object('NetworkConfig', 'default', {
    podCIDRs: [POD_CIDR],
    serviceCIDRs: ['10.96.0.0/16'],
    externalCIDR: EXTERNAL_CIDR,
    viewPools: [...viewPools],
    reservedCIDRs: [],
    wireguardPort: 51820,
    vxlanPort: 8473,
    open: [],
  });
  const external = allocateAddresses(
    parseCidr(EXTERNAL_CIDR),
    nodes.map((node) => node.name),
    new Map(),
  );
  const externalAddress = (node: string): string => formatIp(external.get(node) ?? 0);
  const fabricNodes = new Map<string, FabricNode>(
    nodes.map((node) => [
      node.name,
      object('FabricNode', node.name, {
        nodeAddress: node.address,
        podRanges: [node.podRange],
        externalAddress: externalAddress(node.name),
        gateway: gatewayName,
      }),
    ]),
  );
  let gateway: Gateway = object('Gateway', gatewayName, { listenPort: 51820, peers: [] });
  const views = new Map<string, View>();
  const offers = new Map<string, Offer>();
  const announced = new Map<string, string>();

  const objects = (): FabricObjects => ({
    config,
    views: [...views.values()],
    gateways: [gateway],
    fabricNodes: [...fabricNodes.values()],
    offers: [...offers.values()],
  });

  const occupied = (peer: string): string[] => [
    POD_CIDR,
    EXTERNAL_CIDR,
    '10.96.0.0/16',
    ...nodes.map((node) => `${node.address}/32`),
    ...[...views.values()]
      .filter((view) => view.metadata.name !== peer)
      .flatMap((view) => view.spec.theirs.map((range) => range.view)),
  ];

  return {
    name,
    nodes,
    hosts,
    views: () => views,
    externalAddress,
    publish: (peer) => ({
      podCIDRs: [POD_CIDR],
      externalCIDR: EXTERNAL_CIDR,
      views: [...(views.get(peer)?.spec.theirs ?? [])],
      gateways:
        gateway.status?.publicKey === undefined
          ? []
          : [
              {
                id: gatewayName,
                publicKey: gateway.status.publicKey,
                endpoints: [`${nodes[0]?.address}:51820`],
                externalAddress: externalAddress(gatewayName),
              },
            ],
    }),
    learn: (remotes) => {
      for (const [peer, network] of remotes) {
        const theirs: ViewRange[] = planViews({
          announced: network,
          existing: views.get(peer)?.spec.theirs ?? [],
          occupied: occupied(peer),
          pools: viewPools,
        });
        const ours = checkOurs(network.views, { podCIDRs: [POD_CIDR], externalCIDR: EXTERNAL_CIDR });
        views.set(peer, object('View', peer, { peer, clusterID: 'a'.repeat(26), theirs, ours }));
      }
      const plan = planGateway({
        remotes: [...remotes].map(([peer, network]) => ({
          peer,
          network,
          theirs: views.get(peer)?.spec.theirs ?? [],
        })),
        existing: gateway.spec.peers,
        ownKeys: gateway.status?.publicKey === undefined ? [] : [gateway.status.publicKey],
      });
      gateway = { ...gateway, spec: { ...gateway.spec, peers: [...plan.peers] } };
    },
    offer: (peer, addresses) => {
      offers.set(peer, object('Offer', `${peer}-open-0`, { peer, addresses: [...addresses] }));
    },
    remove: () => {
      config = undefined;
    },
    sync: async () => {
      const done: HostAction[] = [];
      for (const node of nodes) {
        const host = hosts.get(node.name);
        if (host === undefined) continue;
        const memory = { announced, nowSeconds: Date.now() / 1000 };
        const actions = planHost(await host.observe(), planNode(objects(), node.name), memory);
        await host.apply(actions);
        done.push(...actions);
        const state = await host.observe();
        const mac = state.links.find((link) => link.name === VXLAN_DEVICE)?.mac;
        const fabricNode = fabricNodes.get(node.name);
        if (mac !== undefined && fabricNode !== undefined) {
          fabricNodes.set(node.name, { ...fabricNode, status: { vxlanMAC: mac } });
        }
        if (node.name === gatewayName) {
          for (const peer of gateway.spec.peers) announced.set(peer.publicKey, announcedText(peer));
          const publicKey = state.wireguard?.publicKey;
          gateway = publicKey === undefined ? gateway : { ...gateway, status: { publicKey } };
        }
      }
      return done;
    },
  };
};
