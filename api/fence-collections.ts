import { z } from 'zod';
import type { Collection } from './link.ts';

/** The collections of the fence (`api/fence.ts`). Each holds one item, id {@link FENCE_ID}. */

/** Id of the only item. */
export const FENCE_ID = 'fence';

/** Enforcers of the provider: `controller`, `node/<name>`; their ask numbers mean nothing to home. */
const Asks = z.record(z.string().max(260), z.number().int().min(0));

/** Provider → home: each enforcer's newest ask. */
export const FENCE_ASKS: Collection<z.ZodObject<{ asks: typeof Asks }>> = {
  name: 'fence-asks',
  schema: z.object({ asks: Asks }),
  maxItems: 1,
  maxItemBytes: 1_572_864,
  maxBytes: 8_388_608,
};

const FenceAnswer = z.object({
  /** The asks that this answers, as they were told. */
  asks: Asks,
  /** L: how long after its ask an enforcer may let the pods run. */
  leaseSeconds: z.number().int().min(1).max(3600),
  /** UIDs at home of the `fence` pods that may run there. */
  pods: z.array(z.string().min(1).max(64)).max(50_000),
});
export type FenceAnswer = z.infer<typeof FenceAnswer>;

/** Home → provider. */
export const FENCE_ANSWERS: Collection<typeof FenceAnswer> = {
  name: 'fence-answers',
  schema: FenceAnswer,
  maxItems: 1,
  maxItemBytes: 2_097_152,
  maxBytes: 8_388_608,
};
