/** The WireGuard peers of our gateway, from what the peers announce and how we see them. */
import type { z } from 'zod';
import { cidrContains, cidrContainsIp, formatCidr, parseCidr, parseIp } from '../api/ip-range.ts';
import type { NETWORK } from '../api/collections.ts';
import type { Gateway } from '../api/v1alpha1/gateway.ts';
import type { ViewRange } from '../api/v1alpha1/view.ts';
import { seenAs } from '../api/views.ts';
import { whyNotAnnounceable } from './ipam.ts';

/** The item that a peer publishes in NETWORK. */
export type NetworkItem = z.infer<(typeof NETWORK)['schema']>;
export type GatewayPeer = Gateway['spec']['peers'][number];

export interface RemoteNetwork {
  readonly peer: string;
  readonly network: NetworkItem;
  readonly theirs: readonly ViewRange[];
}

export interface GatewayRequest {
  readonly remotes: readonly RemoteNetwork[];
  /** `spec.peers` as it stands: who has a key keeps it. */
  readonly existing: readonly GatewayPeer[];
  /** Keys of our own gateways. */
  readonly ownKeys: readonly string[];
}

export interface GatewayPlan {
  readonly peers: readonly GatewayPeer[];
  /** Peer → why it has no tunnel, or no endpoint that can be dialled. */
  readonly refused: ReadonlyMap<string, string>;
}

const ENDPOINT = /^(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})$/;

/** Why an endpoint can't be used, or undefined: it must be an address outside of every view, else it would route into itself. */
export const whyNotEndpoint = (endpoint: string, views: readonly string[]): string | undefined => {
  const match = ENDPOINT.exec(endpoint);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || !(port >= 1 && port <= 65535)) {
    return `endpoint ${JSON.stringify(endpoint.slice(0, 64))} is not an IPv4 address and port`;
  }
  let ip: number;
  try {
    ip = parseIp(match[1]);
  } catch {
    return `endpoint ${JSON.stringify(endpoint.slice(0, 64))} is not an IPv4 address and port`;
  }
  const special = whyNotAnnounceable({ base: ip, prefix: 32 });
  if (special !== undefined) return `endpoint ${endpoint} ${special}`;
  const view = views.find((cidr) => cidrContainsIp(parseCidr(cidr), ip));
  return view === undefined ? undefined : `endpoint ${endpoint} lies in the view ${view}`;
};

/**
 * What views keep clear of for a peer's tunnel: the endpoints that can be dialled of the gateway that is dialled. Of those in
 * the view pools only the first: each would spoil a block there, and the peer says as many as it likes. The others may come to
 * lie in a view, and aren't dialled then.
 */
export const keptEndpoints = (
  gateway: NetworkItem['gateways'][number] | undefined,
  pools: readonly string[],
): string[] => {
  const ranges = (gateway?.endpoints ?? [])
    .filter((endpoint) => whyNotEndpoint(endpoint, []) === undefined)
    .map((endpoint) => ({ base: parseIp(endpoint.split(':')[0] ?? ''), prefix: 32 }));
  const isInPool = (range: (typeof ranges)[number]): boolean =>
    pools.some((pool) => cidrContains(parseCidr(pool), range));
  const first = ranges.find(isInPool);
  return ranges.filter((range) => range === first || !isInPool(range)).map(formatCidr);
};

/** Who may use a key that several announce: the one that has it, else the first by name. Others are impostors. */
const ownersOfKeys = (request: GatewayRequest): Map<string, string> => {
  const owners = new Map<string, string>();
  const announced = new Map(
    request.remotes.map(({ peer, network }) => [peer, network.gateways.map((item) => item.publicKey)]),
  );
  for (const { peer, publicKey } of request.existing) {
    if (announced.get(peer)?.includes(publicKey)) owners.set(publicKey, peer);
  }
  for (const peer of [...announced.keys()].sort()) {
    for (const key of announced.get(peer) ?? []) if (!owners.has(key)) owners.set(key, peer);
  }
  return owners;
};

/** planGateway gives `Gateway.spec.peers`, one entry for each peer that can have a tunnel, in the order of names. */
export const planGateway = (request: GatewayRequest): GatewayPlan => {
  const owners = ownersOfKeys(request);
  const views = request.remotes.flatMap(({ theirs }) => theirs.map((range) => range.view));
  const refused = new Map<string, string>();
  const peers: GatewayPeer[] = [];
  for (const { peer, network, theirs } of [...request.remotes].sort((a, b) => (a.peer < b.peer ? -1 : 1))) {
    const gateway = network.gateways[0];
    if (gateway === undefined) {
      refused.set(peer, 'the peer has no gateway yet');
      continue;
    }
    if (theirs.length === 0) {
      refused.set(peer, 'no view of the peer is allocated');
      continue;
    }
    if (request.ownKeys.includes(gateway.publicKey) || owners.get(gateway.publicKey) !== peer) {
      refused.set(peer, 'its WireGuard key is the key of another gateway');
      continue;
    }
    const judged = gateway.endpoints.map((endpoint) => ({ endpoint, why: whyNotEndpoint(endpoint, views) }));
    const usable = judged.filter(({ why }) => why === undefined).map(({ endpoint }) => endpoint);
    // Without an endpoint the peer may still dial us: it stays, and the reason is told while there is no handshake.
    if (usable.length === 0) {
      refused.set(peer, judged.find(({ why }) => why !== undefined)?.why ?? 'it has no endpoint');
    }
    const external = theirs.filter((range) => range.purpose === 'External');
    const probeAddress = seenAs(external, gateway.externalAddress);
    peers.push({
      peer,
      publicKey: gateway.publicKey,
      endpoints: usable,
      allowedIPs: theirs.map((range) => range.view),
      ...(probeAddress === undefined ? {} : { probeAddress }),
    });
  }
  return { peers, refused };
};
