/** Routes and the one rule of a node. */
import type { RouteState, RuleState } from '../runtime/host/ip.ts';
import {
  TUNNEL_DEVICE,
  TUNNEL_RULE_PRIORITY,
  TUNNEL_TABLE,
  UNREACHABLE_METRIC,
  VXLAN_DEVICE,
} from './names.ts';
import type { NodeFabric } from './plan-node.ts';
import { rangeText } from './ranges.ts';

const viewsOf = (node: NodeFabric): string[] => [
  ...new Set(node.peers.flatMap((peer) => peer.theirs.map((range) => rangeText(range.view)))),
];

/** planUnreachable are the routes behind the views: they outlive the tunnel, so that nothing leaves in clear text. */
export const planUnreachable = (node: NodeFabric): RouteState[] =>
  viewsOf(node).map((destination) => ({
    type: 'unreachable',
    destination,
    table: 'main',
    metric: UNREACHABLE_METRIC,
  }));

const viewRoutes = (node: NodeFabric, tunnelMtu: number): RouteState[] => {
  const source = node.externalAddress;
  if (node.tunnel !== undefined) {
    return viewsOf(node).map((destination) => ({
      type: 'unicast',
      destination,
      table: 'main',
      device: TUNNEL_DEVICE,
      source,
    }));
  }
  const gateway = node.neighbours.find((neighbour) => neighbour.isGateway);
  if (gateway?.mac === undefined) return [];
  return viewsOf(node).map((destination) => ({
    type: 'unicast',
    destination,
    table: 'main',
    device: VXLAN_DEVICE,
    gateway: gateway.externalAddress,
    source,
    mtu: tunnelMtu,
  }));
};

/** On the gateway: to the other nodes' external addresses, and from the tunnel to their pods, never over the CNI. */
const nodeRoutes = (node: NodeFabric): RouteState[] =>
  node.tunnel === undefined
    ? []
    : node.neighbours
        .filter((neighbour) => neighbour.mac !== undefined)
        .flatMap((neighbour) => [
          {
            type: 'unicast',
            destination: neighbour.externalAddress,
            table: 'main',
            device: VXLAN_DEVICE,
          },
          ...neighbour.podRanges.map((range) => ({
            type: 'unicast',
            destination: rangeText(range),
            table: TUNNEL_TABLE,
            device: VXLAN_DEVICE,
            gateway: neighbour.externalAddress,
          })),
        ]);

/** planRoutes are the routes that carry traffic; each needs its device. */
export const planRoutes = (node: NodeFabric, tunnelMtu: number): RouteState[] => [
  ...nodeRoutes(node),
  ...viewRoutes(node, tunnelMtu),
];

/** planRules: what comes out of the tunnel looks into our table first. */
export const planRules = (node: NodeFabric): RuleState[] =>
  node.tunnel === undefined
    ? []
    : [{ priority: TUNNEL_RULE_PRIORITY, inputDevice: TUNNEL_DEVICE, table: TUNNEL_TABLE }];

/** A route's identity in the kernel: a replace with the same one changes it in place. */
export const routeKey = (route: RouteState): string =>
  [route.table, route.destination, route.metric ?? 0].join('|');

/** Everything about a route that we set, as one text. */
export const routeText = (route: RouteState): string =>
  [routeKey(route), route.type, route.device, route.gateway, route.source, route.mtu].join('|');
