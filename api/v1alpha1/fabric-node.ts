import { z } from 'zod';
import { CidrString, Ipv4String } from '../cidr.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** A node of this cluster in the fabric; named as the Node. Spec by the controller, status by the node's agent. */
export const FabricNodeKind = defineKind({
  kind: 'FabricNode',
  plural: 'fabricnodes',
  shortNames: ['fn'],
  scope: 'Cluster',
  description: "What a node's agent must know and what it has done.",
  spec: z.object({
    nodeAddress: Ipv4String.describe("The Node's InternalIP: underlay of Fluvia's VXLAN."),
    podRanges: z.array(CidrString).max(1024).describe('Where its pods are.'),
    externalAddress: Ipv4String.describe("The node's own address of the external CIDR."),
    gateway: z.string().max(253).optional().describe('Name of the node that holds the tunnels.'),
    fence: z
      .array(
        z.object({
          clusterID: z.string().max(26),
          ask: z.number().int().min(0).describe("The node's ask that home answered."),
          leaseSeconds: z.number().int().min(1).max(3600),
          pods: z.array(z.string().max(64)).max(1000).describe('UIDs at home of pods on this node.'),
        }),
      )
      .max(64)
      .optional()
      .describe(
        'Answers of homes whose `fence` pods are on this node; there is none where there are no such pods.',
      ),
  }),
  status: z.object({
    vxlanMAC: z
      .string()
      .max(17)
      .regex(/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/)
      .optional(),
    networks: z
      .array(CidrString)
      .max(64)
      .optional()
      .describe("Networks that the node's own routes lead to; new views keep clear of them."),
    heartbeatAt: z.string().max(64).optional(),
    fenceAsk: z.number().int().min(0).optional().describe("The agent's newest ask (see `api/fence.ts`)."),
    acknowledgedOffers: z
      .record(z.string().max(253), z.number().int())
      .optional()
      .describe('Offer name → generation that this node enforces.'),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Address', type: 'string', jsonPath: '.spec.nodeAddress' },
    { name: 'External', type: 'string', jsonPath: '.spec.externalAddress' },
    { name: 'Gateway', type: 'string', jsonPath: '.spec.gateway' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    AGE_COLUMN,
  ],
});
export type FabricNode = ObjectOf<typeof FabricNodeKind>;
