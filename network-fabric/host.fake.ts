/** A model of a node for tests: what each action does to its state, as the kernel would. */
import type { HostState } from './host-state.ts';
import { TUNNEL_DEVICE, TUNNEL_RULE_PRIORITY, VXLAN_DEVICE } from './names.ts';
import type { HostAction } from './plan-host.ts';
import { ruleMark, type NftChange } from './plan-nft-change.ts';
import { routeKey } from './plan-routes.ts';
import type { NftTableState } from '../runtime/host/nft.ts';
import type { WgChange, WgDeviceState, WgPeerState } from '../runtime/host/wg.ts';

/** A node with an underlay device and nothing of ours. */
export const emptyHost = (nodeAddress: string): HostState => ({
  links: [{ name: 'eth0', index: 2, kind: 'veth', isUp: true, mtu: 1500, mac: '02:00:00:00:00:01' }],
  addresses: [{ device: 'eth0', address: nodeAddress, prefix: 24 }],
  routes: [],
  rules: [{ priority: 0, table: 'local' }],
  neighbours: [],
  forwarding: [],
  nft: undefined,
  wireguard: undefined,
  isTunnelWanted: false,
  sysctls: {},
});

const applyNft = (table: NftTableState | undefined, change: NftChange): NftTableState | undefined => {
  if (change.kind === 'delete') return undefined;
  if (change.kind === 'rebuild') {
    return {
      sets: change.table.sets.map(({ name, type, elements }) => ({ name, type, elements })),
      chains: change.table.chains.map((chain) => ({ ...chain, ruleComments: chain.rules.map(ruleMark) })),
    };
  }
  if (table === undefined) throw new Error('no table to change');
  return {
    sets: table.sets.map((set) => {
      const delta = change.elements.find((item) => item.set === set.name);
      if (delta === undefined) return set;
      const removed = new Set(delta.remove);
      for (const element of delta.remove) {
        if (!set.elements.includes(element)) throw new Error(`no element ${element} in ${set.name}`);
      }
      return { ...set, elements: [...set.elements.filter((item) => !removed.has(item)), ...delta.add] };
    }),
    chains: table.chains.map((chain) => {
      const next = change.chains.find((item) => item.name === chain.name);
      return next === undefined ? chain : { ...chain, ruleComments: next.rules.map(ruleMark) };
    }),
  };
};

const applyWg = (device: WgDeviceState | undefined, change: WgChange): WgDeviceState => {
  if (device === undefined) throw new Error(`no device ${change.device}`);
  const peers = new Map<string, WgPeerState>(device.peers.map((peer) => [peer.publicKey, peer]));
  for (const delta of change.peers) {
    peers.delete(delta.publicKey);
    if (delta.remove) continue;
    const old = device.peers.find((peer) => peer.publicKey === delta.publicKey);
    // WireGuard takes an allowed IP away from whoever had it.
    for (const [key, peer] of peers) {
      const left = peer.allowedIPs.filter((cidr) => !delta.allowedIPs?.includes(cidr));
      peers.set(key, { ...peer, allowedIPs: left });
    }
    peers.set(delta.publicKey, {
      publicKey: delta.publicKey,
      endpoint: delta.endpoint ?? old?.endpoint,
      allowedIPs: delta.allowedIPs ?? old?.allowedIPs ?? [],
      latestHandshake: old?.latestHandshake ?? 0,
      rxBytes: 0,
      txBytes: 0,
      persistentKeepalive: delta.persistentKeepalive ?? old?.persistentKeepalive ?? 0,
    });
  }
  return { ...device, listenPort: change.listenPort ?? device.listenPort, peers: [...peers.values()] };
};

const withoutLink = (host: HostState, name: string): HostState => ({
  ...host,
  links: host.links.filter((link) => link.name !== name),
  addresses: host.addresses.filter((item) => item.device !== name),
  routes: host.routes.filter((route) => route.device !== name),
  ...(name === VXLAN_DEVICE ? { neighbours: [], forwarding: [], sysctls: {} } : {}),
  ...(name === TUNNEL_DEVICE ? { wireguard: undefined, isTunnelWanted: false } : {}),
});

const needLink = (host: HostState, name: string): void => {
  if (!host.links.some((link) => link.name === name)) throw new Error(`Cannot find device "${name}"`);
};

/** applyToFake gives the state after the action. @throws where the kernel would refuse. */
export const applyToFake = (host: HostState, action: HostAction): HostState => {
  switch (action.kind) {
    case 'nft':
      return { ...host, nft: applyNft(host.nft, action.change) };
    case 'vxlan-add': {
      const { name, id, local, port } = action.device;
      if (host.links.some((link) => link.name === name)) throw new Error(`${name} exists`);
      const vxlan = { id, local, port, learning: false };
      const link = { name, index: 9, kind: 'vxlan', isUp: false, mtu: 1500, mac: '02:aa:00:00:00:01', vxlan };
      return { ...host, links: [...host.links, link] };
    }
    case 'link-delete':
      needLink(host, action.name);
      return withoutLink(host, action.name);
    case 'link-set':
      needLink(host, action.name);
      return {
        ...host,
        links: host.links.map((link) =>
          link.name === action.name ? { ...link, isUp: true, mtu: action.mtu } : link,
        ),
      };
    case 'sysctl':
      return { ...host, sysctls: { ...host.sysctls, [action.key]: action.value } };
    case 'address-add':
      needLink(host, action.address.device);
      return { ...host, addresses: [...host.addresses, action.address] };
    case 'address-delete':
      return {
        ...host,
        addresses: host.addresses.filter((item) => item.address !== action.address.address),
      };
    case 'neighbour-set':
    case 'neighbour-delete': {
      const others = host.neighbours.filter((item) => item.address !== action.neighbour.address);
      return {
        ...host,
        neighbours: action.kind === 'neighbour-set' ? [...others, action.neighbour] : others,
      };
    }
    case 'forwarding-set':
    case 'forwarding-delete': {
      const others = host.forwarding.filter((item) => item.mac !== action.entry.mac);
      return { ...host, forwarding: action.kind === 'forwarding-set' ? [...others, action.entry] : others };
    }
    case 'rule-add':
      return { ...host, rules: [...host.rules, action.rule] };
    case 'rule-delete':
      return { ...host, rules: host.rules.filter((rule) => rule.priority !== TUNNEL_RULE_PRIORITY) };
    case 'route-set': {
      const { route } = action;
      if (route.device !== undefined) needLink(host, route.device);
      if (route.source !== undefined && !host.addresses.some((item) => item.address === route.source)) {
        throw new Error(`Invalid prefsrc address ${route.source}`);
      }
      return {
        ...host,
        routes: [...host.routes.filter((item) => routeKey(item) !== routeKey(route)), route],
      };
    }
    case 'route-delete': {
      const left = host.routes.filter((item) => routeKey(item) !== routeKey(action.route));
      if (left.length === host.routes.length) throw new Error('No such process');
      return { ...host, routes: left };
    }
    case 'tunnel-start': {
      const has = host.links.some((link) => link.name === TUNNEL_DEVICE);
      const link = { name: TUNNEL_DEVICE, index: 12, kind: 'tun', isUp: false, mtu: 1420, mac: '' };
      return {
        ...host,
        isTunnelWanted: true,
        links: has ? host.links : [...host.links, link],
        wireguard: { name: TUNNEL_DEVICE, publicKey: 'own', listenPort: 0, peers: [] },
      };
    }
    case 'tunnel-stop':
      return { ...withoutLink(host, TUNNEL_DEVICE), isTunnelWanted: false };
    default:
      return { ...host, wireguard: applyWg(host.wireguard, action.change) };
  }
};
