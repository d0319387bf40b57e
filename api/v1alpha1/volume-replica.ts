import { z } from 'zod';
import { DnsLabel, DnsSubdomain } from '../cluster-id.ts';
import { Conditions } from '../conditions.ts';
import { AGE_COLUMN, defineKind, type ObjectOf } from '../define-kind.ts';

/** How sure it is that a recovery point is the volume at one moment. */
export const Consistency = z.enum(['Snapshot', 'FilesystemSnapshot', 'Hook', 'Stopped', 'BestEffort']);
export type Consistency = z.infer<typeof Consistency>;

/** A complete copy of a volume at a peer, as its commit record says. */
export const RecoveryPoint = z.object({
  peer: DnsLabel.describe('Whose store holds it: a peer, or this cluster by its own name.'),
  epoch: z.number().int().min(0),
  sequence: z.number().int().min(0).describe('Orders recovery points; clocks do not.'),
  snapshotID: z
    .string()
    .max(64)
    .regex(/^[0-9a-f]{8,64}$/),
  treeHash: z
    .string()
    .max(64)
    .regex(/^[0-9a-f]{64}$/),
  consistency: Consistency,
  cutAt: z.string().max(64).describe('When the copy was cut, RFC 3339.'),
  bytesScanned: z.number().int().min(0),
  bytesSent: z.number().int().min(0).describe('As the store counted them.'),
  salvage: z
    .boolean()
    .optional()
    .describe('The divergent tail of a peer that was lost: kept for people, never restored unattended.'),
});
export type RecoveryPoint = z.infer<typeof RecoveryPoint>;

/** So many points the status lists, at all peers together. */
export const MOST_POINTS = 1000;

/** Keeps copies of a volume at peers. */
export const VolumeReplicaKind = defineKind({
  kind: 'VolumeReplica',
  plural: 'volumereplicas',
  shortNames: ['vr'],
  scope: 'Namespaced',
  description: 'Copies of a PersistentVolumeClaim at peers, kept by an interval.',
  spec: z.object({
    claimName: DnsSubdomain.describe('The PersistentVolumeClaim (class fluvia) in this namespace.'),
    peers: z
      .array(DnsLabel)
      .min(1)
      .max(16)
      .describe('Peers whose stores hold the copies; this cluster by its own name.'),
    intervalSeconds: z.number().int().min(10).max(604800).default(300),
    mode: z.enum(['Cold']).default('Cold'),
    keep: z.number().int().min(1).max(1000).default(10).describe('Recovery points kept at each peer.'),
    salvageDays: z
      .number()
      .int()
      .min(1)
      .max(3650)
      .default(30)
      .describe('Days that salvage points are kept, beside keep: the newest three at each peer.'),
    allowBestEffort: z
      .boolean()
      .default(false)
      .describe('Whether unattended failover may use a BestEffort point.'),
    maxAgeSeconds: z
      .number()
      .int()
      .min(1)
      .optional()
      .describe('Age beyond which unattended failover waits for a person.'),
    paused: z.boolean().default(false),
  }),
  status: z.object({
    volume: z.string().max(63).optional(),
    epoch: z.number().int().optional(),
    location: DnsLabel.optional().describe('Where the volume is: a peer, or this cluster by its own name.'),
    points: z.array(RecoveryPoint).max(MOST_POINTS).optional(),
    lastAttemptAt: z.string().max(64).optional(),
    lastError: z.string().max(1024).optional(),
    conditions: Conditions.optional(),
  }),
  columns: [
    { name: 'Claim', type: 'string', jsonPath: '.spec.claimName' },
    { name: 'Location', type: 'string', jsonPath: '.status.location' },
    { name: 'Copy', type: 'date', jsonPath: '.status.points[0].cutAt' },
    { name: 'Consistency', type: 'string', jsonPath: '.status.points[0].consistency' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      priority: 1,
    },
    AGE_COLUMN,
  ],
  rules: [
    {
      // What each peer's store may hold before it is pruned, with the tails of lost peers, is listed.
      rule: '(self.keep + 14) * size(self.peers) <= 1000',
      message:
        'keep is too high for so many peers: the status lists 1000 points, which is (keep + 14) for each peer',
    },
    {
      rule: '!has(self.maxAgeSeconds) || self.maxAgeSeconds >= self.intervalSeconds',
      message: 'maxAgeSeconds is below intervalSeconds: no copy would ever be fresh enough',
    },
    {
      rule: 'self.claimName == oldSelf.claimName',
      message: 'claimName is immutable: make another VolumeReplica',
    },
  ],
});
export type VolumeReplica = ObjectOf<typeof VolumeReplicaKind>;
