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

/** Where a pod counts: in the Grant of the claim that it came by, and among all that its consumer runs here. */
export interface Account {
  readonly grant: string;
  /** Cluster ID of the consumer. */
  readonly consumer: string;
}

/** What an account may hold. */
export interface Allowance {
  readonly granted: ResourceList;
  /** Limit of the consumer as a whole, pods of claims that are withdrawn among it; none when missing. */
  readonly together?: ResourceList | undefined;
}

interface Entry {
  readonly account: Account;
  readonly amounts: Amounts;
}

export interface QuotaLedger {
  /** Enters the shadow if it fits, else says what is missing. Entering one again is judged without its old entry. */
  reserve(key: string, account: Account, allowed: Allowance, needed: Amounts): readonly Shortage[];
  /** Enters what exists, whether it fits or not. */
  record(key: string, account: Account, amounts: Amounts): void;
  release(key: string): void;
  usedBy(grant: string): Amounts;
  usedByConsumer(clusterID: string): Amounts;
  /** What is entered under a key. */
  amountsOf(key: string): Amounts | undefined;
  /** Called with each account whose use changed, and whether something was given back. */
  onChange(listener: (account: Account, freed: boolean) => void): () => void;
}

/** A running sum per name: amounts are whole numbers, so that adding and taking away is exact. */
const createSums = () => {
  const sums = new Map<string, Amounts>();
  const of = (name: string): Amounts => sums.get(name) ?? {};
  return {
    of,
    add: (name: string, amounts: Amounts): void => void sums.set(name, sumAmounts([of(name), amounts])),
    take: (name: string, amounts: Amounts): void => {
      const left = subtractAmounts(of(name), amounts);
      if (Object.keys(left).length === 0) sums.delete(name);
      else sums.set(name, left);
    },
  };
};

/** Makes an empty ledger. */
export const createQuotaLedger = (): QuotaLedger => {
  const entries = new Map<string, Entry>();
  const grants = createSums();
  const consumers = createSums();
  const listeners = new Set<(account: Account, freed: boolean) => void>();
  const changed = (account: Account, freed: boolean): void => {
    for (const listener of listeners) listener(account, freed);
  };
  const release = (key: string): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    entries.delete(key);
    grants.take(entry.account.grant, entry.amounts);
    consumers.take(entry.account.consumer, entry.amounts);
    changed(entry.account, true);
  };
  const record = (key: string, account: Account, amounts: Amounts): void => {
    const old = entries.get(key);
    const isSame =
      old?.account.grant === account.grant &&
      old.account.consumer === account.consumer &&
      JSON.stringify(old.amounts) === JSON.stringify(amounts);
    if (isSame) return;
    release(key);
    entries.set(key, { account, amounts });
    grants.add(account.grant, amounts);
    consumers.add(account.consumer, amounts);
    changed(account, false);
  };
  return {
    reserve: (key, account, { granted, together }, needed) => {
      const old = entries.get(key);
      const without = (used: Amounts, isIn: boolean | undefined): Amounts =>
        old !== undefined && isIn === true ? subtractAmounts(used, old.amounts) : used;
      const inGrant = without(grants.of(account.grant), old?.account.grant === account.grant);
      const inAll = without(consumers.of(account.consumer), old?.account.consumer === account.consumer);
      const missing = [
        ...shortages(amountsGiven(granted), inGrant, needed),
        ...(together === undefined
          ? []
          : shortages(amountsGiven(together), inAll, needed).map((one) => ({ ...one, ofAll: true }))),
      ];
      if (missing.length === 0) record(key, account, needed);
      return missing;
    },
    record,
    release,
    usedBy: grants.of,
    usedByConsumer: consumers.of,
    amountsOf: (key) => entries.get(key)?.amounts,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
};
