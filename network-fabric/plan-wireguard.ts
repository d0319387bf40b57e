/** Which `wg set` brings the tunnel's peers to what the Gateway says, disturbing no session that needn't be. */
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { WgChange, WgDeviceState, WgPeerChange, WgPeerState } from '../runtime/host/wg.ts';
import { HANDSHAKE_FRESH_SECONDS, PERSISTENT_KEEPALIVE_SECONDS, TUNNEL_DEVICE } from './names.ts';

type WantedPeer = Gateway['spec']['peers'][number];

/** What only the agent knows: which endpoint it last set for a key, and the time (seconds since the epoch). */
export interface WireguardMemory {
  /** Public key → announced endpoints when one was last set, as one text. */
  readonly announced: ReadonlyMap<string, string>;
  readonly nowSeconds: number;
}

/** How long one of several endpoints is tried before the next. */
const ENDPOINT_TURN_SECONDS = 15;

/** announcedText is what {@link WireguardMemory} remembers of a peer's endpoints. */
export const announcedText = (peer: Pick<WantedPeer, 'endpoints'>): string => peer.endpoints.join(' ');

const isFresh = (present: WgPeerState, nowSeconds: number): boolean =>
  present.latestHandshake > 0 && nowSeconds - present.latestHandshake < HANDSHAKE_FRESH_SECONDS;

/**
 * The endpoint to set, if any. A working session keeps the endpoint it has, learned or set, until the announced ones
 * change: setting it again would undo roaming. A dead one takes turns through the announced endpoints.
 */
const endpointChange = (
  wanted: WantedPeer,
  present: WgPeerState | undefined,
  memory: WireguardMemory,
): string | undefined => {
  const { endpoints } = wanted;
  if (endpoints.length === 0) return undefined;
  const turn = Math.floor(memory.nowSeconds / ENDPOINT_TURN_SECONDS) % endpoints.length;
  if (present?.endpoint === undefined) return endpoints[0];
  const known = memory.announced.get(wanted.publicKey);
  if (known !== undefined && known !== announcedText(wanted)) return endpoints[0];
  if (isFresh(present, memory.nowSeconds)) return undefined;
  const candidate = present.latestHandshake === 0 && known === undefined ? endpoints[0] : endpoints[turn];
  return candidate === present.endpoint ? undefined : candidate;
};

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === new Set(a).size;

const peerChange = (
  wanted: WantedPeer,
  present: WgPeerState | undefined,
  memory: WireguardMemory,
): WgPeerChange | undefined => {
  const endpoint = endpointChange(wanted, present, memory);
  const change: WgPeerChange = {
    publicKey: wanted.publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(present !== undefined && sameSet(present.allowedIPs, wanted.allowedIPs)
      ? {}
      : { allowedIPs: wanted.allowedIPs }),
    ...(present?.persistentKeepalive === PERSISTENT_KEEPALIVE_SECONDS
      ? {}
      : { persistentKeepalive: PERSISTENT_KEEPALIVE_SECONDS }),
  };
  return Object.keys(change).length > 1 ? change : undefined;
};

/** planWireguard gives the change, or undefined when nothing differs. Removals come first: allowed IPs may move. */
export const planWireguard = (
  state: WgDeviceState | undefined,
  wanted: Gateway['spec'],
  memory: WireguardMemory,
): WgChange | undefined => {
  const present = new Map((state?.peers ?? []).map((peer) => [peer.publicKey, peer]));
  const keys = new Set(wanted.peers.map((peer) => peer.publicKey));
  const removals = [...present.keys()]
    .filter((publicKey) => !keys.has(publicKey))
    .map((publicKey): WgPeerChange => ({ publicKey, remove: true }));
  const changes = wanted.peers
    .map((peer) => peerChange(peer, present.get(peer.publicKey), memory))
    .filter((change) => change !== undefined);
  const peers = [...removals, ...changes];
  const isPortRight = state?.listenPort === wanted.listenPort;
  if (isPortRight && peers.length === 0) return undefined;
  return { device: TUNNEL_DEVICE, ...(isPortRight ? {} : { listenPort: wanted.listenPort }), peers };
};
