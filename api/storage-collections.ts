import { z } from 'zod';
import { Ipv4String } from './cidr.ts';
import { DnsLabel, DnsSubdomain } from './cluster-id.ts';
import { collection } from './link.ts';
import { QuantityString } from './quantity.ts';
import { Consistency, RecoveryPoint } from './v1alpha1/volume-replica.ts';

/** The collections of the storage fabric (design §4). As all collections, checked at the receiver. */

/** A volume's ID: `v` and 16 hex digits of the SHA-256 of home's PVC UID. */
export const VolumeId = z.string().regex(/^v[0-9a-f]{16}$/);
export type VolumeId = z.infer<typeof VolumeId>;

/** Home → provider; id = volume ID: a volume that is (to be) at the provider, as a PVC in the twin, named as at home. */
export const VOLUMES = collection(
  'volumes',
  z.object({
    namespace: DnsLabel,
    claimName: DnsSubdomain,
    /** UID of home's PVC. */
    uid: z.string().min(1).max(64),
    size: QuantityString,
    accessModes: z
      .array(z.enum(['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod']))
      .min(1)
      .max(4),
    volumeMode: z.enum(['Filesystem']),
    epoch: z.number().int().min(0),
    /**
     * `active`: pods may use it; `restoring`: only a restore Job may; `retained`: kept, used by nothing (a moved-away copy);
     * `unknown`: home has lost the word where it is, and whoever has it keeps it as it is.
     */
    state: z.enum(['active', 'restoring', 'retained', 'unknown']),
    /** Whether it was there once: where it is gone its data is lost, and no empty one is made in its stead. */
    mustExist: z.boolean().optional(),
    /** Only from a cluster to itself: the node that the scheduler chose for the first pod. Peers leave it unread. */
    node: z.string().max(253).optional(),
  }),
  10_000,
  16_384,
  16,
);

/** Provider → home; id = volume ID. */
export const VOLUME_STATUS = collection(
  'volume-status',
  z.object({
    uid: z.string().min(1).max(64),
    phase: z.enum(['Pending', 'Bound', 'Failed', 'Gone']),
    /** The state that the claim had when it was seen so: from `retained` on no pod there can begin to use it. */
    state: z.enum(['active', 'restoring', 'retained']).optional(),
    reason: z.string().max(128).optional(),
    message: z.string().max(1024).optional(),
    storageClass: z.string().max(253).optional(),
    capacity: QuantityString.optional(),
  }),
  10_000,
  8192,
  16,
);

/** Each to its peers; id `store`: where this cluster's store front can be reached from the receiver. Missing: it has none. */
export const STORE = collection(
  'store',
  z.object({
    /** Real address (the receiver translates by its View), offered to the receiver. */
    address: Ipv4String,
    port: z.number().int().min(1).max(65535),
    /** Certificate authority (PEM) of the front's own short-lived certificate, and its name. */
    caCertificate: z.string().max(16_384),
    serverName: DnsSubdomain,
    ready: z.boolean(),
    message: z.string().max(1024).optional(),
  }),
  1,
  32_768,
  1,
);

/** Home → target; id = request ID: asks for a token of the target's store. */
export const TOKEN_REQUESTS = collection(
  'store-token-requests',
  z.object({
    volume: VolumeId,
    kind: z.enum(['append', 'maintain', 'read']),
    epoch: z.number().int().min(0),
    lifetimeSeconds: z.number().int().min(60).max(86_400),
    /** Increased by home to ask anew. */
    attempt: z.number().int().min(0),
  }),
  10_000,
  4096,
  8,
);

/** Target → home; id = request ID. A token lives in the target's memory and here; it is never stored in an object. */
export const TOKENS = collection(
  'store-tokens',
  z.object({
    attempt: z.number().int().min(0),
    token: z.string().max(512).optional(),
    /** Path of the restic repository at the front, e.g. `/v0123456789abcdef/`. */
    path: z.string().max(256).optional(),
    expiresAt: z.string().max(64).optional(),
    refused: z.object({ reason: z.string().max(128), message: z.string().max(1024) }).optional(),
  }),
  10_000,
  8192,
  16,
);

/** Home → target; id = volume ID: asks which copies of a volume the target's store holds. */
export const RECORD_REQUESTS = collection(
  'store-record-requests',
  z.object({
    epoch: z.number().int().min(0),
    /** Another number with each question: an answer names the one that it is for. */
    attempt: z.number().int().min(0),
  }),
  10_000,
  1024,
  8,
);

/** A commit record as its store tells it. `seal` is home's word that it is one: see `storage-fabric/record-seal.ts`. */
export const StoredRecord = RecoveryPoint.omit({ peer: true }).extend({
  seal: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
export type StoredRecord = z.infer<typeof StoredRecord>;

/** Most records of one answer, the newest; `spec.keep` allows no more. */
export const MOST_RECORDS = 1200;

/** Target → home; id = volume ID: the commit records of a volume. Taken back once home has them. */
export const RECORDS = collection(
  'store-records',
  z.object({
    attempt: z.number().int().min(0),
    records: z.array(StoredRecord).max(MOST_RECORDS).optional(),
    refused: z.object({ reason: z.string().max(128), message: z.string().max(1024) }).optional(),
  }),
  10_000,
  786_432,
  32,
);

/** Home → the cluster that runs the Job; id = transfer ID: one mover Job. */
export const TRANSFERS = collection(
  'transfers',
  z.object({
    action: z.enum(['backup', 'restore', 'maintain']),
    volume: VolumeId,
    namespace: DnsLabel,
    claimName: DnsSubdomain,
    epoch: z.number().int().min(0),
    sequence: z.number().int().min(0),
    store: z.object({
      clusterID: z.string().length(26),
      address: Ipv4String,
      port: z.number().int().min(1).max(65535),
      caCertificate: z.string().max(16_384),
      serverName: DnsSubdomain,
      path: z.string().max(256),
    }),
    token: z.string().max(512),
    /** The volume's key (restic password), made at home. */
    key: z.string().min(32).max(256),
    /** What to restore. */
    snapshotID: z.string().max(64).optional(),
    /** SHA-256 of the tree that the recovery point has: a restore of any other is refused. */
    treeHash: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    parentSnapshotID: z.string().max(64).optional(),
    /** Whether the writer is stopped (a planned move), so that the copy is `Stopped`. */
    writerStopped: z.boolean(),
    keep: z.number().int().min(1).max(1000).optional(),
    /** Whether an empty volume may be copied: no copy holds anything that this one could hide. */
    mayBeEmpty: z.boolean().optional(),
    /** Whether the copy is the tail of a peer that was lost: its record says so. */
    salvage: z.boolean().optional(),
    /** Salvage points that were cut before this (RFC 3339) are pruned. */
    salvageSince: z.string().max(64).optional(),
    deadlineSeconds: z.number().int().min(30).max(86_400),
  }),
  1000,
  65_536,
  16,
);

/** Back to home; id = transfer ID. */
export const TRANSFER_STATUS = collection(
  'transfer-status',
  z.object({
    phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed']),
    reason: z.string().max(128).optional(),
    message: z.string().max(1024).optional(),
    bytesDone: z.number().min(0).optional(),
    bytesTotal: z.number().min(0).optional(),
    result: z
      .object({
        snapshotID: z
          .string()
          .max(64)
          .regex(/^[0-9a-f]{8,64}$/),
        treeHash: z
          .string()
          .max(64)
          .regex(/^[0-9a-f]{64}$/),
        consistency: Consistency,
        cutAt: z.string().max(64),
        bytesScanned: z.number().min(0),
        bytesSent: z.number().min(0),
      })
      .optional(),
  }),
  1000,
  16_384,
  8,
);
