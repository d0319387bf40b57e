/** The node as the agent sees and changes it: observation into one value, actions through the tools. */
import type { Clock } from '../../runtime/clock.ts';
import type { Exec } from '../../runtime/host/exec.ts';
import { createIp, type RouteState } from '../../runtime/host/ip.ts';
import { createNft } from '../../runtime/host/nft.ts';
import type { Sysctl } from '../../runtime/host/sysctl.ts';
import { createWg, type WgDeviceState } from '../../runtime/host/wg.ts';
import type { HostState } from '../host-state.ts';
import { NFT_TABLE, ROUTE_PROTOCOL, TUNNEL_DEVICE, VXLAN_DEVICE } from '../names.ts';
import { formatNftChange } from '../plan-nft-change.ts';
import type { HostAction } from '../plan-host.ts';
import { VXLAN_SYSCTLS } from '../plan-vxlan.ts';
import { createTunnel } from './tunnel.ts';

export interface Host {
  observe(): Promise<HostState>;
  /** Runs the actions in order, until one fails. */
  apply(actions: readonly HostAction[]): Promise<void>;
  /** Destinations of the node's routes that aren't ours. */
  destinations(): Promise<string[]>;
  /** The tunnel's device, or undefined when there is none: cheaper than a whole observation. */
  wireguard(): Promise<WgDeviceState | undefined>;
}

export interface HostOptions {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly sysctl: Sysctl;
  readonly wireguardDir: string;
  readonly forceUserspace?: boolean | undefined;
}

/** formatRoute is a route as `ip route` takes it. */
export const formatRoute = (route: RouteState): string =>
  [
    ...(route.type === 'unicast' ? [] : [route.type]),
    route.destination,
    ...(route.gateway === undefined ? [] : ['via', route.gateway]),
    ...(route.device === undefined ? [] : ['dev', route.device]),
    ...(route.gateway === undefined ? [] : ['onlink']),
    ...(route.source === undefined ? [] : ['src', route.source]),
    ...(route.metric === undefined ? [] : ['metric', String(route.metric)]),
    ...(route.mtu === undefined ? [] : ['mtu', String(route.mtu)]),
    'table',
    route.table,
    'proto',
    String(ROUTE_PROTOCOL),
  ].join(' ');

/** A step as a line of `ip -batch` or `bridge -batch`; undefined for what isn't one. */
const lineOf = (
  action: HostAction,
): { readonly tool: 'ip' | 'bridge'; readonly line: string } | undefined => {
  const ip = (line: string): { readonly tool: 'ip'; readonly line: string } => ({ tool: 'ip', line });
  switch (action.kind) {
    case 'vxlan-add': {
      const { name, id, local, port } = action.device;
      return ip(`link add ${name} type vxlan id ${id} local ${local} dstport ${port} nolearning`);
    }
    case 'link-delete':
      return ip(`link delete ${action.name}`);
    case 'link-set':
      return ip(`link set dev ${action.name} addrgenmode none mtu ${action.mtu} up`);
    case 'address-add':
      return ip(
        `addr replace ${action.address.address}/${action.address.prefix} dev ${action.address.device}`,
      );
    case 'address-delete':
      return ip(
        `addr delete ${action.address.address}/${action.address.prefix} dev ${action.address.device}`,
      );
    case 'neighbour-set':
      return ip(
        `neigh replace ${action.neighbour.address} lladdr ${action.neighbour.mac} dev ${VXLAN_DEVICE} nud permanent`,
      );
    case 'neighbour-delete':
      return ip(`neigh delete ${action.neighbour.address} dev ${VXLAN_DEVICE}`);
    case 'forwarding-set':
      return {
        tool: 'bridge',
        line: `fdb replace ${action.entry.mac} dev ${VXLAN_DEVICE} dst ${action.entry.destination} self permanent`,
      };
    case 'forwarding-delete':
      return {
        tool: 'bridge',
        line: `fdb delete ${action.entry.mac} dev ${VXLAN_DEVICE} dst ${action.entry.destination} self`,
      };
    case 'rule-add':
    case 'rule-delete': {
      const verb = action.kind === 'rule-add' ? 'add' : 'delete';
      const { priority, inputDevice, table } = action.rule;
      const input = inputDevice === undefined ? '' : `iif ${inputDevice} `;
      return ip(`rule ${verb} pref ${priority} ${input}lookup ${table} proto ${ROUTE_PROTOCOL}`);
    }
    case 'route-set':
      return ip(`route replace ${formatRoute(action.route)}`);
    case 'route-delete':
      return ip(`route delete ${formatRoute(action.route)}`);
    default:
      return undefined;
  }
};

/** createHost makes the adapter of this process's network namespace. */
export const createHost = (options: HostOptions): Host => {
  const { exec, clock, sysctl, wireguardDir, forceUserspace } = options;
  const ip = createIp(exec);
  const nft = createNft(exec);
  const wg = createWg(exec);
  const tunnel = createTunnel({ exec, wg, clock, directory: wireguardDir, forceUserspace });

  const wireguard = async (): Promise<WgDeviceState | undefined> =>
    (await wg.devices()).find((device) => device.name === TUNNEL_DEVICE);

  const observe = async (): Promise<HostState> => {
    // One after another: an agent is to be a quiet neighbour.
    const links = await ip.links();
    const hasVxlan = links.some((link) => link.name === VXLAN_DEVICE);
    const hasTunnel = links.some((link) => link.name === TUNNEL_DEVICE);
    const sysctls: Record<string, string> = {};
    for (const key of Object.keys(VXLAN_SYSCTLS)) {
      const value = hasVxlan ? await sysctl.read(key) : undefined;
      if (value !== undefined) sysctls[key] = value;
    }
    return {
      links,
      sysctls,
      addresses: await ip.addresses(),
      routes: await ip.routes(ROUTE_PROTOCOL),
      rules: await ip.rules(),
      neighbours: hasVxlan ? await ip.neighbours(VXLAN_DEVICE) : [],
      forwarding: hasVxlan ? await ip.forwarding(VXLAN_DEVICE) : [],
      nft: await nft.table('ip', NFT_TABLE),
      wireguard: hasTunnel ? await wireguard().catch(() => undefined) : undefined,
      isTunnelWanted: await tunnel.isWanted(),
    };
  };

  const run = async (action: HostAction): Promise<void> => {
    switch (action.kind) {
      case 'nft':
        return nft.apply(formatNftChange(action.change));
      case 'sysctl':
        return sysctl.write(action.key, action.value);
      case 'tunnel-start':
        return tunnel.start();
      case 'tunnel-stop':
        return tunnel.stop();
      case 'wireguard':
        return wg.set(action.change);
      default:
        throw new Error(`no way to run ${action.kind}`);
    }
  };

  const apply = async (actions: readonly HostAction[]): Promise<void> => {
    let pending: { readonly tool: 'ip' | 'bridge'; readonly lines: string[] } | undefined;
    const flush = async (): Promise<void> => {
      const batch = pending;
      pending = undefined;
      if (batch?.tool === 'ip') await ip.batch(batch.lines);
      if (batch?.tool === 'bridge') await ip.bridgeBatch(batch.lines);
    };
    for (const action of actions) {
      const step = lineOf(action);
      if (step === undefined || (pending !== undefined && pending.tool !== step.tool)) await flush();
      if (step === undefined) {
        await run(action);
      } else {
        pending ??= { tool: step.tool, lines: [] };
        pending.lines.push(step.line);
      }
    }
    await flush();
  };

  return { observe, apply, wireguard, destinations: () => ip.destinations(ROUTE_PROTOCOL) };
};
