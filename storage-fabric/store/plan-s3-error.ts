/** What an S3 server's refusal means. Pure. */
import { ERROR_CODES, FluviaError } from '../../api/errors.ts';

const CREDENTIALS = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'AccessDenied',
  'InvalidToken',
  'ExpiredToken',
  'AuthorizationHeaderMalformed',
  'AccountProblem',
  // versitygw's word for an access key that it doesn't know
  'XAdminUserNotFound',
]);
const FULL = new Set([
  'QuotaExceeded',
  'XMinioStorageFull',
  'XMinioAdminBucketQuotaExceeded',
  'StorageFull',
  'InsufficientStorage',
  'EntityTooLarge',
]);
const NETWORK = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** What a call to an S3 failed with, as far as it is known. */
export interface S3Failure {
  readonly code: string;
  readonly message: string;
  /** HTTP status; 0 when there was none. */
  readonly status: number;
}

/** Says what happened, where and what to do. `what` names the call and object, e.g. `write v0…/data/ab…`. */
export const explainS3Error = (failure: S3Failure, what: string, bucket: string): FluviaError => {
  const { code, message, status } = failure;
  const said = `the object store could not ${what}: ${message === '' ? `${code} ${status}`.trim() : message}`;
  if (status === 507 || FULL.has(code) || /no space left|disk quota|quota exceeded/i.test(message)) {
    return new FluviaError(ERROR_CODES.STORE_FULL, said, {
      hint: `make room in bucket ${bucket}: enlarge its disk or quota, or keep fewer recovery points`,
    });
  }
  if (CREDENTIALS.has(code) || status === 401) {
    return new FluviaError(ERROR_CODES.STORE_CREDENTIALS, said, {
      kind: 'stalled',
      hint: "put the right accessKey and secretKey into the object store's Secret, and give them read, write, list and delete",
    });
  }
  if (code === 'NoSuchBucket') {
    return new FluviaError(ERROR_CODES.STORE_BUCKET, said, {
      kind: 'stalled',
      hint: `make bucket ${bucket}, or name another in the object store's Secret`,
    });
  }
  if (code === 'NoSuchKey' || code === 'NotFound') return new FluviaError(ERROR_CODES.NOT_FOUND, said);
  if (code === 'XAmzContentSHA256Mismatch' || code === 'BadDigest' || code === 'IncompleteBody') {
    return new FluviaError(ERROR_CODES.BAD_INPUT, said, { kind: 'terminal' });
  }
  if (NETWORK.has(code) || status === 503) {
    return new FluviaError(ERROR_CODES.UNREACHABLE, said, {
      hint: "is the object store's endpoint running?",
    });
  }
  return new FluviaError(ERROR_CODES.INTERNAL, said);
};
