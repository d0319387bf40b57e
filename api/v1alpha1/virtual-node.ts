import { z } from 'zod';
import { DnsLabel, DnsSubdomain } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** The Node that stands for a grant; same name as the Node. */
export const VirtualNodeKind = defineKind({
  kind: 'VirtualNode',
  plural: 'virtualnodes',
  shortNames: ['vn'],
  scope: 'Cluster',
  description: "A node of this cluster that stands for a peer's grant.",
  spec: z.object({
    peer: DnsLabel,
    claim: DnsSubdomain,
    labels: z
      .record(z.string().max(317), z.string().max(63))
      .optional()
      .describe('Further labels for the Node; a zone or region here goes before what the peer says.'),
    cordoned: z.boolean().default(false),
  }),
  status: z.object({
    port: z.number().int().optional().describe("Port of its kubelet API at the leader's address."),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Peer', type: 'string', jsonPath: '.spec.peer' },
    { name: 'Claim', type: 'string', jsonPath: '.spec.claim' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    AGE_COLUMN,
  ],
  rules: [
    {
      rule: 'self.peer == oldSelf.peer && self.claim == oldSelf.claim',
      message: 'peer and claim are immutable',
    },
  ],
});
export type VirtualNode = ObjectOf<typeof VirtualNodeKind>;
