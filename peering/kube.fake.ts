import { randomUUID } from 'node:crypto';
import { createInformerFactory } from '../runtime/kube/informer-factory.ts';
import type { KubeClient, WatchEvent } from '../runtime/kube/client.ts';
import { ApiError } from '../runtime/kube/errors.ts';
import { apiVersionOf, type ResourceRef } from '../runtime/kube/resources.ts';
import type { KubeObject } from '../runtime/kube/types.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { systemClock, type Clock } from '../runtime/clock.ts';
import { createLogger, silentLogger, type Logger } from '../runtime/log.ts';
import { createMetrics } from '../runtime/metrics.ts';

/** A fake API server in memory, for tests of peering only: versions, conflicts, finalizers, watches; no validation, no GC. */

type Json = Record<string, unknown>;
type Stored = KubeObject & Json;

interface FakeTable {
  readonly objects: Map<string, Stored>;
  readonly watchers: Set<(event: WatchEvent<Stored>) => void>;
}

export interface FakeKube {
  readonly client: KubeClient;
  /** Every stored object of a resource. */
  all<T>(resource: ResourceRef): T[];
  /** Fails calls for which it returns an error. */
  failWith: ((verb: string, resource: ResourceRef, name: string) => Error | undefined) | undefined;
}

const fail = (status: number, reason: string, message: string): ApiError =>
  new ApiError({ status, reason, message });

const isMap = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const mergePatch = (target: unknown, patch: unknown): unknown => {
  if (!isMap(patch)) return patch;
  const result: Json = isMap(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
};

/** Server-side apply, roughly: maps merge, lists of conditions merge by type, other lists are replaced. */
const applyMerge = (target: unknown, wanted: unknown, key = ''): unknown => {
  if (key === 'conditions' && Array.isArray(wanted) && Array.isArray(target)) {
    const kept = (target as Json[]).filter((c) => !(wanted as Json[]).some((w) => w['type'] === c['type']));
    return [...kept, ...(wanted as Json[])].sort((a, b) =>
      String(a['type']).localeCompare(String(b['type'])),
    );
  }
  if (!isMap(wanted)) return wanted;
  const result: Json = isMap(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(wanted)) {
    if (value !== undefined) result[name] = applyMerge(result[name], value, name);
  }
  return result;
};

const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

export const createFakeKube = (name: string): FakeKube => {
  const tables = new Map<string, FakeTable>();
  let version = 1;
  const table = (res: ResourceRef): FakeTable => {
    const key = `${res.group}/${res.plural}`;
    const known = tables.get(key) ?? { objects: new Map<string, Stored>(), watchers: new Set() };
    tables.set(key, known);
    return known;
  };
  const keyOf = (namespace: string | undefined, objectName: string): string =>
    `${namespace ?? ''}/${objectName}`;
  const emit = (t: FakeTable, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: Stored): void => {
    for (const watcher of t.watchers) watcher({ type, object: copy(object) });
  };
  const put = (res: ResourceRef, object: KubeObject, before: Stored | undefined): Stored => {
    const t = table(res);
    const key = keyOf(object.metadata.namespace, object.metadata.name);
    if (before !== undefined && JSON.stringify({ ...before }) === JSON.stringify({ ...object }))
      return copy(before);
    version += 1;
    const stored = copy({
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(version) },
    }) as Stored;
    if (stored.metadata.deletionTimestamp !== undefined && (stored.metadata.finalizers ?? []).length === 0) {
      t.objects.delete(key);
      emit(t, 'DELETED', stored);
    } else {
      t.objects.set(key, stored);
      emit(t, before === undefined ? 'ADDED' : 'MODIFIED', stored);
    }
    return copy(stored);
  };
  const found = (res: ResourceRef, objectName: string, namespace: string | undefined): Stored => {
    const object = table(res).objects.get(keyOf(namespace, objectName));
    if (object === undefined) throw fail(404, 'NotFound', `${res.plural} ${objectName} not found`);
    return object;
  };
  const check = (object: Stored, uid: unknown, resourceVersion: unknown): void => {
    if (uid !== undefined && uid !== object.metadata.uid)
      throw fail(409, 'Conflict', 'uid precondition failed');
    if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
      throw fail(409, 'Conflict', 'the object has been modified');
    }
  };
  const insert = (res: ResourceRef, object: object): Stored => {
    const { stringData, ...rest } = copy(object) as unknown as Stored & {
      stringData?: Record<string, string>;
    };
    const data =
      stringData &&
      Object.fromEntries(Object.entries(stringData).map(([k, v]) => [k, Buffer.from(v).toString('base64')]));
    return put(
      res,
      {
        ...rest,
        ...(data === undefined ? {} : { data }),
        apiVersion: apiVersionOf(res),
        kind: res.kind,
        metadata: { ...rest.metadata, uid: randomUUID(), creationTimestamp: new Date().toISOString() },
      },
      undefined,
    );
  };
  const fake: FakeKube = {
    failWith: undefined,
    all: <T>(res: ResourceRef) => copy([...table(res).objects.values()]) as unknown as T[],
    client: {} as KubeClient,
  };
  const guard = async (verb: string, res: ResourceRef, objectName: string): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    const error = fake.failWith?.(verb, res, objectName);
    if (error !== undefined) throw error;
  };
  const client: Partial<Record<keyof KubeClient, unknown>> = {
    server: new URL(`https://${name}.fake`),
    get: async (res: ResourceRef, objectName: string, namespace?: string) => {
      await guard('get', res, objectName);
      const object = table(res).objects.get(keyOf(namespace, objectName));
      return object === undefined ? undefined : copy(object);
    },
    list: async (res: ResourceRef, options: { namespace?: string; fieldSelector?: string } = {}) => {
      await guard('list', res, '');
      const type = /^type=(.*)$/.exec(options.fieldSelector ?? '')?.[1];
      const items = fake
        .all<Stored>(res)
        .filter((o) => options.namespace === undefined || o.metadata.namespace === options.namespace)
        .filter((o) => type === undefined || o['type'] === type);
      return { items, resourceVersion: String(version) };
    },
    create: async (res: ResourceRef, object: KubeObject) => {
      await guard('create', res, object.metadata.name);
      if (table(res).objects.has(keyOf(object.metadata.namespace, object.metadata.name))) {
        throw fail(409, 'AlreadyExists', `${object.metadata.name} already exists`);
      }
      return insert(res, object);
    },
    update: async (res: ResourceRef, object: KubeObject) => {
      await guard('update', res, object.metadata.name);
      const before = found(res, object.metadata.name, object.metadata.namespace);
      check(before, object.metadata.uid, object.metadata.resourceVersion);
      return put(res, object, before);
    },
    apply: async (res: ResourceRef, object: KubeObject, options: { subresource?: string }) => {
      await guard('apply', res, object.metadata.name);
      const before = table(res).objects.get(keyOf(object.metadata.namespace, object.metadata.name));
      if (before === undefined) {
        if (options.subresource !== undefined) throw fail(404, 'NotFound', 'not found');
        return insert(res, object);
      }
      check(before, object.metadata.uid, undefined);
      const { status, ...rest } = object as Stored;
      const merged = options.subresource === 'status' ? { status } : rest;
      const own = { ...(applyMerge(before, merged) as Stored) };
      return put(res, { ...own, kind: res.kind, apiVersion: apiVersionOf(res) }, before);
    },
    patch: async (res: ResourceRef, objectName: string, namespace: string | undefined, body: Json) => {
      await guard('patch', res, objectName);
      const before = found(res, objectName, namespace);
      const { uid, resourceVersion, ...metadata } = (body['metadata'] ?? {}) as Json;
      check(before, uid, resourceVersion);
      return put(res, mergePatch(before, { ...body, metadata }) as Stored, before);
    },
    delete: async (
      res: ResourceRef,
      objectName: string,
      namespace?: string,
      options: { uid?: string; resourceVersion?: string } = {},
    ) => {
      await guard('delete', res, objectName);
      const before = table(res).objects.get(keyOf(namespace, objectName));
      if (before === undefined) return false;
      check(before, options.uid, options.resourceVersion);
      const deletionTimestamp = before.metadata.deletionTimestamp ?? new Date().toISOString();
      put(res, { ...before, metadata: { ...before.metadata, deletionTimestamp } }, before);
      return true;
    },
    watch: async function* (
      res: ResourceRef,
      options: { namespace?: string; fieldSelector?: string; signal: AbortSignal },
    ): AsyncGenerator<WatchEvent<Stored>> {
      const type = /^type=(.*)$/.exec(options.fieldSelector ?? '')?.[1];
      const waiting: WatchEvent<Stored>[] = [];
      let wake: () => void = () => {};
      const watcher = (event: WatchEvent<Stored>): void => {
        if (event.type === 'ERROR') return;
        if (options.namespace !== undefined && event.object.metadata.namespace !== options.namespace) return;
        if (type !== undefined && event.object['type'] !== type) return;
        waiting.push(event);
        wake();
      };
      const { watchers } = table(res);
      watchers.add(watcher);
      // What happened between the list and this watch.
      for (const object of fake.all<Stored>(res)) watcher({ type: 'MODIFIED', object });
      const stop = (): void => wake();
      options.signal.addEventListener('abort', stop);
      try {
        while (!options.signal.aborted) {
          const event = waiting.shift();
          if (event !== undefined) yield event;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        watchers.delete(watcher);
        options.signal.removeEventListener('abort', stop);
      }
    },
  };
  Object.assign(fake, { client: client as unknown as KubeClient });
  return fake;
};

export interface FakeDepsOptions {
  readonly name: string;
  readonly signal: AbortSignal;
  readonly leaderTransitions?: number;
  readonly clock?: Clock;
  readonly log?: Logger;
}

/** What a leader's controllers are given, around a fake API server. */
export const fakeDeps = (kube: FakeKube, options: FakeDepsOptions): ControllerDeps => ({
  client: kube.client,
  informers: createInformerFactory(kube.client, options.signal),
  clock: options.clock ?? systemClock,
  log:
    options.log ??
    (process.env['FLUVIA_TEST_LOG']
      ? createLogger({ level: 'debug', fields: { cluster: options.name } })
      : silentLogger),
  metrics: createMetrics(),
  events: { record: () => {}, flush: async () => {} },
  clusterName: options.name,
  systemNamespace: 'fluvia-system',
  podName: `${options.name}-controller`,
  podIP: '127.0.0.1',
  leaderTransitions: options.leaderTransitions ?? 1,
});
