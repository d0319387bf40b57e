/** Networks that this cluster uses beyond its own ranges, as far as it can know them by itself. Pure. */
import { cidrContains, formatCidr, parseCidr, type Cidr } from '../api/ip-range.ts';
import { ENDPOINT_SLICE_MANAGED_BY, SLICE_MANAGED_BY_LABEL, SLICE_SERVICE_LABEL } from '../api/labels.ts';
import type { FabricNode } from '../api/v1alpha1/fabric-node.ts';
import { SHORTEST_PREFIX } from './ipam.ts';

/** Most that a node tells; as many as FabricNode's schema takes. */
export const MAX_NETWORKS = 64;

const IPV4 = /^(?:\d{1,3}\.){3}\d{1,3}(?:\/\d{1,2})?$/;

const tryParse = (text: string): Cidr | undefined => {
  if (!IPV4.test(text)) return undefined;
  try {
    return parseCidr(text.includes('/') ? text : `${text}/32`);
  } catch {
    return undefined;
  }
};

/**
 * nodeNetworks is what a node tells of the destinations of its own routes: without what lies in this cluster's ranges or in
 * another of them, and without what is as good as a default route. Of too many the largest.
 */
export const nodeNetworks = (destinations: readonly string[], own: readonly string[]): string[] => {
  const known = own.map(parseCidr);
  const networks = destinations
    .map(tryParse)
    .filter((network) => network !== undefined)
    .filter((network) => network.prefix >= SHORTEST_PREFIX)
    .filter((network) => !known.some((range) => cidrContains(range, network)))
    .sort((a, b) => a.prefix - b.prefix || a.base - b.base);
  const kept: Cidr[] = [];
  for (const network of networks) {
    if (!kept.some((other) => cidrContains(other, network))) kept.push(network);
  }
  return kept.slice(0, MAX_NETWORKS).map(formatCidr);
};

/** The parts of an EndpointSlice that count. */
export interface SliceFacts {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  };
  readonly addressType: string;
  readonly endpoints?:
    | readonly {
        readonly addresses?: readonly string[] | undefined;
        readonly targetRef?: { readonly kind?: string | undefined } | undefined;
      }[]
    | null
    | undefined;
}

const isOf = (slice: SliceFacts, namespace: string, service: string): boolean =>
  slice.metadata.namespace === namespace && slice.metadata.labels?.[SLICE_SERVICE_LABEL] === service;

const addressesOf = (
  slices: readonly SliceFacts[],
  isMeant: (endpoint: NonNullable<SliceFacts['endpoints']>[number]) => boolean,
): string[] => {
  const addresses = slices
    .filter((slice) => slice.addressType === 'IPv4')
    .flatMap((slice) => slice.endpoints ?? [])
    .filter(isMeant)
    .flatMap((endpoint) => endpoint.addresses ?? [])
    .map(tryParse)
    .filter((address) => address !== undefined);
  return [...new Set(addresses.map(formatCidr))];
};

/** Where this cluster's API servers are: only its own may write these endpoints. */
export const apiServerAddresses = (slices: readonly SliceFacts[]): string[] =>
  addressesOf(
    slices.filter((slice) => isOf(slice, 'default', 'kubernetes')),
    () => true,
  );

/** What nodes have routes to, and what Services name outside the cluster: a database, say. */
export const networksBeyond = (nodes: readonly FabricNode[], slices: readonly SliceFacts[]): string[] => {
  const others = slices.filter(
    ({ metadata }) => metadata.labels?.[SLICE_MANAGED_BY_LABEL] !== ENDPOINT_SLICE_MANAGED_BY,
  );
  return [
    ...new Set([
      ...nodes.flatMap((node) => node.status?.networks ?? []),
      ...addressesOf(others, (endpoint) => endpoint.targetRef?.kind !== 'Pod'),
    ]),
  ];
};
