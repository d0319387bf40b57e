/** Errors of the API server, and of not reaching it. */
import type { Status, StatusDetails } from './types.ts';

export interface ApiErrorFields {
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  readonly details?: StatusDetails | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/**
 * ApiError is any failure of a call. `status` is the HTTP status, 0 when the server wasn't reached or didn't answer in time;
 * `reason` is Kubernetes' (`NotFound`, `Conflict`, …), or `Unreachable` or `Timeout` with status 0. `message` names the call.
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;
  /** How long the server asked to wait before the next try. */
  readonly retryAfterMs: number | undefined;

  constructor(fields: ApiErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.status = fields.status;
    this.reason = fields.reason;
    this.details = fields.details;
    this.retryAfterMs = fields.retryAfterMs;
  }
}

const reasonsByStatus: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Gone',
  413: 'RequestEntityTooLarge',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

const parseStatus = (body: string): Status | undefined => {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null && 'kind' in parsed && parsed.kind === 'Status'
      ? (parsed as Status)
      : undefined;
  } catch {
    return undefined;
  }
};

/** errorFromResponse makes an ApiError of an answer with status >= 400. `call` names the request, such as `GET /api/v1/nodes`. */
export const errorFromResponse = (
  call: string,
  status: number,
  body: string,
  retryAfter?: string,
): ApiError => {
  const parsed = parseStatus(body);
  const seconds =
    parsed?.details?.retryAfterSeconds ?? (retryAfter === undefined ? undefined : Number(retryAfter));
  return new ApiError({
    status,
    reason: parsed?.reason || reasonsByStatus[status] || `HTTP ${status}`,
    message: `${call}: ${status} ${parsed?.message ?? (body.slice(0, 300).trim() || 'no message')}`,
    details: parsed?.details,
    retryAfterMs: seconds !== undefined && Number.isFinite(seconds) ? seconds * 1000 : undefined,
  });
};

/** errorFromStatus makes an ApiError of an ERROR event of a watch. */
export const errorFromStatus = (call: string, status: Status): ApiError =>
  new ApiError({
    status: status.code ?? 500,
    reason: status.reason || reasonsByStatus[status.code ?? 500] || 'Unknown',
    message: `${call}: ${status.code ?? 500} ${status.message ?? 'no message'}`,
    details: status.details,
    retryAfterMs:
      status.details?.retryAfterSeconds === undefined ? undefined : status.details.retryAfterSeconds * 1000,
  });

const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof ApiError && error.status === status;

export const isNotFound = (error: unknown): boolean => hasStatus(error, 404);
export const isAlreadyExists = (error: unknown): boolean =>
  error instanceof ApiError && error.reason === 'AlreadyExists';
/** isConflict: someone else wrote first, a precondition failed, or another field manager owns a field. */
export const isConflict = (error: unknown): boolean => hasStatus(error, 409) && !isAlreadyExists(error);
/** isGone: the resource version is too old (410, reason Gone or Expired): list anew. */
export const isGone = (error: unknown): boolean => hasStatus(error, 410);
export const isForbidden = (error: unknown): boolean => hasStatus(error, 403);
export const isInvalid = (error: unknown): boolean => hasStatus(error, 422);
/** isUnreachable: no answer; whether a write was done is unknown. */
export const isUnreachable = (error: unknown): boolean => hasStatus(error, 0);
/** isTransient: worth the same call again later without any change. */
export const isTransient = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500);

/** conflictingManagers names the field managers that own what a server-side apply wanted to change. */
export const conflictingManagers = (error: unknown): readonly string[] => {
  if (!(error instanceof ApiError) || error.status !== 409) return [];
  const names = (error.details?.causes ?? [])
    .filter((cause) => cause.reason === 'FieldManagerConflict')
    .map((cause) => /conflict with "([^"]+)"/.exec(cause.message ?? '')?.[1])
    .filter((name) => name !== undefined);
  return [...new Set(names)];
};
