import { z } from 'zod';
import { ClusterId, Pin } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** What the other cluster is to this one. */
export const PeerRole = z.enum(['Consumer', 'Provider']);
export type PeerRole = z.infer<typeof PeerRole>;

const PeerSpec = z.object({
  clusterID: ClusterId.describe('The peer, as the hash of its identity key.'),
  pins: z
    .array(Pin)
    .min(1)
    .max(2)
    .describe('SHA-256 of the SPKI of the keys accepted from it; two while it rotates.'),
  endpoints: z
    .array(z.string().min(3).max(260))
    .max(8)
    .default([])
    .describe('host:port where this side dials the peer; empty when the peer dials.'),
  roles: z
    .array(PeerRole)
    .min(1)
    .max(2)
    .describe(
      'What the peer is to this cluster: Consumer (its pods may run here), Provider (ours may run there).',
    )
    .meta({ 'x-kubernetes-list-type': 'set' }),
  inviteID: z.string().max(63).optional().describe('The invite by which it came.'),
  paused: z.boolean().default(false).describe('Keeps the peering but closes the link.'),
  cordoned: z
    .boolean()
    .default(false)
    .describe('Keeps what runs; nothing new is placed there or accepted from it.'),
  maxViewAddresses: z
    .number()
    .int()
    .min(1)
    .max(4_294_967_296)
    .optional()
    .describe(
      "Most addresses that the peer's announced ranges may have together; a quarter of the view pools when missing.",
    ),
});

const PeerStatus = z.object({
  link: z
    .object({
      state: z.enum(['Up', 'Down', 'Paused']),
      since: z.string().max(64),
      lastHeardAt: z.string().max(64).optional().describe('When the peer last answered, RFC 3339.'),
      version: z.string().max(64).optional(),
      features: z.array(z.string().max(64)).max(64).optional(),
      rttMilliseconds: z.number().optional(),
    })
    .optional(),
  clusterUID: z
    .string()
    .max(64)
    .optional()
    .describe("UID of the peer's kube-system, to detect a cloned identity."),
  leaderTransitions: z
    .number()
    .int()
    .optional()
    .describe("The peer's highest leader term seen; lower ones are refused."),
  fingerprint: z
    .string()
    .max(64)
    .optional()
    .describe('Short fingerprint of both identities; equal at both sides.'),
  conditions: Conditions.optional(),
});

/** One end of a peering; named by the peer's human name. */
export const PeerKind = defineKind({
  kind: 'Peer',
  plural: 'peers',
  shortNames: ['peer'],
  scope: 'Cluster',
  description: 'A cluster that this one is peered with.',
  spec: PeerSpec,
  status: PeerStatus,
  columns: [
    { name: 'Roles', type: 'string', jsonPath: '.spec.roles' },
    { name: 'Link', type: 'string', jsonPath: '.status.link.state' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Network', type: 'string', jsonPath: '.status.conditions[?(@.type=="NetworkReady")].status' },
    { name: 'Cluster', type: 'string', jsonPath: '.spec.clusterID', priority: 1 },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      priority: 1,
    },
    AGE_COLUMN,
  ],
  rules: [
    { rule: 'self.clusterID == oldSelf.clusterID', message: 'clusterID is immutable: unpeer and peer again' },
  ],
});
export type Peer = ObjectOf<typeof PeerKind>;
