import { z } from 'zod';
import { FITS } from './fits-collection.ts';
import { CidrString, Ipv4String } from './cidr.ts';
import { ClusterId, DnsLabel, DnsSubdomain } from './cluster-id.ts';
import { FENCE_ANSWERS, FENCE_ASKS } from './fence-collections.ts';
import { collection } from './link.ts';
import { ResourceList } from './quantity.ts';
import {
  RECORD_REQUESTS,
  RECORDS,
  STORE,
  TOKEN_REQUESTS,
  TOKENS,
  TRANSFERS,
  TRANSFER_STATUS,
  VOLUMES,
  VOLUME_STATUS,
} from './storage-collections.ts';
import { GrantTerms } from './v1alpha1/claim.ts';
import { WireguardKey } from './v1alpha1/gateway.ts';
import { ViewRange } from './v1alpha1/view.ts';

/**
 * Every collection that crosses a peering. All input from a peer is validated by these schemas before any controller
 * sees it; unknown fields are dropped, so that an older side works with a newer one.
 */

/** Both ways; one item, id `network`: announced CIDRs, how the sender sees the receiver's, and its gateways. */
export const NETWORK = collection(
  'network',
  z.object({
    podCIDRs: z.array(CidrString).min(1).max(16),
    externalCIDR: CidrString,
    views: z.array(ViewRange).max(32).describe("The receiver's CIDRs as the sender sees them."),
    gateways: z
      .array(
        z.object({
          id: DnsSubdomain,
          publicKey: WireguardKey,
          endpoints: z.array(z.string().min(3).max(260)).max(8),
          externalAddress: Ipv4String.describe('Its own address of the external CIDR (real), for probes.'),
        }),
      )
      .max(16),
  }),
  1,
  65536,
  1,
);

/** Consumer → provider; id = the Claim's name. */
export const CLAIMS = collection('claims', z.object({ resources: ResourceList.optional() }), 16, 16384, 2);

/** Provider → consumer; id = the Claim's name. */
export const GRANTS = collection(
  'grants',
  z.object({
    granted: z.boolean(),
    reason: z.string().max(128),
    message: z.string().max(1024),
    resources: ResourceList,
    used: ResourceList.optional(),
    terms: GrantTerms,
  }),
  16,
  65536,
  8,
);

/** Consumer → provider; id = the namespace's name at home: a twin is wanted. */
export const NAMESPACES = collection(
  'namespaces',
  z.object({
    mapping: z.enum(['auto', 'same']),
    /** Further peers on which this namespace is open: its shadows may be reached from their twins of it. */
    sharedWith: z.array(ClusterId).max(256),
  }),
  1000,
  32768,
  8,
);

/** Provider → consumer; id = the namespace's name at home. */
export const TWINS = collection(
  'twins',
  z.object({
    twin: DnsLabel.optional(),
    ready: z.boolean(),
    reason: z.string().max(128),
    message: z.string().max(1024),
  }),
  1000,
  8192,
  8,
);

/** Consumer → provider; id = `namespace/name` at home. Removed when the pod is to go. */
export const SHADOWS = collection(
  'shadows',
  z.object({
    uid: z.string().min(1).max(64),
    node: DnsSubdomain,
    claim: DnsSubdomain,
    labels: z.record(z.string().max(317), z.string().max(63)),
    annotations: z.record(z.string().max(317), z.string().max(262144)),
    /** PodSpec as home wants it run, already without what only home can have. */
    spec: z.record(z.string(), z.unknown()),
    /** Set once the home pod is being deleted: seconds of grace. The item goes when the provider said `gone`. */
    deletionGraceSeconds: z.number().int().min(0).max(86400).optional(),
    /** Set for `onLoss: fence`: it runs only while a lease lists it, and must have stopped so long after the lease's end. */
    fence: z.object({ stopSeconds: z.number().int().min(1).max(3600) }).optional(),
  }),
  50_000,
  1_048_576,
  96,
);

/** Provider → consumer; id = `namespace/name` at home. */
export const SHADOW_STATUS = collection(
  'shadow-status',
  z.object({
    uid: z.string().min(1).max(64),
    /** `refused`: the provider won't run it (see message); `gone`: it runs no more and was removed. */
    state: z.enum(['accepted', 'refused', 'gone']),
    /** With `refused`: what stands in the way may pass (no room, a cordon); the provider tries the pod again by itself. */
    passing: z.boolean().optional(),
    reason: z.string().max(128).optional(),
    message: z.string().max(2048).optional(),
    /** PodStatus there, with real addresses of the provider. */
    status: z.record(z.string(), z.unknown()).optional(),
    /** Real address at the provider, only once it is open to the consumer. */
    podIP: Ipv4String.optional(),
    nodeName: DnsSubdomain.optional(),
  }),
  50_000,
  262_144,
  96,
);

/**
 * Consumer → provider; id = `Kind/namespace/name` at home: Services, EndpointSlices, ConfigMaps and Secrets as home has
 * them, already reduced to what may be reflected.
 */
export const OBJECTS = collection(
  'objects',
  z.discriminatedUnion('kind', [
    z.object({
      kind: z.enum(['Service', 'ConfigMap', 'Secret']),
      namespace: DnsLabel,
      name: DnsSubdomain,
      uid: z.string().min(1).max(64),
      labels: z.record(z.string().max(317), z.string().max(63)),
      annotations: z.record(z.string().max(317), z.string().max(262144)),
      /** The object's own fields (`spec`, or `data`, `binaryData`, `type`, `immutable`). */
      body: z.record(z.string(), z.unknown()),
    }),
    z.object({
      kind: z.literal('EndpointSlice'),
      namespace: DnsLabel,
      name: DnsSubdomain,
      uid: z.string().min(1).max(64),
      service: DnsLabel,
      ports: z
        .array(
          z.object({
            name: z.string().max(63).optional(),
            protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
            port: z.number().int().min(1).max(65535).optional(),
            appProtocol: z.string().max(63).optional(),
          }),
        )
        .max(100),
      endpoints: z
        .array(
          z.object({
            /** The cluster whose real address it is; the receiver translates by its own view of that cluster. */
            clusterID: ClusterId,
            address: Ipv4String,
            hostname: z.string().max(63).optional(),
            ready: z.boolean(),
          }),
        )
        .max(1000),
    }),
  ]),
  50_000,
  1_572_864,
  96,
);

/** Every collection, by name: a link serves what stands here, or was published before the peer asked for it. */
export const COLLECTIONS = [
  NETWORK,
  CLAIMS,
  GRANTS,
  FITS,
  NAMESPACES,
  TWINS,
  SHADOWS,
  SHADOW_STATUS,
  OBJECTS,
  FENCE_ASKS,
  FENCE_ANSWERS,
  VOLUMES,
  VOLUME_STATUS,
  STORE,
  TOKEN_REQUESTS,
  TOKENS,
  RECORD_REQUESTS,
  RECORDS,
  TRANSFERS,
  TRANSFER_STATUS,
] as const;
