import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createFakeClock } from '../../runtime/clock.fake.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ensure, upsertStatus } from '../../runtime/kube/apply.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import * as errors from '../../runtime/kube/errors.ts';
import { createEventRecorder } from '../../runtime/kube/events.ts';
import { addFinalizer, removeFinalizer } from '../../runtime/kube/finalizers.ts';
import { loadKubeconfig } from '../../runtime/kube/kubeconfig.ts';
import { CONFIG_MAP, EVENT, NAMESPACE, POD, SELF_SUBJECT_REVIEW } from '../../runtime/kube/resources.ts';
import type { ConfigMap, KubeEvent } from '../../runtime/kube/types.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { serverConnections } from './connections.ts';
import { installThings, type Thing, type ThingStatus } from './things.ts';
import { startTcpProxy } from './tcp-proxy.ts';

let server: TestApiServer;
let client: KubeClient;
beforeAll(async () => {
  server = await startApiServer();
  client = createKubeClient(server.access, { userAgent: 'fluvia-test' });
});
afterAll(async () => {
  await client?.close();
  await server?.stop();
});

const caught = async (work: Promise<unknown>): Promise<unknown> => {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('it should have failed');
};

const configMap = (name: string, data: Record<string, string> = {}) => ({
  metadata: { name, namespace: 'default' },
  data,
});

describe('Kubernetes client', () => {
  it('creates, reads, updates, patches and deletes', async () => {
    const created = await client.create(CONFIG_MAP, configMap('crud', { a: '1' }));
    expect(created).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });
    const read = await client.get<ConfigMap>(CONFIG_MAP, 'crud', 'default');
    expect(read?.data).toEqual({ a: '1' });
    if (!read) throw new Error('gone');
    await client.update(CONFIG_MAP, { ...read, data: { a: '2' } });
    expect(errors.isConflict(await caught(client.update(CONFIG_MAP, { ...read, data: { a: '3' } })))).toBe(
      true,
    );
    await client.patch(CONFIG_MAP, 'crud', 'default', { data: { b: '1' } }, { type: 'merge' });
    const patch = [{ op: 'replace', path: '/data/a', value: '9' }];
    const patched = await client.patch<ConfigMap>(CONFIG_MAP, 'crud', 'default', patch, { type: 'json' });
    expect(patched.data).toEqual({ a: '9', b: '1' });
    expect(
      errors.isConflict(await caught(client.delete(CONFIG_MAP, 'crud', 'default', { uid: 'other' }))),
    ).toBe(true);
    expect(await client.delete(CONFIG_MAP, 'crud', 'default', { uid: read.metadata.uid })).toBe(true);
    expect(await client.delete(CONFIG_MAP, 'crud', 'default')).toBe(false);
    expect(await client.get(CONFIG_MAP, 'crud', 'default')).toBeUndefined();
  });

  it('names what went wrong', async () => {
    await client.create(CONFIG_MAP, configMap('twice'));
    const exists = await caught(client.create(CONFIG_MAP, configMap('twice')));
    expect([errors.isAlreadyExists(exists), errors.isConflict(exists)]).toEqual([true, false]);
    const invalid = await caught(client.create(CONFIG_MAP, configMap('No Name')));
    expect(errors.isInvalid(invalid)).toBe(true);
    expect((invalid as errors.ApiError).details?.causes?.[0]?.field).toBe('metadata.name');
    expect(String(invalid)).toContain('POST /api/v1/namespaces/default/configmaps: 422');
    await expect(client.get(POD, 'x')).rejects.toThrow('namespaced');
    await expect(client.update(POD, { metadata: {} })).rejects.toThrow('no metadata.name');
  });

  it('lists in chunks and gives each item its kind', async () => {
    const names = Array.from({ length: 7 }, (_, i) => `chunk-${i}`);
    await Promise.all(
      names.map((name) =>
        client.create(CONFIG_MAP, { metadata: { name, namespace: 'default', labels: { test: 'chunks' } } }),
      ),
    );
    const options = { namespace: 'default', labelSelector: 'test=chunks', limit: 2 };
    const { items, resourceVersion } = await client.list<ConfigMap>(CONFIG_MAP, options);
    expect(items.map((item) => item.metadata.name)).toEqual(names);
    expect(items.every((item) => item.kind === 'ConfigMap' && item.apiVersion === 'v1')).toBe(true);
    expect(Number(resourceVersion)).toBeGreaterThan(0);
  });

  it('tells who owns a field that a server-side apply fights for, and takes it by force', async () => {
    await client.apply(CONFIG_MAP, configMap('fought', { a: '1' }), { fieldManager: 'first-owner' });
    const conflict = await caught(
      client.apply(CONFIG_MAP, configMap('fought', { a: '2' }), { fieldManager: 'second' }),
    );
    expect(errors.isConflict(conflict)).toBe(true);
    expect(errors.conflictingManagers(conflict)).toEqual(['first-owner']);
    const options = { fieldManager: 'second', force: true };
    const taken = await client.apply<ConfigMap>(CONFIG_MAP, configMap('fought', { a: '2' }), options);
    expect(taken.data).toEqual({ a: '2' });
    const again = await ensure(client, CONFIG_MAP, configMap('fought', { a: '2' }), {
      fieldManager: 'second',
      existing: taken,
    });
    expect(again).toBe(taken);
  });

  it('acts as another user with its groups, and only as far as that one may', async () => {
    const user = 'system:serviceaccount:fluvia-peers:abc';
    const peer = client.asUser({ user, groups: ['system:authenticated', 'team'] });
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview', metadata: {} };
    const answer = await peer.create(SELF_SUBJECT_REVIEW, review);
    expect(answer).toMatchObject({
      status: { userInfo: { username: user, groups: ['system:authenticated', 'team'] } },
    });
    const refused = await caught(peer.list(CONFIG_MAP, { namespace: 'default' }));
    expect(errors.isForbidden(refused)).toBe(true);
    expect(String(refused)).toContain(user);
  });

  it('writes a status only when it differs, and removes what it no longer says', async () => {
    const things = await installThings(client);
    const write = async (status: ThingStatus): Promise<boolean> => {
      const object = await client.get<Thing>(things, 'one');
      if (!object) throw new Error('gone');
      return upsertStatus(client, things, object, status, { fieldManager: 'fluvia' });
    };
    await client.create(things, { metadata: { name: 'one' } });
    expect(await write({ color: 'red', note: 'x' })).toBe(true);
    expect(await write({ note: 'x', color: 'red' })).toBe(false);
    expect(await write({ color: 'blue' })).toBe(true);
    expect((await client.get<Thing>(things, 'one'))?.status).toEqual({ color: 'blue' });
  });

  it('adds and removes a finalizer without losing those of others', async () => {
    const made = (await client.create(CONFIG_MAP, configMap('final'))) as unknown as ConfigMap;
    const first = await addFinalizer(client, CONFIG_MAP, made, 'fluvia.dev/one');
    expect(errors.isConflict(await caught(addFinalizer(client, CONFIG_MAP, made, 'fluvia.dev/two')))).toBe(
      true,
    );
    if (!first) throw new Error('gone');
    const both = await addFinalizer(client, CONFIG_MAP, first, 'fluvia.dev/two');
    expect(both?.metadata.finalizers).toEqual(['fluvia.dev/one', 'fluvia.dev/two']);
    await client.delete(CONFIG_MAP, 'final', 'default');
    const dying = await client.get<ConfigMap>(CONFIG_MAP, 'final', 'default');
    if (!dying) throw new Error('gone too early');
    const one = await removeFinalizer(client, CONFIG_MAP, dying, 'fluvia.dev/one');
    if (!one) throw new Error('gone too early');
    await removeFinalizer(client, CONFIG_MAP, one, 'fluvia.dev/two');
    expect(await client.get(CONFIG_MAP, 'final', 'default')).toBeUndefined();
  });

  it('records one Event and counts its repeats', async () => {
    const clock = createFakeClock(Date.now());
    const options = { client, controller: 'fluvia.dev/test', instance: 'pod-1', log: silentLogger, clock };
    const recorder = createEventRecorder(options);
    const about = (await client.create(CONFIG_MAP, configMap('eventful'))) as unknown as ConfigMap;
    for (let i = 0; i < 4; i += 1) {
      recorder.record(about, { type: 'Warning', reason: 'PeerLost', note: 'the link to east broke' });
    }
    await recorder.flush();
    await clock.advance(11_000);
    recorder.record(about, { type: 'Warning', reason: 'PeerLost', note: 'the link to east broke' });
    await recorder.flush();
    const { items } = await client.list<KubeEvent>(EVENT, {
      namespace: 'default',
      fieldSelector: 'reason=PeerLost',
    });
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({
      type: 'Warning',
      note: 'the link to east broke',
      reportingController: 'fluvia.dev/test',
      regarding: { kind: 'ConfigMap', name: 'eventful' },
      series: { count: 5 },
    });
  });

  it('never throws when an event cannot be recorded', async () => {
    const nobody = client.asUser({ user: 'nobody' });
    const options = { client: nobody, controller: 'fluvia.dev/test', instance: 'pod-1', log: silentLogger };
    const recorder = createEventRecorder(options);
    recorder.record(await getDefaultNamespace(), { type: 'Normal', reason: 'X', note: 'x' });
    await expect(recorder.flush()).resolves.toBeUndefined();
  });

  it('streams a response byte by byte and stops when told to', async () => {
    const abort = new AbortController();
    const { status, body } = await client.raw('GET', '/api/v1/namespaces?watch=true', {
      signal: abort.signal,
    });
    expect(status).toBe(200);
    const chunks = body[Symbol.asyncIterator]();
    const first = await chunks.next();
    expect(String(first.value)).toContain('"type":"ADDED"');
    abort.abort(new Error('enough'));
    await expect(
      (async () => {
        for (;;) if ((await chunks.next()).done) throw new Error('ended');
      })(),
    ).rejects.toThrow('aborted');
  });

  it('turns a refused upgrade into the API error that kubectl would see', async () => {
    const path = '/api/v1/namespaces/default/pods/none/exec?command=sh&stdout=true';
    const headers = { connection: 'Upgrade', upgrade: 'SPDY/3.1', authorization: 'Bearer evil' };
    const refused = await caught(client.upgrade('POST', path, headers));
    expect(errors.isNotFound(refused)).toBe(true);
  });

  it('bounds each call in time, and gives up when told to', async () => {
    const proxy = await startTcpProxy(server.port);
    const access = { ...server.access, server: new URL(`https://127.0.0.1:${proxy.port}`) };
    const slow = createKubeClient(access);
    await slow.get(NAMESPACE, 'default');
    proxy.stall(0);
    const late = await caught(slow.get(NAMESPACE, 'default', undefined, { timeoutMs: 200 }));
    expect(late).toMatchObject({ status: 0, reason: 'Timeout' });
    const abort = new AbortController();
    const call = caught(slow.get(NAMESPACE, 'default', undefined, { signal: abort.signal }));
    abort.abort(new Error('not needed any more'));
    expect(String(await call)).toContain('not needed any more');
    await slow.close();
    await proxy.stop();
  });

  it('says that nobody answers, and works again when somebody does', async () => {
    const proxy = await startTcpProxy(server.port);
    const access = { ...server.access, server: new URL(`https://127.0.0.1:${proxy.port}`) };
    const flaky = createKubeClient(access);
    await flaky.get(NAMESPACE, 'default');
    proxy.cut();
    const lost = await caught(flaky.get(NAMESPACE, 'default'));
    expect(errors.isUnreachable(lost)).toBe(true);
    expect(String(lost)).toContain(`127.0.0.1:${proxy.port}`);
    proxy.heal();
    expect(await flaky.get(NAMESPACE, 'default')).toBeDefined();
    await flaky.close();
    await proxy.stop();
  });

  it('does not trust a server that its CA has not signed', async () => {
    const { ca: _ca, ...rest } = server.access;
    const stranger = createKubeClient(rest);
    const refused = await caught(stranger.get(NAMESPACE, 'default'));
    expect(errors.isUnreachable(refused)).toBe(true);
    await stranger.close();
  });

  it('uses one connection for a thousand calls, 50 at a time', async () => {
    const own = createKubeClient(server.access);
    const before = serverConnections(server.port, process.pid);
    let left = 1000;
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await own.get(NAMESPACE, 'default');
      }
    };
    await Promise.all(Array.from({ length: 50 }, worker));
    expect(serverConnections(server.port, process.pid) - before).toBe(1);
    await own.close();
  });

  it('works with the kubeconfig that administrators have', async () => {
    const access = await loadKubeconfig({ path: server.kubeconfig });
    const admin = createKubeClient(access);
    expect(await admin.get(NAMESPACE, 'default')).toBeDefined();
    await admin.close();
  });
});

const getDefaultNamespace = async () => {
  const namespace = await client.get(NAMESPACE, 'default');
  if (!namespace) throw new Error('no namespace default');
  return namespace;
};
