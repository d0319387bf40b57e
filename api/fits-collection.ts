import { z } from 'zod';
import type { Collection } from './link.ts';
import { ResourceList } from './quantity.ts';

/** Most distinct slots that a provider tells; the largest are kept. */
export const MAX_SLOTS = 64;
/** Most pods of the consumer that are named as counted; the newest are kept. */
export const MAX_COUNTED = 2048;

/**
 * Room of real nodes of the provider that are equal as far as is told. Anonymous: no names. Only nodes that pods of peers can
 * be put on (Ready, not cordoned, without taints, since tolerations don't travel).
 */
export const FitSlot = z.object({
  /** What one pod can get there now: free on the node, and at most what the grant has left. */
  free: ResourceList,
  /** Nodes like this. */
  count: z.number().int().min(1).max(100_000),
  /** `kubernetes.io/arch`, `kubernetes.io/os`, zone and region; nothing else. */
  labels: z.record(z.string().max(317), z.string().max(63)),
});
export type FitSlot = Readonly<z.infer<typeof FitSlot>>;

const FITS_ITEM = z.object({
  /** Largest first. Empty: nothing fits. */
  slots: z.array(FitSlot).max(MAX_SLOTS),
  /** Nodes of which nothing is told, since they are smaller than all that are. */
  omittedNodes: z.number().int().min(0).max(100_000),
  /** UIDs of the consumer's own pods whose room is already taken off the slots. */
  counted: z.array(z.string().min(1).max(64)).max(MAX_COUNTED),
  /** Whether `counted` names all; else only the newest. */
  countedAll: z.boolean(),
});

/** Provider → consumer; id = the Claim's name: what would fit now, from the provider's real nodes, not from a sum. */
export const FITS: Collection<typeof FITS_ITEM> = {
  name: 'fits',
  schema: FITS_ITEM,
  maxItems: 16,
  maxItemBytes: 262_144,
  maxBytes: 16_777_216,
};
