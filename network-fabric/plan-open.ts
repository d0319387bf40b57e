/** What people open to a peer by NetworkConfig.spec.open, as addresses. */
import { cidrContains, parseCidr } from '../api/ip-range.ts';
import type { NetworkConfig } from '../api/v1alpha1/network-config.ts';
import type { OfferedAddress } from '../api/v1alpha1/offer.ts';

export interface OpenRequest {
  readonly config: NetworkConfig['spec'];
  readonly peer: string;
  /** Namespace → addresses of its pods that run on this cluster's nodes in their own network namespace. */
  readonly podsByNamespace: ReadonlyMap<string, readonly string[]>;
}

const isAnnounced = (cidr: string, config: NetworkConfig['spec']): boolean =>
  [...config.podCIDRs, config.externalCIDR].some((range) => cidrContains(parseCidr(range), parseCidr(cidr)));

/** planOpen gives the addresses in a stable order; ranges that this cluster doesn't announce are left out. */
export const planOpen = ({ config, peer, podsByNamespace }: OpenRequest): OfferedAddress[] => {
  const byKey = new Map<string, OfferedAddress>();
  for (const rule of config.open) {
    if (rule.peers !== undefined && !rule.peers.includes(peer)) continue;
    const pods = (rule.namespaces ?? []).flatMap((namespace) => podsByNamespace.get(namespace) ?? []);
    const cidrs = [...pods.map((address) => `${address}/32`), ...(rule.cidrs ?? [])];
    for (const cidr of cidrs.filter((item) => isAnnounced(item, config))) {
      const address = { cidr, ...(rule.ports === undefined ? {} : { ports: rule.ports }) };
      byKey.set(JSON.stringify(address), address);
    }
  }
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, address]) => address);
};
