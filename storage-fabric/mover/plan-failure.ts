/** What a failed transfer is told as: a word for programs and a sentence for people. Pure. */
import { ERROR_CODES, FluviaError, messageOf } from '../../api/errors.ts';
import { UNKNOWN_REASON } from './plan-restic.ts';
import type { MoverResult } from './transfer-file.ts';

export type MoverFailure = Extract<MoverResult, { readonly ok: false }>;

/** A refusal of the store's front. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly at: string;
}

const REASONS: Readonly<Record<string, string>> = {
  [ERROR_CODES.STORE_FULL]: 'StoreFull',
  [ERROR_CODES.STORE_CREDENTIALS]: 'StoreCredentials',
  [ERROR_CODES.STORE_BUCKET]: 'StoreBucket',
  [ERROR_CODES.QUOTA_EXCEEDED]: 'StoreQuotaExceeded',
  [ERROR_CODES.STALE_EPOCH]: 'StaleEpoch',
  [ERROR_CODES.FORBIDDEN]: 'StoreForbidden',
  [ERROR_CODES.UNREACHABLE]: 'StoreUnreachable',
};
const MAX_MESSAGE = 1000;

const failure = (reason: string, message: string, hint: string | undefined): MoverFailure => ({
  ok: false,
  reason,
  message: (hint === undefined ? message : `${message}; ${hint}`).slice(0, MAX_MESSAGE),
});

/** `ofRestic` is the reason when restic failed and the store refused nothing. */
export const planFailure = (
  error: unknown,
  ofRestic: string | undefined,
  refusal: Refusal | undefined,
): MoverFailure => {
  // restic shows only a status; what the store said is the cause, unless restic knows of one itself
  if (refusal !== undefined && ofRestic === UNKNOWN_REASON) {
    return failure(REASONS[refusal.code] ?? 'StoreRefused', refusal.message, refusal.hint);
  }
  if (!(error instanceof FluviaError)) return failure('TransferFailed', messageOf(error), undefined);
  return failure(ofRestic ?? REASONS[error.code] ?? 'TransferFailed', error.message, error.hint);
};

/** The refusal that came since `before`, if there was one: what the front remembers may be older than the transfer. */
export const refusalSince = (before: Refusal | undefined, now: Refusal | undefined): Refusal | undefined =>
  now?.at === before?.at && now?.code === before?.code ? undefined : now;
