/**
 * What each Grant has given away, counted in the one leader: a decision and its entry are one synchronous step, so that
 * pods which come at once can't all see the same free room. The ShadowPods are the record; the ledger is rebuilt of them.
 */
import type { ResourceList } from '../../api/quantity.ts';
import { amountsGiven, shortages, sumAmounts, type Amounts, type Shortage } from './plan-quota.ts';

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
  const byGrant = new Map<string, Map<string, Amounts>>();
  const listeners = new Set<(grant: string, freed: boolean) => void>();
  const changed = (grant: string, freed: boolean): void => {
    for (const listener of listeners) listener(grant, freed);
  };
  const release = (key: string): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    entries.delete(key);
    const ofGrant = byGrant.get(entry.grant);
    ofGrant?.delete(key);
    if (ofGrant?.size === 0) byGrant.delete(entry.grant);
    changed(entry.grant, true);
  };
  const record = (key: string, grant: string, amounts: Amounts): void => {
    const old = entries.get(key);
    if (old?.grant === grant && JSON.stringify(old.amounts) === JSON.stringify(amounts)) return;
    release(key);
    entries.set(key, { grant, amounts });
    const ofGrant = byGrant.get(grant) ?? new Map<string, Amounts>();
    ofGrant.set(key, amounts);
    byGrant.set(grant, ofGrant);
    changed(grant, false);
  };
  const usedBut = (grant: string, except: string | undefined): Amounts =>
    sumAmounts(
      [...(byGrant.get(grant) ?? [])].filter(([key]) => key !== except).map(([, amounts]) => amounts),
    );
  return {
    reserve: (key, grant, granted, needed) => {
      const missing = shortages(amountsGiven(granted), usedBut(grant, key), needed);
      if (missing.length === 0) record(key, grant, needed);
      return missing;
    },
    record,
    release,
    usedBy: (grant) => usedBut(grant, undefined),
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
};
