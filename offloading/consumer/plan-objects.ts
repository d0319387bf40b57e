import type { OBJECTS } from '../../api/collections.ts';
import { cidrContainsIp, parseCidr, parseIp } from '../../api/cidr.ts';
import {
  ANNOTATIONS,
  ENDPOINT_SLICE_MANAGED_BY,
  SLICE_MANAGED_BY_LABEL,
  SLICE_SERVICE_LABEL,
} from '../../api/labels.ts';
import type { ItemOf } from '../../api/link.ts';
import type { OpenPort } from '../../api/v1alpha1/network-config.ts';
import type { OfferedAddress } from '../../api/v1alpha1/offer.ts';
import type {
  ConfigMap,
  Endpoint,
  EndpointSlice,
  KubeObject,
  Secret,
  Service,
} from '../../runtime/kube/types.ts';

/** An item of OBJECTS. */
export type ReflectedItem = ItemOf<typeof OBJECTS>;
type SliceItem = Extract<ReflectedItem, { kind: 'EndpointSlice' }>;

/** Where an endpoint is: which cluster, and its real address there. */
export interface EndpointOrigin {
  readonly clusterID: string;
  /** Peer of a floated pod; undefined at home. */
  readonly peer: string | undefined;
  readonly address: string;
  /** Whether the peer is let through to it: until then it isn't ready there. */
  readonly isOpen: boolean;
}

/** Answers what a slice's translation needs to know; undefined when the endpoint can't be reached from elsewhere. */
export type FindOrigin = (endpoint: Endpoint, address: string) => EndpointOrigin | undefined;

const MAX_ENDPOINTS = 1000;
const MAX_OFFERED_PORTS = 64;

const isForeign = (key: string): boolean =>
  key.startsWith('fluvia.dev/') || key === 'kubectl.kubernetes.io/last-applied-configuration';

const cleaned = (map: Readonly<Record<string, string>> | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => !isForeign(key)));

const header = <K extends string>(kind: K, object: KubeObject) => ({
  kind,
  namespace: object.metadata.namespace ?? '',
  name: object.metadata.name,
  uid: object.metadata.uid ?? '',
});

/** `Kind/namespace/name`. */
export const itemID = (item: ReflectedItem): string => `${item.kind}/${item.namespace}/${item.name}`;

/** Whether the object's owner keeps it from being reflected. */
export const isOptedOut = (object: KubeObject): boolean =>
  object.metadata.annotations?.[ANNOTATIONS.skipReflection] === 'true';

/** Whether this Service is seen at peers. ExternalName means a name of home's DNS or of the internet: it stays. */
export const isReflectedService = (service: Service): boolean =>
  !isOptedOut(service) &&
  service.metadata.deletionTimestamp === undefined &&
  service.spec.type !== 'ExternalName' &&
  !(service.metadata.namespace === 'default' && service.metadata.name === 'kubernetes');

const optional = (
  spec: Readonly<Record<string, unknown>>,
  ...fields: readonly string[]
): Record<string, unknown> =>
  Object.fromEntries(
    fields.filter((field) => spec[field] !== undefined).map((field) => [field, spec[field]]),
  );

/** A Service reduced to a ClusterIP one (or headless) without anything that home allocated. */
export const planServiceItem = (service: Service): ReflectedItem => {
  const { spec } = service;
  const ports = (spec.ports ?? []).map(({ nodePort: _allocated, ...port }) => port);
  return {
    ...header('Service', service),
    labels: cleaned(service.metadata.labels),
    annotations: cleaned(service.metadata.annotations),
    body: {
      spec: {
        type: 'ClusterIP',
        ...(spec.clusterIP === 'None' ? { clusterIP: 'None' } : {}),
        ports,
        ...optional(spec, 'selector', 'sessionAffinity', 'sessionAffinityConfig'),
        ...optional(spec, 'publishNotReadyAddresses', 'trafficDistribution'),
      },
    },
  };
};

/** A ConfigMap or Secret; undefined for tokens of home's API, which never leave home. */
export const planConfigItem = (
  kind: 'ConfigMap' | 'Secret',
  object: ConfigMap | Secret,
): ReflectedItem | undefined => {
  if (isOptedOut(object) || object['type'] === 'kubernetes.io/service-account-token') return undefined;
  return {
    ...header(kind, object),
    labels: cleaned(object.metadata.labels),
    annotations: cleaned(object.metadata.annotations),
    body: optional(object, 'data', 'binaryData', 'type', 'immutable'),
  };
};

const isReady = (endpoint: Endpoint): boolean =>
  endpoint.conditions?.ready !== false && endpoint.conditions?.terminating !== true;

const portsOf = (slice: EndpointSlice): SliceItem['ports'] =>
  (slice.ports ?? []).flatMap((port) =>
    port.port === undefined || port.port === null
      ? []
      : [
          {
            ...(port.name === undefined ? {} : { name: port.name }),
            protocol: (port.protocol ?? 'TCP') as 'TCP' | 'UDP' | 'SCTP',
            port: port.port,
            ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
          },
        ],
  );

/**
 * A slice with the endpoints that are not at `peer` itself (its own controller lists those there); undefined when there
 * is none. Addresses are real ones, each with its cluster.
 */
export const planSliceItem = (
  slice: EndpointSlice,
  peer: string,
  findOrigin: FindOrigin,
): SliceItem | undefined => {
  const service = slice.metadata.labels?.[SLICE_SERVICE_LABEL];
  const isOurs = slice.metadata.labels?.[SLICE_MANAGED_BY_LABEL] === ENDPOINT_SLICE_MANAGED_BY;
  if (service === undefined || slice.addressType !== 'IPv4' || isOurs || isOptedOut(slice)) return undefined;
  const endpoints = (slice.endpoints ?? []).flatMap((endpoint) => {
    const address = endpoint.addresses[0];
    const origin = address === undefined ? undefined : findOrigin(endpoint, address);
    if (origin === undefined || origin.peer === peer) return [];
    return [
      {
        clusterID: origin.clusterID,
        address: origin.address,
        ...(endpoint.hostname === undefined ? {} : { hostname: endpoint.hostname }),
        ready: isReady(endpoint) && origin.isOpen,
      },
    ];
  });
  if (endpoints.length === 0) return undefined;
  return {
    ...header('EndpointSlice', slice),
    service,
    ports: portsOf(slice),
    endpoints: endpoints.slice(0, MAX_ENDPOINTS),
  };
};

/** Whether the address lies in what this cluster announces to peers. */
export const isAnnounced = (address: string, podCIDRs: readonly string[] | undefined): boolean =>
  podCIDRs === undefined || podCIDRs.some((cidr) => cidrContainsIp(parseCidr(cidr), parseIp(address)));

/** What a peer must be let through to for these slices: home's endpoints with the slices' ports. */
export const planEndpointOffers = (
  items: Iterable<ReflectedItem>,
  homeClusterID: string,
): readonly OfferedAddress[] => {
  const offers = new Map<string, Map<string, OpenPort> | 'all'>();
  for (const item of items) {
    if (item.kind !== 'EndpointSlice') continue;
    for (const { clusterID, address } of item.endpoints) {
      if (clusterID !== homeClusterID) continue;
      const known = offers.get(address) ?? new Map<string, OpenPort>();
      if (known === 'all' || item.ports.length === 0) {
        offers.set(address, 'all');
        continue;
      }
      for (const { protocol = 'TCP', port } of item.ports) {
        if (port !== undefined) known.set(`${protocol}/${port}`, { protocol, port });
      }
      offers.set(address, known.size > MAX_OFFERED_PORTS ? 'all' : known);
    }
  }
  return [...offers]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([address, ports]) => ({
      cidr: `${address}/32`,
      ...(ports === 'all'
        ? {}
        : {
            ports: [...ports.values()].toSorted(
              (a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1),
            ),
          }),
    }));
};
