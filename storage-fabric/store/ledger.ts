/** The books of what lies in the store and what is on its way there, by volume and tenant. */
import { tenantPrefix, parseRevocationKey } from './keys.ts';
import type { ObjectStore } from './object-store.ts';
import { onceByKey } from './once-by-key.ts';
import { OBJECT_COST, whyNoRoom, type Account, type Quotas, type Wish } from './plan-quota.ts';

/** Bytes that were set aside before the first of them was taken. One of the two ends it, the other then does nothing. */
export interface Reservation {
  /** They lie in the store now. */
  keep(): void;
  /** They don't. */
  giveBack(): void;
}

export interface Ledger {
  /** Sets bytes aside, for one object. Throws QUOTA_EXCEEDED when there is no room for them. */
  reserve(tenant: string, volume: Account, wish: Wish): Promise<Reservation>;
  /** Books an object that was deleted. */
  remove(tenant: string, volume: Account, size: number): Promise<void>;
}

/** Opens the books; a tenant's are made from what lies in the store when it first writes or deletes something. */
export const createLedger = (store: ObjectStore, quotas: Quotas): Ledger => {
  const load = async (tenant: string): Promise<Account> => {
    const account: Account = { stored: 0, reserved: 0 };
    for await (const { key, size } of store.list(tenantPrefix(tenant))) {
      // this cluster's own
      if (parseRevocationKey(key) === undefined) account.stored += size + OBJECT_COST;
    }
    return account;
  };
  const of = onceByKey(load);
  const subtract = (account: Account, size: number): void => {
    account.stored = Math.max(0, account.stored - size);
  };
  return {
    reserve: async (tenant, volume, wish) => {
      const all = await of(tenant);
      // nothing is awaited from here on: whoever comes at the same time sees what this one has set aside
      const why = whyNoRoom(wish, volume, all, quotas);
      if (why !== undefined) throw why;
      const { size } = wish;
      const cost = size + OBJECT_COST;
      volume.reserved += size;
      all.reserved += cost;
      let isOpen = true;
      const close = (stored: boolean): void => {
        if (!isOpen) return;
        isOpen = false;
        volume.reserved -= size;
        all.reserved -= cost;
        if (!stored) return;
        volume.stored += size;
        all.stored += cost;
      };
      return { keep: () => close(true), giveBack: () => close(false) };
    },
    remove: async (tenant, volume, size) => {
      const all = await of(tenant);
      subtract(volume, size);
      subtract(all, size + OBJECT_COST);
    },
  };
};
