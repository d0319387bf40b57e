/** Links, addresses, routes, rules, neighbours and forwarding entries: `ip -j` and `bridge -j` to read, `-batch` to write. */
import { HostToolError, type Exec } from './exec.ts';

export interface LinkState {
  readonly name: string;
  readonly index: number;
  /** `vxlan`, `wireguard`, `tun`, …; empty for plain devices. */
  readonly kind: string;
  readonly isUp: boolean;
  readonly mtu: number;
  readonly mac: string;
  readonly vxlan?:
    | { readonly id: number; readonly local: string; readonly port: number; readonly learning: boolean }
    | undefined;
}

export interface AddressState {
  readonly device: string;
  readonly address: string;
  readonly prefix: number;
}

export interface RouteState {
  readonly type: string;
  readonly destination: string;
  readonly table: string;
  readonly device?: string | undefined;
  readonly gateway?: string | undefined;
  readonly source?: string | undefined;
  readonly metric?: number | undefined;
  readonly mtu?: number | undefined;
}

export interface RuleState {
  readonly priority: number;
  readonly inputDevice?: string | undefined;
  readonly table: string;
}

export interface NeighbourState {
  readonly address: string;
  readonly mac: string;
}

/** ForwardingState is an entry of a VXLAN device: frames to `mac` go to the node `destination`. */
export interface ForwardingState {
  readonly mac: string;
  readonly destination: string;
}

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const optionalText = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);
const optionalNumber = (value: unknown): number | undefined =>
  typeof value === 'number' ? value : undefined;

/** parseIpJson reads a JSON list as iproute2 writes it; empty output is an empty list. @throws {HostToolError} */
export const parseIpJson = (output: string): readonly Json[] => {
  if (output.trim() === '') return [];
  try {
    const parsed: unknown = JSON.parse(output);
    if (Array.isArray(parsed)) return parsed.filter(isObject).filter((item) => Object.keys(item).length > 0);
  } catch (cause) {
    throw new HostToolError('ip', 'ip -j did not write JSON', { cause });
  }
  throw new HostToolError('ip', 'ip -j did not write a list');
};

/** parseLinks reads `ip -d -j link show`. */
export const parseLinks = (output: string): LinkState[] =>
  parseIpJson(output).map((item) => {
    const info = isObject(item['linkinfo']) ? item['linkinfo'] : {};
    const data = isObject(info['info_data']) ? info['info_data'] : {};
    const flags = Array.isArray(item['flags']) ? item['flags'] : [];
    return {
      name: text(item['ifname']),
      index: number(item['ifindex']),
      kind: text(info['info_kind']),
      isUp: flags.includes('UP'),
      mtu: number(item['mtu']),
      mac: text(item['address']),
      vxlan:
        info['info_kind'] === 'vxlan'
          ? {
              id: number(data['id']),
              local: text(data['local']),
              port: number(data['port']),
              learning: data['learning'] === true,
            }
          : undefined,
    };
  });

/** parseAddresses reads `ip -j -4 addr show`. */
export const parseAddresses = (output: string): AddressState[] =>
  parseIpJson(output).flatMap((item) =>
    (Array.isArray(item['addr_info']) ? item['addr_info'] : []).filter(isObject).map((info) => ({
      device: text(item['ifname']),
      address: text(info['local']),
      prefix: number(info['prefixlen']),
    })),
  );

const mtuOf = (metrics: unknown): number | undefined =>
  (Array.isArray(metrics) ? metrics : [])
    .filter(isObject)
    .map((entry) => optionalNumber(entry['mtu']))
    .find((mtu) => mtu !== undefined);

/** parseRoutes reads `ip -d -j -4 route show table all`. */
export const parseRoutes = (output: string): RouteState[] =>
  parseIpJson(output).map((item) => ({
    type: optionalText(item['type']) ?? 'unicast',
    destination: text(item['dst']),
    table: optionalText(item['table']) ?? 'main',
    device: optionalText(item['dev']),
    gateway: optionalText(item['gateway']),
    source: optionalText(item['prefsrc']),
    metric: optionalNumber(item['metric']),
    mtu: mtuOf(item['metrics']),
  }));

/** parseDestinations reads `ip -j -4 route show table main`: where packets go by routes that aren't of this protocol number. */
export const parseDestinations = (output: string, exceptProtocol: number): string[] =>
  parseIpJson(output)
    .filter((item) => (optionalText(item['type']) ?? 'unicast') === 'unicast')
    .filter((item) => text(item['protocol']) !== String(exceptProtocol))
    .map((item) => text(item['dst']));

/** parseRules reads `ip -j -4 rule show`. */
export const parseRules = (output: string): RuleState[] =>
  parseIpJson(output).map((item) => ({
    priority: number(item['priority']),
    inputDevice: optionalText(item['iif']),
    table: text(item['table']),
  }));

/** parseNeighbours reads `ip -j -4 neigh show`, permanent entries only. */
export const parseNeighbours = (output: string): NeighbourState[] =>
  parseIpJson(output)
    .filter((item) => Array.isArray(item['state']) && item['state'].includes('PERMANENT'))
    .map((item) => ({ address: text(item['dst']), mac: text(item['lladdr']) }));

/** parseForwarding reads `bridge -j fdb show`, entries with a destination only. */
export const parseForwarding = (output: string): ForwardingState[] =>
  parseIpJson(output)
    .filter((item) => typeof item['dst'] === 'string')
    .map((item) => ({ mac: text(item['mac']), destination: text(item['dst']) }));

/** Ip talks to the kernel's routing through iproute2. */
export interface Ip {
  links(): Promise<LinkState[]>;
  addresses(): Promise<AddressState[]>;
  /** Routes of this protocol number, in every table. */
  routes(protocol: number): Promise<RouteState[]>;
  /** Destinations of the main table's other routes. */
  destinations(exceptProtocol: number): Promise<string[]>;
  rules(): Promise<RuleState[]>;
  neighbours(device: string): Promise<NeighbourState[]>;
  forwarding(device: string): Promise<ForwardingState[]>;
  /** Runs lines of `ip`, in order, until one fails. */
  batch(lines: readonly string[]): Promise<void>;
  /** Runs lines of `bridge`. */
  bridgeBatch(lines: readonly string[]): Promise<void>;
}

/** createIp makes the adapter. */
export const createIp = (exec: Exec): Ip => {
  const batch = async (tool: string, lines: readonly string[]): Promise<void> => {
    if (lines.length > 0) await exec(tool, ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  };
  return {
    links: async () => parseLinks(await exec('ip', ['-d', '-j', 'link', 'show'])),
    addresses: async () => parseAddresses(await exec('ip', ['-j', '-4', 'addr', 'show'])),
    routes: async (protocol) =>
      parseRoutes(
        await exec('ip', ['-d', '-j', '-4', 'route', 'show', 'table', 'all', 'proto', String(protocol)]),
      ),
    destinations: async (exceptProtocol) =>
      parseDestinations(await exec('ip', ['-j', '-4', 'route', 'show', 'table', 'main']), exceptProtocol),
    rules: async () => parseRules(await exec('ip', ['-j', '-4', 'rule', 'show'])),
    neighbours: async (device) =>
      parseNeighbours(await exec('ip', ['-j', '-4', 'neigh', 'show', 'dev', device])),
    forwarding: async (device) => parseForwarding(await exec('bridge', ['-j', 'fdb', 'show', 'dev', device])),
    batch: (lines) => batch('ip', lines),
    bridgeBatch: (lines) => batch('bridge', lines),
  };
};
