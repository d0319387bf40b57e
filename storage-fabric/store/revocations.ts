/** Tokens that were revoked before their time, by ID or all of a tenant's, kept in the store so that a restart forgets none. */
import type { Clock } from '../../runtime/clock.ts';
import { parseRevocationKey, revocationKey, revokedPrefix, type Revocation } from './keys.ts';
import type { ObjectStore } from './object-store.ts';
import { onceByKey } from './once-by-key.ts';
import type { TokenClaims } from './tokens.ts';

/** Longest life of a token: an entry is needed no longer. */
const LONGEST_MS = 86_400_000;

/** What of a token tells whether it is revoked. */
export type Revocable = Pick<TokenClaims, 'tenant' | 'id' | 'issued'>;

/** Which tokens are revoked. */
export interface Revocations {
  /** Ends one token. Persists first. */
  revoke(tenant: string, id: string): Promise<void>;
  /** Ends every token that a tenant was given until then (ms since 1970, by the clock that issued them). Persists first. */
  revokeAll(tenant: string, issuedUntilMs: number): Promise<void>;
  isRevoked(token: Revocable): Promise<boolean>;
}

interface Revoked {
  readonly ids: Set<string>;
  /** Tokens issued until then are revoked. */
  untilMs: number;
}

/** Loads a tenant's revocations when it is first met, and removes those whose tokens have expired anyway. */
export const createRevocations = (store: ObjectStore, clock: Clock): Revocations => {
  const note = (revoked: Revoked, { id, atMs }: Revocation): void => {
    if (id === undefined) revoked.untilMs = Math.max(revoked.untilMs, atMs);
    else revoked.ids.add(id);
  };
  const load = async (tenant: string): Promise<Revoked> => {
    const revoked: Revoked = { ids: new Set(), untilMs: -1 };
    const expired: string[] = [];
    const nowMs = clock.now().getTime();
    for await (const { key } of store.list(revokedPrefix(tenant))) {
      const revocation = parseRevocationKey(key);
      if (revocation === undefined) continue;
      if (revocation.atMs + LONGEST_MS < nowMs) expired.push(key);
      else note(revoked, revocation);
    }
    for (const key of expired) await store.delete(key);
    return revoked;
  };
  const of = onceByKey(load);
  const add = async (tenant: string, revocation: Revocation): Promise<void> => {
    const revoked = await of(tenant);
    await store.putSmall(revocationKey(tenant, revocation), Buffer.from('{}\n'));
    note(revoked, revocation);
  };
  return {
    revoke: (tenant, id) => add(tenant, { id, atMs: clock.now().getTime() }),
    revokeAll: (tenant, issuedUntilMs) => add(tenant, { atMs: issuedUntilMs }),
    isRevoked: async ({ tenant, id, issued }) => {
      const { ids, untilMs } = await of(tenant);
      return ids.has(id) || issued <= untilMs;
    },
  };
};
