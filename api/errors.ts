/**
 * What a controller should do about an error: `waiting` heals by itself and is tried again soon, `stalled` needs a
 * person to change something and is tried again slowly, `terminal` is never tried again for the same input.
 */
export type ErrorKind = 'waiting' | 'stalled' | 'terminal';

/** Every code that Fluvia's errors carry; stable, so that scripts and docs can refer to them. */
export const ERROR_CODES = {
  BAD_INPUT: 'FLUVIA_ERR_BAD_INPUT',
  NOT_INSTALLED: 'FLUVIA_ERR_NOT_INSTALLED',
  UNREACHABLE: 'FLUVIA_ERR_UNREACHABLE',
  FORBIDDEN: 'FLUVIA_ERR_FORBIDDEN',
  CONFLICT: 'FLUVIA_ERR_CONFLICT',
  NOT_FOUND: 'FLUVIA_ERR_NOT_FOUND',
  INVITE_INVALID: 'FLUVIA_ERR_INVITE_INVALID',
  INVITE_EXPIRED: 'FLUVIA_ERR_INVITE_EXPIRED',
  INVITE_USED: 'FLUVIA_ERR_INVITE_USED',
  SAME_IDENTITY: 'FLUVIA_ERR_SAME_IDENTITY',
  NOT_PEERED: 'FLUVIA_ERR_NOT_PEERED',
  PIN_MISMATCH: 'FLUVIA_ERR_PIN_MISMATCH',
  LINK_DOWN: 'FLUVIA_ERR_LINK_DOWN',
  PROTOCOL: 'FLUVIA_ERR_PROTOCOL',
  QUOTA_EXCEEDED: 'FLUVIA_ERR_QUOTA_EXCEEDED',
  POOL_EXHAUSTED: 'FLUVIA_ERR_POOL_EXHAUSTED',
  CIDR_OVERLAP: 'FLUVIA_ERR_CIDR_OVERLAP',
  HOST_TOOL: 'FLUVIA_ERR_HOST_TOOL',
  STORE_CREDENTIALS: 'FLUVIA_ERR_STORE_CREDENTIALS',
  STORE_BUCKET: 'FLUVIA_ERR_STORE_BUCKET',
  STORE_FULL: 'FLUVIA_ERR_STORE_FULL',
  STALE_EPOCH: 'FLUVIA_ERR_STALE_EPOCH',
  TIMEOUT: 'FLUVIA_ERR_TIMEOUT',
  INTERNAL: 'FLUVIA_ERR_INTERNAL',
} as const;

/** One of the stable codes. */
export type ErrorCode = (typeof ERROR_CODES)[keyof typeof ERROR_CODES];

/** Options of {@link FluviaError}. */
export interface FluviaErrorOptions {
  readonly kind?: ErrorKind;
  /** What the reader can do next, one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** An error that says what happened and where (`message`), what kind it is, and what to do next (`hint`). */
export class FluviaError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: FluviaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FluviaError';
    this.code = code;
    this.kind = options.kind ?? 'waiting';
    this.hint = options.hint;
  }
}

/** What happened and, where it is known, what to do next: for a status or condition that has one text. */
export const messageWithHint = (error: unknown): string =>
  error instanceof FluviaError && error.hint !== undefined
    ? `${error.message}; ${error.hint}`
    : messageOf(error);

/** The message of anything that was thrown, without a stack. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
