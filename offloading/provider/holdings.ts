/**
 * What exists here of each consumer, counted in the one leader: a decision and its entry are one synchronous step. What
 * exists is the record; this is rebuilt of it.
 */
import type { Clock } from '../../runtime/clock.ts';
import { keyOf, type HasMetadata } from '../../runtime/kube/types.ts';
import { LABELS } from '../../api/labels.ts';
import type { ProviderContext } from './context.ts';
import {
  bytesOf,
  describeExcess,
  objectHolding,
  planHolding,
  planWrite,
  podHolding,
  type HeldLimits,
  type WriteBudget,
} from './plan-holdings.ts';
import { subtractAmounts, type Amounts } from './plan-quota.ts';
import { createQuotaLedger, type Account } from './quota-ledger.ts';

/** Why something isn't written, and when to try again. */
export interface Excess {
  readonly message: string;
  readonly retryMs: number;
}

/** What doesn't fit is tried again this often: room comes free without a word to it. */
const RETRY_MS = 60_000;

export interface Holdings {
  /** Enters what is about to be written, or says why it must not be. */
  admit(clusterID: string, key: string, needed: Amounts): Excess | undefined;
  /** Enters what exists, whether it fits or not. */
  record(clusterID: string, key: string, amounts: Amounts): void;
  release(key: string): void;
  usedBy(clusterID: string): Amounts;
}

/** Held whatever the grants say. */
const accountOf = (consumer: string): Account => ({ grant: '', consumer });

/** Makes empty holdings; `limitsOf` are asked for at each decision. */
export const createHoldings = (clock: Clock, limitsOf: (clusterID: string) => HeldLimits): Holdings => {
  const ledger = createQuotaLedger();
  const budgets = new Map<string, WriteBudget>();
  const payFor = (clusterID: string, limits: HeldLimits, bytes: number): number => {
    const { budget, waitMs } = planWrite(budgets.get(clusterID), limits, bytes, clock.monotonicMs());
    budgets.set(clusterID, budget);
    return waitMs;
  };
  return {
    admit: (clusterID, key, needed) => {
      const limits = limitsOf(clusterID);
      const before = ledger.amountsOf(key);
      const others =
        before === undefined
          ? ledger.usedByConsumer(clusterID)
          : subtractAmounts(ledger.usedByConsumer(clusterID), before);
      const missing = planHolding(limits, others, before, needed);
      if (missing.length > 0) return { message: describeExcess(limits, missing), retryMs: RETRY_MS };
      const waitMs = payFor(clusterID, limits, needed['size'] ?? 0);
      if (waitMs > 0)
        return {
          message: `this consumer writes too much at the peer; this waits for about ${Math.ceil(waitMs / 1000)} s`,
          retryMs: Math.min(waitMs + 1000, RETRY_MS),
        };
      ledger.record(key, accountOf(clusterID), needed);
      return undefined;
    },
    record: (clusterID, key, amounts) => ledger.record(key, accountOf(clusterID), amounts),
    release: (key) => ledger.release(key),
    usedBy: (clusterID) => ledger.usedByConsumer(clusterID),
  };
};

/** Key of an object in {@link Holdings}. */
export const heldKey = (kind: string, namespace: string, name: string): string =>
  `${kind}/${namespace}/${name}`;

/** Enters what exists, from now on and as long as `signal` doesn't abort. */
export const feedHoldings = (context: ProviderContext, signal: AbortSignal): void => {
  const { holdings, shadows, reflected } = context;
  const enter = (kind: string, gone: boolean, object: HasMetadata, amounts: () => Amounts): void => {
    const key = `${kind}/${keyOf(object)}`;
    const clusterID = object.metadata.labels?.[LABELS.origin];
    if (gone || clusterID === undefined) holdings.release(key);
    else holdings.record(clusterID, key, amounts());
  };
  const stops = [
    shadows.onChange(({ type, object }) =>
      enter('ShadowPod', type === 'deleted', object, () => podHolding(bytesOf(object))),
    ),
    ...Object.entries(reflected).map(([kind, informer]) =>
      informer.onChange(({ type, object }) =>
        enter(kind, type === 'deleted', object, () => objectHolding(bytesOf(object))),
      ),
    ),
  ];
  signal.addEventListener('abort', () => stops.forEach((stop) => stop()), { once: true });
};
