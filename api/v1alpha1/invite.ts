import { z } from 'zod';
import { ClusterId, DnsLabel, Pin } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';
import { PeerRole } from './peer.ts';

const InviteSpec = z.object({
  publicKey: z
    .string()
    .max(128)
    .describe('Ed25519 public key (base64, raw 32 bytes); the seed is only in the invite.'),
  expiresAt: z.string().max(64).describe('RFC 3339.'),
  uses: z.number().int().min(1).max(1000).default(1),
  roles: z.array(PeerRole).min(1).max(2).describe('What the joiner will be to this cluster.'),
  endpoints: z
    .array(z.string().min(3).max(260))
    .min(1)
    .max(8)
    .describe('host:port at which this cluster is reachable.'),
  usedBy: z
    .array(z.object({ clusterID: ClusterId, pin: Pin, name: DnsLabel, usedAt: z.string().max(64) }))
    .max(1000)
    .default([])
    .describe(
      'Joiners, recorded by one conditional update each; a retry by a recorded key gets the same answer.',
    ),
});

/** An invitation to peer, at the cluster that can be reached; named by the invite's ID. */
export const InviteKind = defineKind({
  kind: 'Invite',
  plural: 'invites',
  shortNames: ['invite'],
  scope: 'Cluster',
  description: 'An invitation for another cluster to peer with this one.',
  spec: InviteSpec,
  status: z.object({ conditions: Conditions.optional() }),
  columns: [
    { name: 'Uses', type: 'integer', jsonPath: '.spec.uses' },
    { name: 'Expires', type: 'string', jsonPath: '.spec.expiresAt' },
    AGE_COLUMN,
  ],
});
export type Invite = ObjectOf<typeof InviteKind>;
