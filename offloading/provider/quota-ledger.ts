/**
 * What each Grant has given away, counted in the one leader: a decision and its entry are one synchronous step, so that
 * pods which come at once can't all see the same free room. The ShadowPods are the record; the ledger is rebuilt of them.
 */
import type { ResourceList } from '../../api/quantity.ts';
import {
  amountsGiven,
  shortages,
  subtractAmounts,
  sumAmounts,
  type Amounts,
  type Shortage,
} from './plan-quota.ts';

interface Entry {
  readonly grant: string;
  readonly amounts: Amounts;
}

export interface QuotaLedger {
  /** Enters the shadow if it fits, else says what is missing. Entering one again is judged without its old entry. */
  reserve(key: string, grant: string, granted: ResourceList, needed: Amounts): readonly Shortage[];
  /** Enters what exists, whether it fits or not. */
  record(key: string, grant: string, amounts: Amounts): void;
  release(key: string): void;
  usedBy(grant: string): Amounts;
  /** Called with the name of each grant whose use changed, and whether something was given back. */
  onChange(listener: (grant: string, freed: boolean) => void): () => void;
}

/** Makes an empty ledger. */
export const createQuotaLedger = (): QuotaLedger => {
  const entries = new Map<string, Entry>();
  // Kept as a running sum: amounts are whole numbers, so that adding and taking away is exact.
  const totals = new Map<string, Amounts>();
  const listeners = new Set<(grant: string, freed: boolean) => void>();
  const changed = (grant: string, freed: boolean): void => {
    for (const listener of listeners) listener(grant, freed);
  };
  const usedBy = (grant: string): Amounts => totals.get(grant) ?? {};
  const release = (key: string): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    entries.delete(key);
    const left = subtractAmounts(usedBy(entry.grant), entry.amounts);
    if (Object.keys(left).length === 0) totals.delete(entry.grant);
    else totals.set(entry.grant, left);
    changed(entry.grant, true);
  };
  const record = (key: string, grant: string, amounts: Amounts): void => {
    const old = entries.get(key);
    if (old?.grant === grant && JSON.stringify(old.amounts) === JSON.stringify(amounts)) return;
    release(key);
    entries.set(key, { grant, amounts });
    totals.set(grant, sumAmounts([usedBy(grant), amounts]));
    changed(grant, false);
  };
  return {
    reserve: (key, grant, granted, needed) => {
      const old = entries.get(key);
      const others = old?.grant === grant ? subtractAmounts(usedBy(grant), old.amounts) : usedBy(grant);
      const missing = shortages(amountsGiven(granted), others, needed);
      if (missing.length === 0) record(key, grant, needed);
      return missing;
    },
    record,
    release,
    usedBy,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
};
