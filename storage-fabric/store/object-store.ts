/** The seam to an S3: only get, put, list, delete and conditional writes of small objects. Nothing is retried here. */
import type { Readable } from 'node:stream';

/** Where and as whom; from a Secret. */
export interface ObjectStoreAccess {
  /** `http(s)://host[:port]`, without a path. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

/** An object's size in bytes and its version. */
export interface ObjectStat {
  readonly size: number;
  readonly etag: string;
}

/** An object being read; `size` counts the bytes that `body` yields. */
export interface OpenObject extends ObjectStat {
  readonly body: Readable;
}

/** Inclusive byte range, as in HTTP. */
export interface ByteRange {
  readonly start: number;
  /** The last byte; to the end when missing. */
  readonly end?: number;
}

export interface PutOptions {
  /** Bytes that the body yields. */
  readonly size: number;
  /** SHA-256 of the body in hex: the S3 server checks it too, so a body that is cut short is never published. */
  readonly sha256: string;
  readonly signal?: AbortSignal;
}

/** On what a small write depends. */
export type WriteCondition = { readonly ifAbsent: true } | { readonly ifMatch: string };

/**
 * An S3 bucket. Every method throws FluviaError: STORE_CREDENTIALS, STORE_BUCKET, STORE_FULL, NOT_FOUND (of an object),
 * UNREACHABLE, or INTERNAL for what the server says beyond that.
 */
export interface ObjectStore {
  get(key: string, range?: ByteRange): Promise<OpenObject>;
  stat(key: string): Promise<ObjectStat | undefined>;
  /** Writes a stream of known length and hash. */
  put(key: string, body: Readable, options: PutOptions): Promise<void>;
  /** Writes a small object; false when the condition doesn't hold. */
  putSmall(key: string, body: Buffer, condition?: WriteCondition): Promise<boolean>;
  /** Succeeds for an object that is not there. */
  delete(key: string): Promise<void>;
  list(prefix: string): AsyncIterable<{ readonly key: string; readonly size: number }>;
  /** Throws what is wrong with access, credentials or bucket. */
  check(): Promise<void>;
  /** Makes the bucket if it isn't there. */
  ensureBucket(): Promise<void>;
}
