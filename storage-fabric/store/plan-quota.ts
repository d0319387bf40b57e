/** Whether there is room for what shall be written: per volume, and per tenant over all of its volumes. Pure. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

/** Most bytes; unlimited when missing. */
export interface Quotas {
  readonly volumeBytes?: number | undefined;
  readonly tenantBytes?: number | undefined;
}

/** Bytes of a volume or tenant. */
export interface Account {
  /** What lies in the store. */
  stored: number;
  /** What is on its way there. */
  reserved: number;
}

/** What shall be written. */
export interface Wish {
  readonly size: number;
  /** Locks, commit records, and what a prune writes anew find a little room beyond, or a full volume could never be pruned. */
  readonly isTidying: boolean;
}

/**
 * What an object costs its tenant beside its bytes, about a block of a file system: who stores nothing a million times
 * takes something all the same.
 */
export const OBJECT_COST = 4096;

/** A tenant's most bytes when neither its owner nor the size of the store says another: 1 TiB. */
export const DEFAULT_TENANT_BYTES = 2 ** 40;

const TIDY_BYTES = 64 * 2 ** 20;
const TIDY_SHARE = 1.05;

const exceeds = (account: Account, quota: number, size: number, isTidying: boolean): boolean =>
  account.stored + account.reserved + size > (isTidying ? quota * TIDY_SHARE + TIDY_BYTES : quota);

const refusal = (who: string, would: number, quota: number, setting: string): FluviaError =>
  new FluviaError(ERROR_CODES.QUOTA_EXCEEDED, `${who} would take ${would} of ${quota} bytes in this store`, {
    hint: `ask the store's owner for a larger quota (${setting} of Deployment fluvia-store there), or keep fewer recovery points`,
  });

/** Why something can't be written; undefined when it can. What others have reserved counts as if it were there. */
export const whyNoRoom = (
  { size, isTidying }: Wish,
  volume: Account,
  tenant: Account,
  { volumeBytes = Infinity, tenantBytes = Infinity }: Quotas,
): FluviaError | undefined => {
  if (exceeds(volume, volumeBytes, size, isTidying)) {
    const would = volume.stored + volume.reserved + size;
    return refusal('the volume', would, volumeBytes, 'FLUVIA_STORE_QUOTA_BYTES');
  }
  const cost = size + OBJECT_COST;
  if (!exceeds(tenant, tenantBytes, cost, isTidying)) return undefined;
  const would = tenant.stored + tenant.reserved + cost;
  return refusal(
    'all volumes of the cluster together',
    would,
    tenantBytes,
    'FLUVIA_STORE_TENANT_QUOTA_BYTES',
  );
};

/** A tenant's quota: what the owner set, else half of a store whose size is known, so that no peer fills it for all others. */
export const tenantQuota = (set: number | undefined, storeBytes: number | undefined): number =>
  set ?? (storeBytes === undefined ? DEFAULT_TENANT_BYTES : Math.floor(storeBytes / 2));
