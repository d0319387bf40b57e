/** Arbitrary fabrics for property tests: a cluster of a few nodes with a few peers, all planned by the real planners. */
import * as fc from 'fast-check';
import { formatIp, parseCidr } from '../api/ip-range.ts';
import { API_VERSION } from '../api/labels.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { OfferedAddress } from '../api/v1alpha1/offer.ts';
import type { View, ViewRange } from '../api/v1alpha1/view.ts';
import type { FabricObjects } from './plan-node.ts';
import { planViews } from './plan-views.ts';

const object = <K extends string, S>(kind: K, name: string, spec: S) => ({
  apiVersion: API_VERSION,
  kind,
  metadata: { name, generation: 1 },
  spec,
});

export const testConfig = (over: Partial<NetworkConfig['spec']> = {}): NetworkConfig =>
  object('NetworkConfig', 'default', {
    podCIDRs: ['10.244.0.0/16'],
    serviceCIDRs: ['10.96.0.0/16'],
    externalCIDR: '10.70.0.0/16',
    viewPools: ['10.128.0.0/9'],
    reservedCIDRs: [],
    wireguardPort: 51820,
    vxlanPort: 8473,
    open: [],
    ...over,
  });

export const testNode = (
  name: string,
  index: number,
  gateway: string | undefined,
  mac: boolean,
): FabricNode => ({
  ...object('FabricNode', name, {
    nodeAddress: `198.18.0.${index + 10}`,
    podRanges: [`10.244.${index}.0/24`],
    externalAddress: `10.70.0.${index + 1}`,
    ...(gateway === undefined ? {} : { gateway }),
  }),
  ...(mac ? { status: { vxlanMAC: `02:bb:00:00:00:0${index}` } } : {}),
});

const KEYS = Array.from({ length: 8 }, (_, index) => `${String.fromCodePoint(65 + index).repeat(42)}A=`);

const offered: fc.Arbitrary<OfferedAddress> = fc
  .record({
    host: fc.integer({ min: 0, max: 0x10000 - 1 }),
    prefix: fc.constantFrom(16, 24, 28, 32),
    ports: fc.option(
      fc.array(
        fc.record({
          protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
          port: fc.integer({ min: 1, max: 9 }),
        }),
        { maxLength: 3 },
      ),
      { nil: undefined },
    ),
  })
  .map(({ host, prefix, ports }) => {
    const base = (parseCidr('10.244.0.0/16').base + host) & (prefix === 32 ? -1 : ~(2 ** (32 - prefix) - 1));
    return { cidr: `${formatIp(base >>> 0)}/${prefix}`, ...(ports === undefined ? {} : { ports }) };
  });

const peer = fc.record({
  podCIDR: fc.constantFrom('10.244.0.0/16', '10.50.0.0/16', '172.20.0.0/15'),
  hasOurs: fc.boolean(),
  hasTunnel: fc.boolean(),
  offered: fc.array(offered, { maxLength: 4 }),
});

const viewsOf = (peers: readonly { readonly podCIDR: string; readonly hasOurs: boolean }[]): View[] => {
  const views: View[] = [];
  peers.forEach(({ podCIDR, hasOurs }, index) => {
    const theirs = planViews({
      announced: { podCIDRs: [podCIDR], externalCIDR: '10.70.0.0/16' },
      existing: [],
      occupied: [
        '10.244.0.0/16',
        '10.96.0.0/16',
        '10.70.0.0/16',
        ...views.flatMap((view) => view.spec.theirs.map((range) => range.view)),
      ],
      pools: ['10.128.0.0/9'],
    });
    const ours: ViewRange[] = [
      { purpose: 'Pod', real: '10.244.0.0/16', view: '10.200.0.0/16' },
      { purpose: 'External', real: '10.70.0.0/16', view: '10.201.0.0/16' },
    ];
    const name = `peer${index}`;
    views.push(
      object('View', name, { peer: name, clusterID: 'a'.repeat(26), theirs, ours: hasOurs ? ours : [] }),
    );
  });
  return views;
};

/** arbitraryFabric: `node0` is the node under test; it is the gateway, another node, or not yet told. */
export const arbitraryFabric: fc.Arbitrary<FabricObjects> = fc
  .record({
    nodes: fc.integer({ min: 1, max: 4 }),
    macs: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    gateway: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
    hasGatewayObject: fc.boolean(),
    isInstalled: fc.boolean(),
    mtu: fc.constantFrom(undefined, 1380),
    peers: fc.array(peer, { maxLength: 5 }),
  })
  .map((world) => {
    const gateway = world.gateway === undefined ? undefined : `node${world.gateway % world.nodes}`;
    const views = viewsOf(world.peers);
    const spec: Gateway['spec'] = {
      listenPort: 51820,
      peers: views.flatMap((view, index) =>
        world.peers[index]?.hasTunnel
          ? [
              {
                peer: view.metadata.name,
                publicKey: KEYS[index] ?? '',
                endpoints: [`203.0.113.${index + 1}:51820`],
                allowedIPs: view.spec.theirs.map((range) => range.view),
              },
            ]
          : [],
      ),
    };
    return {
      config: world.isInstalled ? testConfig(world.mtu === undefined ? {} : { mtu: world.mtu }) : undefined,
      views,
      gateways: gateway !== undefined && world.hasGatewayObject ? [object('Gateway', gateway, spec)] : [],
      fabricNodes: Array.from({ length: world.nodes }, (_, index) =>
        testNode(`node${index}`, index, gateway, world.macs[index] ?? false),
      ),
      offers: world.peers.map((item, index) =>
        object('Offer', `peer${index}-open-0`, { peer: `peer${index}`, addresses: item.offered }),
      ),
    };
  });
