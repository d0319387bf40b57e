import { z } from 'zod';
import { CidrString } from '../cidr.ts';
import { DnsLabel } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** A port that is open. */
export const OpenPort = z.object({
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
  port: z.number().int().min(1).max(65535),
});
export type OpenPort = z.infer<typeof OpenPort>;

/** What people open to peers beyond what offloading needs. */
export const OpenRule = z.object({
  peers: z.array(DnsLabel).max(256).optional().describe('Peers it is open to; all when missing.'),
  namespaces: z.array(DnsLabel).max(256).optional().describe('Pods of these namespaces.'),
  cidrs: z.array(CidrString).max(256).optional().describe('Addresses within the announced CIDRs.'),
  ports: z.array(OpenPort).max(64).optional().describe('Ports; all, and ICMP, when missing.'),
});
export type OpenRule = z.infer<typeof OpenRule>;

/** The cluster's network as the fabric sees it; one, named `default`. */
export const NetworkConfigKind = defineKind({
  kind: 'NetworkConfig',
  plural: 'networkconfigs',
  shortNames: ['netcfg'],
  scope: 'Cluster',
  description: 'Announced CIDRs, pools for views, and what is open to peers.',
  spec: z.object({
    podCIDRs: z.array(CidrString).min(1).max(16).describe("This cluster's pod ranges."),
    serviceCIDRs: z
      .array(CidrString)
      .max(4)
      .default([])
      .describe('Never announced; views keep clear of them.'),
    externalCIDR: CidrString.default('10.70.0.0/16').describe('One address of it for each node; announced.'),
    viewPools: z
      .array(CidrString)
      .min(1)
      .max(16)
      .default(['10.128.0.0/9'])
      .describe("Ranges from which the views of peers' CIDRs are taken."),
    reservedCIDRs: z.array(CidrString).max(64).default([]).describe('Ranges that views must keep clear of.'),
    gatewayEndpoints: z
      .array(z.string().max(260))
      .max(8)
      .optional()
      .describe("host:port announced for WireGuard instead of the gateway node's own address."),
    wireguardPort: z.number().int().min(1).max(65535).default(51820),
    vxlanPort: z.number().int().min(1).max(65535).default(8473),
    mtu: z
      .number()
      .int()
      .min(1280)
      .max(9000)
      .optional()
      .describe('MTU of the tunnel; from the underlay when missing.'),
    open: z.array(OpenRule).max(64).default([]),
  }),
  status: z.object({ gateway: z.string().max(253).optional(), conditions: Conditions.optional() }),
  columns: [
    { name: 'Pods', type: 'string', jsonPath: '.spec.podCIDRs' },
    { name: 'External', type: 'string', jsonPath: '.spec.externalCIDR' },
    { name: 'Gateway', type: 'string', jsonPath: '.status.gateway' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    AGE_COLUMN,
  ],
  objectRules: [
    { rule: "self.metadata.name == 'default'", message: 'there is one NetworkConfig, named "default"' },
  ],
});
export type NetworkConfig = ObjectOf<typeof NetworkConfigKind>;
