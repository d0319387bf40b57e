/** What to do about one request for a token. Pure. */

/** A peer's request as it stands. */
export interface TokenRequest {
  readonly volume: string;
  readonly kind: 'append' | 'maintain' | 'read';
  readonly epoch: number;
  readonly lifetimeSeconds: number;
  readonly attempt: number;
}

/** What was answered to an earlier state of the same request, as this leader remembers. */
export interface Answered {
  readonly attempt: number;
  readonly volume: string;
  readonly kind: string;
  readonly epoch: number;
  /** Whether it holds a token, and not a refusal. */
  readonly issued: boolean;
}

/** Whether this cluster's store can be spoken to; `closed`: not by this peer. */
export type StoreState = 'ready' | 'unready' | 'missing' | 'closed';

export interface TokenPlan {
  /** Revoke the token that was issued for this attempt first. */
  readonly revokeAttempt?: number;
  readonly next: 'issue' | 'keep' | 'withdraw' | 'refuse';
  /** With `refuse`. */
  readonly reason?: 'NoStore' | 'StoreNotReady' | 'NoTenant';
}

const isSame = (request: TokenRequest, answered: Answered): boolean =>
  request.attempt === answered.attempt &&
  request.volume === answered.volume &&
  request.kind === answered.kind &&
  request.epoch === answered.epoch;

/**
 * `request` is undefined once it was withdrawn; only then, or when another attempt replaces it, a token is revoked by its
 * ID. Those of a peer that may have none any more end all at once, elsewhere: its next one may have the same ID. A refusal is no final word: it is planned anew when the store becomes ready.
 */
export const planToken = (
  request: TokenRequest | undefined,
  answered: Answered | undefined,
  store: StoreState,
): TokenPlan => {
  const old = answered?.issued === true ? answered : undefined;
  const isCurrent = request !== undefined && answered !== undefined && isSame(request, answered);
  if (isCurrent && old !== undefined && store !== 'closed') return { next: 'keep' };
  const revoke = old === undefined || isCurrent ? {} : { revokeAttempt: old.attempt };
  if (request === undefined) return { ...revoke, next: 'withdraw' };
  if (store === 'ready') return { ...revoke, next: 'issue' };
  if (store === 'closed') return { ...revoke, next: 'refuse', reason: 'NoTenant' };
  return { ...revoke, next: 'refuse', reason: store === 'missing' ? 'NoStore' : 'StoreNotReady' };
};
