/**
 * The ordered actions that bring a node to what its fabric says. Order makes every prefix safe: drops and unreachable
 * routes come before what carries traffic and go after it.
 */
import type {
  AddressState,
  ForwardingState,
  LinkState,
  NeighbourState,
  RouteState,
  RuleState,
} from '../runtime/host/ip.ts';
import type { WgChange } from '../runtime/host/wg.ts';
import type { HostState } from './host-state.ts';
import { TUNNEL_DEVICE, TUNNEL_RULE_PRIORITY, VXLAN_DEVICE } from './names.ts';
import { planNftChange, type NftChange } from './plan-nft-change.ts';
import { planNft } from './plan-nft.ts';
import type { NodeFabric } from './plan-node.ts';
import { planRoutes, planRules, planUnreachable, routeKey, routeText } from './plan-routes.ts';
import {
  planAddresses,
  planForwarding,
  planNeighbours,
  planVxlan,
  tunnelMtuOf,
  VXLAN_SYSCTLS,
  type VxlanDevice,
} from './plan-vxlan.ts';
import { planWireguard, type WireguardMemory } from './plan-wireguard.ts';

/** One step on a node; each is idempotent. */
export type HostAction =
  | { readonly kind: 'nft'; readonly change: NftChange }
  | { readonly kind: 'vxlan-add'; readonly device: VxlanDevice }
  | { readonly kind: 'link-delete'; readonly name: string }
  | { readonly kind: 'link-set'; readonly name: string; readonly mtu: number }
  | { readonly kind: 'sysctl'; readonly key: string; readonly value: string }
  | { readonly kind: 'address-add' | 'address-delete'; readonly address: AddressState }
  | { readonly kind: 'neighbour-set' | 'neighbour-delete'; readonly neighbour: NeighbourState }
  | { readonly kind: 'forwarding-set' | 'forwarding-delete'; readonly entry: ForwardingState }
  | { readonly kind: 'rule-add' | 'rule-delete'; readonly rule: RuleState }
  | { readonly kind: 'route-set' | 'route-delete'; readonly route: RouteState }
  /** Makes the WireGuard device with a key of its own, or gives an existing one its key. */
  | { readonly kind: 'tunnel-start' | 'tunnel-stop' }
  | { readonly kind: 'wireguard'; readonly change: WgChange };

/** Splits what is there and what is wanted by identity: what to remove, what to set. */
const difference = <T>(
  present: readonly T[],
  wanted: readonly T[],
  keyOf: (item: T) => string,
  textOf: (item: T) => string = keyOf,
): { readonly remove: T[]; readonly set: T[] } => {
  const wantedKeys = new Set(wanted.map(keyOf));
  const presentTexts = new Set(present.map(textOf));
  return {
    remove: present.filter((item) => !wantedKeys.has(keyOf(item))),
    set: wanted.filter((item) => !presentTexts.has(textOf(item))),
  };
};

const linkOf = (host: HostState, name: string): LinkState | undefined =>
  host.links.find((link) => link.name === name);

/** The MTU of the device that has the node's address; Ethernet's when none has. */
export const underlayMtuOf = (host: HostState, nodeAddress: string): number => {
  const device = host.addresses.find((item) => item.address === nodeAddress)?.device;
  return (device === undefined ? undefined : linkOf(host, device)?.mtu) ?? 1500;
};

const planDevice = (host: HostState, device: VxlanDevice): HostAction[] => {
  const link = linkOf(host, device.name);
  const { vxlan } = link ?? {};
  const isRight =
    vxlan !== undefined &&
    vxlan.id === device.id &&
    vxlan.local === device.local &&
    vxlan.port === device.port &&
    !vxlan.learning;
  if (link !== undefined && isRight) {
    return link.isUp && link.mtu === device.mtu
      ? []
      : [{ kind: 'link-set', name: device.name, mtu: device.mtu }];
  }
  return [
    ...(link === undefined ? [] : [{ kind: 'link-delete', name: device.name } as const]),
    { kind: 'vxlan-add', device },
    { kind: 'link-set', name: device.name, mtu: device.mtu },
  ];
};

/** What is on a device vanishes with it: plan as if it were gone when it is to be made anew. */
const withoutDevice = (host: HostState, name: string): HostState => ({
  ...host,
  addresses: host.addresses.filter((item) => item.device !== name),
  routes: host.routes.filter((route) => route.device !== name),
  ...(name === VXLAN_DEVICE ? { neighbours: [], forwarding: [], sysctls: {} } : { wireguard: undefined }),
});

const planTunnel = (
  host: HostState,
  node: NodeFabric,
  mtu: number,
  memory: WireguardMemory,
): HostAction[] => {
  if (node.tunnel === undefined) return planTunnelStop(host);
  const link = linkOf(host, TUNNEL_DEVICE);
  const hasKey = link !== undefined && host.wireguard?.publicKey !== undefined;
  const change = planWireguard(hasKey ? host.wireguard : undefined, node.tunnel, memory);
  return [
    ...(hasKey ? [] : [{ kind: 'tunnel-start' } as const]),
    ...(change === undefined ? [] : [{ kind: 'wireguard', change } as const]),
    ...(hasKey && link.isUp && link.mtu === mtu
      ? []
      : [{ kind: 'link-set', name: TUNNEL_DEVICE, mtu } as const]),
  ];
};

const planTunnelStop = (host: HostState): HostAction[] =>
  host.isTunnelWanted || linkOf(host, TUNNEL_DEVICE) !== undefined ? [{ kind: 'tunnel-stop' }] : [];

const planForwardingTo = (host: HostState, node: NodeFabric): HostAction[] => {
  const ours = host.addresses.filter((item) => item.device === VXLAN_DEVICE);
  const textOf = (item: AddressState): string => `${item.address}/${item.prefix}`;
  const addresses = difference(ours, planAddresses(node), textOf);
  const neighbours = difference(
    host.neighbours,
    planNeighbours(node),
    (item) => item.address,
    (item) => `${item.address} ${item.mac}`,
  );
  const forwarding = difference(
    host.forwarding,
    planForwarding(node),
    (item) => item.mac,
    (item) => `${item.mac} ${item.destination}`,
  );
  return [
    ...Object.entries(VXLAN_SYSCTLS)
      .filter(([key, value]) => host.sysctls[key] !== value)
      .map(([key, value]): HostAction => ({ kind: 'sysctl', key, value })),
    ...addresses.set.map((address): HostAction => ({ kind: 'address-add', address })),
    ...addresses.remove.map((address): HostAction => ({ kind: 'address-delete', address })),
    ...neighbours.remove.map((neighbour): HostAction => ({ kind: 'neighbour-delete', neighbour })),
    ...neighbours.set.map((neighbour): HostAction => ({ kind: 'neighbour-set', neighbour })),
    ...forwarding.remove.map((entry): HostAction => ({ kind: 'forwarding-delete', entry })),
    ...forwarding.set.map((entry): HostAction => ({ kind: 'forwarding-set', entry })),
  ];
};

const isOurRule = (rule: RuleState): boolean => rule.priority === TUNNEL_RULE_PRIORITY;
const ruleText = (rule: RuleState): string => [rule.priority, rule.inputDevice, rule.table].join('|');
const isCarrying = (route: RouteState): boolean => route.type !== 'unreachable';

/** Nothing of ours stays: first what carries traffic, last the drops. */
const planRemoval = (host: HostState): HostAction[] => [
  ...[...host.routes]
    .sort((a, b) => Number(isCarrying(b)) - Number(isCarrying(a)))
    .map((route): HostAction => ({ kind: 'route-delete', route })),
  ...host.rules.filter(isOurRule).map((rule): HostAction => ({ kind: 'rule-delete', rule })),
  ...planTunnelStop(host),
  ...(linkOf(host, VXLAN_DEVICE) === undefined ? [] : [{ kind: 'link-delete', name: VXLAN_DEVICE } as const]),
  ...(host.nft === undefined ? [] : [{ kind: 'nft', change: { kind: 'delete' } } as const]),
];

/** planHost gives the steps from what the node has to what it shall have; `node` undefined: nothing of ours. */
export const planHost = (
  observed: HostState,
  node: NodeFabric | undefined,
  memory: WireguardMemory,
): HostAction[] => {
  if (node === undefined) return planRemoval(observed);
  const underlayMtu = underlayMtuOf(observed, node.nodeAddress);
  const tunnelMtu = tunnelMtuOf(node, underlayMtu);
  const device = planDevice(observed, planVxlan(node, underlayMtu));
  const tunnel = planTunnel(observed, node, tunnelMtu, memory);
  const losesVxlan = device.some((action) => action.kind === 'link-delete' || action.kind === 'vxlan-add');
  const losesTunnel = tunnel.some((action) => action.kind === 'tunnel-stop');
  let host = losesVxlan ? withoutDevice(observed, VXLAN_DEVICE) : observed;
  if (losesTunnel) host = withoutDevice(host, TUNNEL_DEVICE);

  const nft = planNftChange(host.nft, planNft(node));
  const wanted = [...planUnreachable(node), ...planRoutes(node, tunnelMtu)];
  // Removals by what was observed: a device's end also ends its routes, but later than is safe.
  const { remove } = difference(observed.routes, wanted, routeKey, routeText);
  const { set } = difference(host.routes, wanted, routeKey, routeText);
  const rules = difference(host.rules.filter(isOurRule), planRules(node), ruleText);
  return [
    ...remove.filter(isCarrying).map((route): HostAction => ({ kind: 'route-delete', route })),
    ...(nft === undefined ? [] : [{ kind: 'nft', change: nft } as const]),
    ...device,
    ...set.filter((route) => !isCarrying(route)).map((route): HostAction => ({ kind: 'route-set', route })),
    ...planForwardingTo(host, node),
    ...rules.remove.map((rule): HostAction => ({ kind: 'rule-delete', rule })),
    ...rules.set.map((rule): HostAction => ({ kind: 'rule-add', rule })),
    ...tunnel,
    ...set.filter(isCarrying).map((route): HostAction => ({ kind: 'route-set', route })),
    ...remove
      .filter((route) => !isCarrying(route))
      .map((route): HostAction => ({ kind: 'route-delete', route })),
  ];
};
