/**
 * A thin client of one Kubernetes API server: raw JSON, two HTTP/2 sessions (one for calls, one for watches, so that a stalled
 * watch can't stall a call), HTTP/1.1 only for byte streams and upgrades, each on a connection of its own.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

import type { ClusterAccess, Impersonation } from './access.ts';
import { createDeadline } from './deadline.ts';
import { ApiError, errorFromResponse, isNotFound } from './errors.ts';
import { apiVersionOf, pathOf, type ResourceRef } from './resources.ts';
import { openRaw, openUpgrade } from './streams.ts';
import { createSpreadTransport, createTransport, readText, type Transport } from './transport.ts';
import type { KubeObject, Manifest, Status } from './types.ts';
import { watchEvents } from './watch.ts';

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

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

const withQuery = (path: string, query: Query): string => {
  const pairs = Object.entries(query).filter(
    (pair): pair is [string, string | number | boolean] => pair[1] !== undefined,
  );
  return pairs.length === 0
    ? path
    : `${path}?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;
};

const writeQuery = (options: WriteOptions): Query => ({
  fieldManager: options.fieldManager,
  dryRun: options.dryRun ? 'All' : undefined,
});

const named = <T extends Manifest>(res: ResourceRef, object: T): T => ({
  ...object,
  apiVersion: object.apiVersion ?? apiVersionOf(res),
  kind: object.kind ?? res.kind,
});

const nameOf = (res: ResourceRef, object: Manifest): string => {
  if (!object.metadata.name) throw new TypeError(`${res.kind} has no metadata.name`);
  return object.metadata.name;
};

const patchTypes = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

const defaultTimeoutMs = 30_000;
const listChunk = 500;
/** Below the 100 streams that API servers allow per connection. */
const watchesPerConnection = 90;
const identityHeader = /^(host|authorization|impersonate-.*|proxy-authorization)$/i;

const impersonationHeaders = (who: Impersonation | undefined): OutgoingHttpHeaders =>
  who === undefined
    ? {}
    : {
        'impersonate-user': who.user,
        ...(who.groups?.length ? { 'impersonate-group': [...who.groups] } : {}),
      };

interface Shared {
  readonly access: ClusterAccess;
  readonly calls: Transport;
  readonly watches: Transport;
  readonly userAgent: string;
}

const makeClient = (shared: Shared, who: Impersonation | undefined): KubeClient => {
  const { access, calls, watches, userAgent } = shared;

  const identity = async (): Promise<OutgoingHttpHeaders> => ({
    'user-agent': userAgent,
    ...(access.token ? { authorization: `Bearer ${await access.token()}` } : {}),
    ...impersonationHeaders(who),
  });

  const call = async (
    method: Method,
    path: string,
    body: string | undefined,
    contentType: string,
    options: CallOptions,
    extraHeaders: Readonly<Record<string, string>> = {},
  ): Promise<string> => {
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    const deadline = createDeadline(options.signal, timeoutMs);
    const label = `${method} ${path.split('?')[0]}`;
    try {
      const response = await calls.send({
        method,
        path,
        headers: {
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': contentType }),
          ...extraHeaders,
          ...(await identity()),
        },
        body,
        signal: deadline.signal,
      });
      const text = await readText(response.body);
      if (response.status >= 400)
        throw errorFromResponse(label, response.status, text, response.header('retry-after'));
      return text;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (deadline.expired()) {
        const message = `${label}: API server ${access.server.host}: no answer in ${timeoutMs} ms`;
        throw new ApiError({ status: 0, reason: 'Timeout', message, cause: error });
      }
      if (error instanceof ApiError) throw error;
      const message = `${label}: API server ${access.server.host}: ${error instanceof Error ? error.message : String(error)}`;
      throw new ApiError({ status: 0, reason: 'Unreachable', message, cause: error });
    } finally {
      deadline.clear();
    }
  };

  const send = async <T>(
    method: Method,
    path: string,
    body: unknown,
    options: CallOptions,
    type?: string,
  ): Promise<T> =>
    JSON.parse(
      await call(
        method,
        path,
        body === undefined ? undefined : JSON.stringify(body),
        type ?? 'application/json',
        options,
      ),
    ) as T;

  const list = async <T>(res: ResourceRef, options: ListOptions = {}): Promise<KubeList<T>> => {
    const items: T[] = [];
    let next: string | undefined;
    do {
      const query: Query = {
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        limit: options.limit ?? listChunk,
        continue: next,
      };
      const page = await send<ListPage<T>>(
        'GET',
        withQuery(pathOf(res, options.namespace), query),
        undefined,
        options,
      );
      for (const item of page.items ?? []) items.push(Object.assign(item as object, kindOf(res)) as T);
      next = page.metadata.continue || undefined;
      if (!next) return { items, resourceVersion: page.metadata.resourceVersion };
    } while (next);
    throw new Error('unreachable');
  };

  return {
    server: access.server,
    get: async <T>(res: ResourceRef, name: string, namespace?: string, options: CallOptions = {}) => {
      try {
        return await send<T>('GET', pathOf(res, namespace, name), undefined, options);
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    list,
    create: async (res, object, options = {}) => {
      const { subresource } = options;
      const base = pathOf(
        res,
        object.metadata.namespace,
        subresource ? nameOf(res, object) : undefined,
        subresource,
      );
      return send('POST', withQuery(base, writeQuery(options)), named(res, object), options);
    },
    update: async (res, object, options = {}) => {
      const base = pathOf(res, object.metadata.namespace, nameOf(res, object), options.subresource);
      return send('PUT', withQuery(base, writeQuery(options)), named(res, object), options);
    },
    apply: async (res, object, options) => {
      const base = pathOf(res, object.metadata.namespace, nameOf(res, object), options.subresource);
      const query = { ...writeQuery(options), force: options.force ?? false };
      return send('PATCH', withQuery(base, query), named(res, object), options, patchTypes.apply);
    },
    patch: async (res, name, namespace, body, options) => {
      const base = pathOf(res, namespace, name, options.subresource);
      return send('PATCH', withQuery(base, writeQuery(options)), body, options, patchTypes[options.type]);
    },
    delete: async (res, name, namespace, options = {}) => {
      const { uid, resourceVersion, gracePeriodSeconds, propagationPolicy } = options;
      const preconditions = uid || resourceVersion ? { uid, resourceVersion } : undefined;
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        preconditions,
        gracePeriodSeconds,
        propagationPolicy,
      };
      try {
        await send('DELETE', pathOf(res, namespace, name), body, options);
        return true;
      } catch (error) {
        if (isNotFound(error)) return false;
        throw error;
      }
    },
    request: async <T>(
      method: Method,
      path: string,
      body?: unknown,
      headers: Readonly<Record<string, string>> = {},
      options: CallOptions = {},
    ) => {
      const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
      const type = headers['content-type'] ?? 'application/json';
      const text = await call(method, path, payload, type, options, headers);
      try {
        return JSON.parse(text) as T;
      } catch {
        return text as T;
      }
    },
    raw: async (method, path, options = {}) =>
      openRaw(access, method, path, {
        ...options,
        headers: { ...withoutIdentity(options.headers), ...(await identity()) },
      }),
    upgrade: async (method, path, headers, signal) =>
      openUpgrade(access, method, path, { ...withoutIdentity(headers), ...(await identity()) }, signal),
    asUser: (user) => makeClient(shared, user),
    watch: async function* <T>(res: ResourceRef, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
      const path = withQuery(pathOf(res, options.namespace), {
        watch: true,
        allowWatchBookmarks: true,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        resourceVersion: options.resourceVersion,
        timeoutSeconds: options.timeoutSeconds,
      });
      const headers = { accept: 'application/json', ...(await identity()) };
      yield* watchEvents<T>(watches, { path, headers, options, server: access.server.host });
    },
    close: async () => {
      await Promise.all([calls.close(), watches.close()]);
    },
  };
};

interface ListPage<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[] | null;
}

const kindOf = (res: ResourceRef): { readonly apiVersion: string; readonly kind: string } => ({
  apiVersion: apiVersionOf(res),
  kind: res.kind,
});

const withoutIdentity = (headers: OutgoingHttpHeaders = {}): OutgoingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !identityHeader.test(name)));

/** createKubeClient makes a client; it connects at the first call. */
export const createKubeClient = (access: ClusterAccess, options: KubeClientOptions = {}): KubeClient =>
  makeClient(
    {
      access,
      calls: createTransport(access),
      watches: createSpreadTransport(access, watchesPerConnection),
      userAgent: options.userAgent ?? 'fluvia',
    },
    access.impersonate,
  );
