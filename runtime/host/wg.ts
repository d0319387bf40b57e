/** WireGuard's devices through `wg`: a typed dump, and `wg set` of what differs. Private keys pass only as files. */
import type { Exec } from './exec.ts';
import { HostToolError } from './exec.ts';

export interface WgPeerState {
  readonly publicKey: string;
  /** `address:port`, learned or set. */
  readonly endpoint?: string | undefined;
  readonly allowedIPs: readonly string[];
  /** Seconds since the epoch; 0 when there was no handshake. */
  readonly latestHandshake: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Seconds; 0 when off. */
  readonly persistentKeepalive: number;
}

export interface WgDeviceState {
  readonly name: string;
  /** Undefined when no private key is set. */
  readonly publicKey?: string | undefined;
  readonly listenPort: number;
  readonly peers: readonly WgPeerState[];
}

/** WgPeerChange is one peer's part of a `wg set`; what is missing stays as it is. */
export interface WgPeerChange {
  readonly publicKey: string;
  readonly remove?: boolean;
  readonly endpoint?: string;
  readonly allowedIPs?: readonly string[];
  readonly persistentKeepalive?: number;
}

export interface WgChange {
  readonly device: string;
  readonly listenPort?: number;
  readonly peers: readonly WgPeerChange[];
}

const NONE = '(none)';
const optional = (value: string | undefined): string | undefined =>
  value === undefined || value === NONE || value === '' ? undefined : value;
const numberOf = (value: string | undefined): number => {
  const number = Number(value);
  return value !== undefined && Number.isSafeInteger(number) && number >= 0 ? number : 0;
};

/**
 * parseWgDump reads `wg show all dump`: a line of 5 fields for each device (name, private key, public key, port, mark),
 * one of 9 for each peer (device, key, preshared key, endpoint, allowed IPs, handshake, received, sent, keepalive).
 * Private and preshared keys are dropped. @throws {HostToolError} for any other line.
 */
export const parseWgDump = (text: string): WgDeviceState[] => {
  const devices = new Map<string, WgDeviceState & { readonly peers: WgPeerState[] }>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const fields = line.split('\t');
    const [name = ''] = fields;
    if (fields.length === 5) {
      devices.set(name, {
        name,
        publicKey: optional(fields[2]),
        listenPort: numberOf(fields[3]),
        peers: [],
      });
    } else if (fields.length === 9 && devices.has(name)) {
      devices.get(name)?.peers.push({
        publicKey: fields[1] ?? '',
        endpoint: optional(fields[3]),
        allowedIPs: (optional(fields[4]) ?? '').split(',').filter((cidr) => cidr !== ''),
        latestHandshake: numberOf(fields[5]),
        rxBytes: numberOf(fields[6]),
        txBytes: numberOf(fields[7]),
        persistentKeepalive: numberOf(fields[8]),
      });
    } else {
      // The line may hold a private key: its text isn't repeated.
      throw new HostToolError('wg', `wg show all dump wrote a line of ${fields.length} fields`);
    }
  }
  return [...devices.values()];
};

/** formatWgSet is the argv of `wg` for a change. */
export const formatWgSet = (change: WgChange): string[] => [
  'set',
  change.device,
  ...(change.listenPort === undefined ? [] : ['listen-port', String(change.listenPort)]),
  ...change.peers.flatMap((peer) => [
    'peer',
    peer.publicKey,
    ...(peer.remove ? ['remove'] : []),
    ...(peer.endpoint === undefined ? [] : ['endpoint', peer.endpoint]),
    ...(peer.persistentKeepalive === undefined
      ? []
      : ['persistent-keepalive', String(peer.persistentKeepalive)]),
    ...(peer.allowedIPs === undefined ? [] : ['allowed-ips', peer.allowedIPs.join(',')]),
  ]),
];

/** Wg talks to kernel and user-space devices alike. */
export interface Wg {
  devices(): Promise<WgDeviceState[]>;
  set(change: WgChange): Promise<void>;
  /** Sets the private key from a file of mode 0600. */
  setPrivateKeyFile(device: string, path: string): Promise<void>;
  /** A new private key, base64. A secret: write it to a file of mode 0600 only. */
  generateKey(): Promise<string>;
}

/** How many peers go into one `wg set`, so that an argv stays small. */
const PEERS_PER_CALL = 64;

/** createWg makes the adapter. */
export const createWg = (exec: Exec): Wg => ({
  devices: async () => parseWgDump(await exec('wg', ['show', 'all', 'dump'])),
  set: async (change) => {
    for (let start = 0; start === 0 || start < change.peers.length; start += PEERS_PER_CALL) {
      const peers = change.peers.slice(start, start + PEERS_PER_CALL);
      const { listenPort, device } = change;
      await exec(
        'wg',
        formatWgSet(
          start === 0 && listenPort !== undefined ? { device, listenPort, peers } : { device, peers },
        ),
      );
    }
  },
  setPrivateKeyFile: async (device, path) => {
    await exec('wg', ['set', device, 'private-key', path]);
  },
  generateKey: async () => (await exec('wg', ['genkey'])).trim(),
});
