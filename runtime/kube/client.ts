/**
 * A thin client of one Kubernetes API server: raw JSON, two HTTP/2 sessions (one for calls, one for watches, so that a stalled
 * watch can't stall a call), HTTP/1.1 only for byte streams and upgrades, each on a connection of its own.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

import type { ClusterAccess, Impersonation } from './access.ts';
import type { ResourceRef } from './resources.ts';
import type { KubeObject, Manifest, Status } from './types.ts';

export type { ClusterAccess, Impersonation } from './access.ts';

/** CallOptions: `signal` aborts the call (rejects with the signal's reason), `timeoutMs` bounds it (default 30 s). */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface Selectors {
  /** All namespaces when absent. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends Selectors, CallOptions {
  /** Objects per request, default 500. */
  readonly limit?: number | undefined;
}

export interface KubeList<T> {
  readonly items: T[];
  readonly resourceVersion: string;
}

export interface WriteOptions extends CallOptions {
  readonly fieldManager?: string | undefined;
  readonly subresource?: string | undefined;
  /** Asks the server to check and default, but not to store. */
  readonly dryRun?: boolean | undefined;
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  /** Takes fields over from other managers instead of failing with a conflict. */
  readonly force?: boolean | undefined;
}

export interface PatchOptions extends WriteOptions {
  readonly type: 'merge' | 'json' | 'strategic';
}

export interface DeleteOptions extends CallOptions {
  /** Precondition: only the object with this uid. */
  readonly uid?: string | undefined;
  /** Precondition: only this version of the object. */
  readonly resourceVersion?: string | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground' | undefined;
}

/** WatchEvent: a BOOKMARK carries only `metadata.resourceVersion`, an ERROR a Status. */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T }
  | { readonly type: 'ERROR'; readonly object: Status };

export interface WatchOptions extends Selectors {
  readonly resourceVersion: string;
  /** How long the server shall keep the watch open. */
  readonly timeoutSeconds: number;
  /** Ends the watch with an error when nothing, not even a bookmark, came for so long. */
  readonly inactivityMs: number;
  readonly signal: AbortSignal;
  /** Largest event accepted, default 16 MiB. */
  readonly maxLineBytes?: number | undefined;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface RawOptions {
  readonly headers?: OutgoingHttpHeaders | undefined;
  readonly body?: string | Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** RawResponse: any status; `body` must be read or destroyed (destroying it closes the connection). */
export interface RawResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
}

/** Upgraded: status is always 101; `head` are bytes of the new protocol that came with the response's headers. */
export interface Upgraded {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * KubeClient talks to one API server as one user. All calls reject with ApiError (see `errors.ts`): `status` is the server's,
 * or 0 when it couldn't be reached. Reads are retried once on a fresh connection, writes only when the server surely has not
 * seen them.
 */
export interface KubeClient {
  readonly server: URL;
  /** Returns undefined when there is no such object (404). */
  get<T = KubeObject>(
    res: ResourceRef,
    name: string,
    namespace?: string,
    options?: CallOptions,
  ): Promise<T | undefined>;
  /** Lists in chunks; `items` carry apiVersion and kind. */
  list<T = KubeObject>(res: ResourceRef, options?: ListOptions): Promise<KubeList<T>>;
  /** POSTs; the namespace is taken from `metadata.namespace`. */
  create<T extends Manifest>(res: ResourceRef, object: T, options?: WriteOptions): Promise<T>;
  /** PUTs the whole object; with `metadata.resourceVersion` it fails with a conflict if that isn't the newest. */
  update<T extends Manifest>(res: ResourceRef, object: T, options?: WriteOptions): Promise<T>;
  /** Server-side apply of the fields in `object`. */
  apply<T = KubeObject>(res: ResourceRef, object: Manifest, options: ApplyOptions): Promise<T>;
  patch<T = KubeObject>(
    res: ResourceRef,
    name: string,
    namespace: string | undefined,
    body: unknown,
    options: PatchOptions,
  ): Promise<T>;
  /** Returns false when the object was already gone; a failed precondition is a conflict error. */
  delete(res: ResourceRef, name: string, namespace?: string, options?: DeleteOptions): Promise<boolean>;
  /** Sends any request; JSON in, JSON out (text when the answer isn't JSON). */
  request<T = unknown>(
    method: Method,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<T>;
  /** One HTTP/1.1 request on a connection of its own, answered by a stream: logs with `follow=true`. No time limit. */
  raw(method: Method, path: string, options?: RawOptions): Promise<RawResponse>;
  /**
   * Upgrades an HTTP/1.1 connection of its own (exec, attach, port-forward). `headers` pass through unchanged but for Host,
   * Authorization and Impersonate-*, which are this client's. Rejects with ApiError when the answer isn't 101.
   */
  upgrade(
    method: Method,
    path: string,
    headers: OutgoingHttpHeaders,
    signal?: AbortSignal,
  ): Promise<Upgraded>;
  /** The same sessions, acting as another user. */
  asUser(user: Impersonation): KubeClient;
  /** Low level: one watch request, until the server ends it, it fails, or `signal` aborts. Informers are the usual way. */
  watch<T = KubeObject>(res: ResourceRef, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Closes the sessions; running calls fail. */
  close(): Promise<void>;
}

export interface KubeClientOptions {
  /** Default `fluvia`. */
  readonly userAgent?: string | undefined;
}

/** createKubeClient makes a client; it connects at the first call. */
export declare const createKubeClient: (access: ClusterAccess, options?: KubeClientOptions) => KubeClient;
