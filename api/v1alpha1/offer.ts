import { z } from 'zod';
import { CidrString } from '../cidr.ts';
import { DnsLabel } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';
import { OpenPort } from './network-config.ts';

/** Most addresses in one Offer. */
export const OFFER_SLICE_SIZE = 200;

/** An address or range of this cluster that a peer may reach. */
export const OfferedAddress = z.object({
  cidr: CidrString,
  ports: z.array(OpenPort).max(64).optional().describe('All, and ICMP, when missing.'),
});
export type OfferedAddress = z.infer<typeof OfferedAddress>;

/** A slice of what one peer may reach here. Agents acknowledge its generation in their FabricNode. */
export const OfferKind = defineKind({
  kind: 'Offer',
  plural: 'offers',
  shortNames: ['offer'],
  scope: 'Cluster',
  description: 'Addresses of this cluster that a peer may reach.',
  spec: z.object({ peer: DnsLabel, addresses: z.array(OfferedAddress).max(OFFER_SLICE_SIZE) }),
  status: z.object({ conditions: Conditions.optional() }),
  columns: [{ name: 'Peer', type: 'string', jsonPath: '.spec.peer' }, AGE_COLUMN],
  rules: [{ rule: 'self.peer == oldSelf.peer', message: 'peer is immutable' }],
});
export type Offer = ObjectOf<typeof OfferKind>;
