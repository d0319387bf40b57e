import { z } from 'zod';
import { CidrString } from '../cidr.ts';
import { ClusterId, DnsLabel } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** A real CIDR of one cluster and the CIDR of equal length under which another sees it. */
export const ViewRange = z.object({
  purpose: z.enum(['Pod', 'External']),
  real: CidrString,
  view: CidrString,
});
export type ViewRange = z.infer<typeof ViewRange>;

/** How this cluster and a peer see each other's addresses; named as the Peer. */
export const ViewKind = defineKind({
  kind: 'View',
  plural: 'views',
  shortNames: ['view'],
  scope: 'Cluster',
  description: 'Real and seen address ranges of a peering.',
  spec: z.object({
    peer: DnsLabel,
    clusterID: ClusterId,
    theirs: z
      .array(ViewRange)
      .max(32)
      .describe("The peer's CIDRs and where this cluster sees them; chosen here."),
    ours: z
      .array(ViewRange)
      .max(32)
      .describe("This cluster's CIDRs and where the peer sees them; chosen there, empty until it told."),
  }),
  status: z.object({ conditions: Conditions.optional() }),
  columns: [
    { name: 'Theirs', type: 'string', jsonPath: '.spec.theirs[*].view' },
    { name: 'Ours', type: 'string', jsonPath: '.spec.ours[*].view' },
    AGE_COLUMN,
  ],
});
export type View = ObjectOf<typeof ViewKind>;
