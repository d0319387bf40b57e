import { z } from 'zod';
import { DnsLabel } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';
import { ResourceList } from '../quantity.ts';

/** Resource name → price for an hour of one core, GiB (memory, storage) or piece. One currency for the whole fabric. */
export const PricePerHour = z.record(z.string().max(253), z.number().min(0).max(1_000_000));
export type PricePerHour = Readonly<z.infer<typeof PricePerHour>>;

/** What a provider tells of a grant besides its amounts. */
export const GrantTerms = z.object({
  zone: z
    .string()
    .max(63)
    .optional()
    .describe('topology.kubernetes.io/zone of the virtual node, unless home labels it otherwise.'),
  region: z.string().max(63).optional(),
  architectures: z.array(z.string().max(32)).max(8).optional(),
  operatingSystems: z.array(z.string().max(32)).max(4).optional(),
  kubeletVersion: z.string().max(64).optional(),
  pricePerHour: PricePerHour.optional().describe('Price of a core, a GiB or a piece for an hour.'),
});
export type GrantTerms = z.infer<typeof GrantTerms>;

/** What a consumer asks of a provider. */
export const ClaimKind = defineKind({
  kind: 'Claim',
  plural: 'claims',
  shortNames: ['claim'],
  scope: 'Cluster',
  description: 'Capacity asked of a peer.',
  spec: z.object({
    peer: DnsLabel.describe('Name of the Peer that is asked.'),
    resources: ResourceList.optional().describe(
      "Amounts wanted; what is missing is the provider's to choose.",
    ),
  }),
  status: z.object({
    granted: ResourceList.optional(),
    used: ResourceList.optional(),
    terms: GrantTerms.optional(),
    observedAt: z.string().max(64).optional().describe("When the provider's word was last heard, RFC 3339."),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Peer', type: 'string', jsonPath: '.spec.peer' },
    { name: 'CPU', type: 'string', jsonPath: '.status.granted.cpu' },
    { name: 'Memory', type: 'string', jsonPath: '.status.granted.memory' },
    { name: 'Pods', type: 'string', jsonPath: '.status.granted.pods' },
    { name: 'Granted', type: 'string', jsonPath: '.status.conditions[?(@.type=="Granted")].status' },
    AGE_COLUMN,
  ],
  rules: [{ rule: 'self.peer == oldSelf.peer', message: 'peer is immutable: make another Claim' }],
});
export type Claim = ObjectOf<typeof ClaimKind>;
