import { Metadata, status as codes, type ServiceError } from '@grpc/grpc-js';
import { ERROR_CODES, FluviaError, messageOf, type ErrorCode } from '../api/errors.ts';
import { TermOverError } from './term.ts';

/** FluviaErrors over gRPC: the code travels in the trailer `fluvia-code`, kind and hint beside it. */

const CODE = 'fluvia-code';
const HINT = 'fluvia-hint-bin';
/** Whether trying again may help: what only the refusing side knows. */
const KIND = 'fluvia-kind';
/** The highest leader term that the refusing side has seen. */
const TERM = 'fluvia-term';

const STATUS: Partial<Record<ErrorCode, codes>> = {
  [ERROR_CODES.BAD_INPUT]: codes.INVALID_ARGUMENT,
  [ERROR_CODES.INVITE_INVALID]: codes.PERMISSION_DENIED,
  [ERROR_CODES.INVITE_EXPIRED]: codes.PERMISSION_DENIED,
  [ERROR_CODES.INVITE_USED]: codes.PERMISSION_DENIED,
  [ERROR_CODES.SAME_IDENTITY]: codes.PERMISSION_DENIED,
  [ERROR_CODES.PIN_MISMATCH]: codes.UNAUTHENTICATED,
  [ERROR_CODES.NOT_PEERED]: codes.FAILED_PRECONDITION,
  [ERROR_CODES.PROTOCOL]: codes.FAILED_PRECONDITION,
  [ERROR_CODES.CONFLICT]: codes.ALREADY_EXISTS,
  [ERROR_CODES.NOT_FOUND]: codes.NOT_FOUND,
  [ERROR_CODES.FORBIDDEN]: codes.PERMISSION_DENIED,
  [ERROR_CODES.TIMEOUT]: codes.DEADLINE_EXCEEDED,
  [ERROR_CODES.LINK_DOWN]: codes.UNAVAILABLE,
  [ERROR_CODES.UNREACHABLE]: codes.UNAVAILABLE,
};

const KNOWN = new Set<string>(Object.values(ERROR_CODES));
const isCode = (text: string): text is ErrorCode => KNOWN.has(text);

/** What a handler answers for an error: what is a FluviaError is told, anything else only that something failed. */
export const toServiceError = (error: unknown): ServiceError => {
  const told =
    error instanceof FluviaError
      ? error
      : new FluviaError(ERROR_CODES.INTERNAL, 'the other cluster failed; see its log');
  const metadata = new Metadata();
  metadata.set(CODE, told.code);
  metadata.set(KIND, told.kind);
  if (told.hint !== undefined) metadata.set(HINT, Buffer.from(told.hint.slice(0, 500), 'utf8'));
  if (told instanceof TermOverError) metadata.set(TERM, String(told.seen));
  return Object.assign(new Error(told.message), {
    code: STATUS[told.code] ?? codes.INTERNAL,
    details: told.message.slice(0, 1000),
    metadata,
  });
};

/** A part of a text is a view of it and keeps all of it in memory: what is kept of a long one must be a copy. */
const shortened = (text: string, longest: number): string =>
  text.length <= longest ? text : Buffer.from(text.slice(0, longest), 'utf8').toString('utf8');

/** Printable text of a peer: what could steer a terminal or break a log line is replaced. */
export const printable = (text: string, longest = 1000): string =>
  shortened(text, longest).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ');

export interface Trailers {
  readonly [name: string]: string | string[] | undefined;
}

const first = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value;

const decodeMessage = (encoded: string): string => {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
};

/** The error in a call's trailers; undefined when the status is OK. `call` names it, `where` the peer. */
export const errorOfTrailers = (call: string, trailers: Trailers): FluviaError | undefined => {
  const status = first(trailers['grpc-status']);
  if (status === '0') return undefined;
  const message = printable(decodeMessage(first(trailers['grpc-message']) ?? ''));
  const code = first(trailers[CODE]) ?? '';
  const hint = first(trailers[HINT]);
  const kind = (['waiting', 'stalled', 'terminal'] as const).find((k) => k === first(trailers[KIND]));
  const is = (...some: readonly codes[]): boolean => some.map(String).includes(status ?? '');
  const fallback = is(codes.UNAVAILABLE, codes.CANCELLED)
    ? ERROR_CODES.LINK_DOWN
    : is(codes.DEADLINE_EXCEEDED)
      ? ERROR_CODES.TIMEOUT
      : ERROR_CODES.PROTOCOL;
  const term = first(trailers[TERM]) ?? '';
  if (code === ERROR_CODES.PROTOCOL && /^\d{1,16}$/.test(term)) {
    return new TermOverError(Number(term), message || `${call}: this leader’s term is over`);
  }
  return new FluviaError(
    isCode(code) ? code : fallback,
    message || `${call}: gRPC status ${status ?? 'missing'}`,
    {
      ...(kind === undefined ? {} : { kind }),
      ...(hint === undefined ? {} : { hint: printable(Buffer.from(hint, 'base64').toString('utf8')) }),
    },
  );
};

/** A broken connection as a FluviaError. */
export const linkDown = (what: string, cause?: unknown): FluviaError =>
  new FluviaError(ERROR_CODES.LINK_DOWN, cause === undefined ? what : `${what}: ${messageOf(cause)}`, {
    cause,
  });
