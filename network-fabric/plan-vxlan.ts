/** The VXLAN device of a node, whom it exchanges frames with, and its address. */
import type { AddressState, ForwardingState, NeighbourState } from '../runtime/host/ip.ts';
import { VXLAN_DEVICE, VXLAN_ID, VXLAN_OVERHEAD, WIREGUARD_OVERHEAD } from './names.ts';
import type { NodeFabric } from './plan-node.ts';

export interface VxlanDevice {
  readonly name: string;
  readonly id: number;
  readonly local: string;
  readonly port: number;
  readonly mtu: number;
}

/** MTU of the tunnel: as configured, else what the underlay leaves. */
export const tunnelMtuOf = (node: NodeFabric, underlayMtu: number): number =>
  node.tunnelMtu ?? Math.max(1280, underlayMtu - WIREGUARD_OVERHEAD);

/** planVxlan is the device; its MAC is the kernel's random one. */
export const planVxlan = (node: NodeFabric, underlayMtu: number): VxlanDevice => ({
  name: VXLAN_DEVICE,
  id: VXLAN_ID,
  local: node.nodeAddress,
  port: node.vxlanPort,
  mtu: Math.max(1280, underlayMtu - VXLAN_OVERHEAD),
});

/** planAddresses: the node's own address of the external CIDR, the source of its own traffic to views. */
export const planAddresses = (node: NodeFabric): AddressState[] => [
  { device: VXLAN_DEVICE, address: node.externalAddress, prefix: 32 },
];

/** planNeighbours replaces ARP, which the device doesn't carry. */
export const planNeighbours = (node: NodeFabric): NeighbourState[] =>
  node.neighbours.flatMap(({ externalAddress, mac }) =>
    mac === undefined ? [] : [{ address: externalAddress, mac }],
  );

/** planForwarding says on which node a MAC is. */
export const planForwarding = (node: NodeFabric): ForwardingState[] =>
  node.neighbours.flatMap(({ nodeAddress, mac }) =>
    mac === undefined ? [] : [{ mac, destination: nodeAddress }],
  );

/** Reverse-path filter of the device: loose, since other nodes' pods are routed over the CNI, but come over it. */
export const VXLAN_SYSCTLS: Readonly<Record<string, string>> = {
  [`ipv4/conf/${VXLAN_DEVICE}/rp_filter`]: '2',
};
