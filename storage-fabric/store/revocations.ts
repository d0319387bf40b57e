/** Tokens that were revoked by ID before their time, kept in the store so that a restart forgets none. */
import type { ObjectStore } from './object-store.ts';
import { objectKey } from './plan-access.ts';

/** Longest life of a token: an entry is needed no longer. */
const LONGEST_MS = 86_400_000;

/** Which tokens are revoked. */
export interface Revocations {
  /** Persists first. */
  revoke(tenant: string, id: string, now: Date): Promise<void>;
  isRevoked(tenant: string, id: string): Promise<boolean>;
}

/** Loads a tenant's revocations when it is first met, and removes those whose tokens have expired anyway. */
export const createRevocations = (store: ObjectStore): Revocations => {
  const tenants = new Map<string, Promise<Set<string>>>();
  const load = async (tenant: string): Promise<Set<string>> => {
    const revoked = new Set<string>();
    const expired: string[] = [];
    for await (const { key } of store.list(`${tenant}/revoked/`)) {
      const [, id, at] = /\/([0-9a-f]{32})\.(\d+)\.json$/.exec(key) ?? [];
      if (id === undefined || at === undefined) continue;
      if (Number(at) + LONGEST_MS < Date.now()) expired.push(key);
      else revoked.add(id);
    }
    for (const key of expired) await store.delete(key);
    return revoked;
  };
  const of = (tenant: string): Promise<Set<string>> => {
    const known = tenants.get(tenant);
    if (known !== undefined) return known;
    const loading = load(tenant);
    tenants.set(tenant, loading);
    loading.catch(() => tenants.delete(tenant));
    return loading;
  };
  return {
    revoke: async (tenant, id, now) => {
      const revoked = await of(tenant);
      const key = objectKey({ tenant, volume: '-', target: { kind: 'token', id } });
      await store.putSmall(key.replace(/\.json$/, `.${now.getTime()}.json`), Buffer.from('{}\n'));
      revoked.add(id);
    },
    isRevoked: async (tenant, id) => (await of(tenant)).has(id),
  };
};
