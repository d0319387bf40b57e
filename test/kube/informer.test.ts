import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformer, type InformerOptions } from '../../runtime/kube/informer.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { ConfigMap, KubeObject } from '../../runtime/kube/types.ts';
import { sleep, waitUntil } from '../testbed/processes.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

let server: TestApiServer;
let admin: KubeClient;
beforeAll(async () => {
  server = await startApiServer();
  admin = createKubeClient(server.access);
});
afterAll(async () => {
  await admin?.close();
  await server?.stop();
});

let proxy: TcpProxy;
let client: KubeClient;
let stop: AbortController;
beforeEach(async () => {
  proxy = await startTcpProxy(server.port);
  client = createKubeClient({ ...server.access, server: new URL(`https://127.0.0.1:${proxy.port}`) });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort(new Error('end of test'));
  await client.close();
  await proxy.stop();
});

const { CONFIG_MAP } = resources;
const write = async (name: string): Promise<unknown> =>
  admin.create(CONFIG_MAP, { metadata: { name, namespace: 'default' } });
const remove = async (name: string): Promise<boolean> => admin.delete(CONFIG_MAP, name, 'default');

/** Starts an informer of ConfigMaps through the proxy and notes its changes. */
const follow = async (more: Partial<InformerOptions<ConfigMap>> = {}) => {
  const informer = createInformer<ConfigMap>({ client, resource: CONFIG_MAP, namespace: 'default', ...more });
  const lines: string[] = [];
  informer.onChange((change) => lines.push(`${change.type} ${change.object.metadata.name}`));
  informer.start(stop.signal);
  await informer.whenSynced();
  lines.length = 0;
  const sees = async (line: string, withinMs = 10_000): Promise<void> => {
    if (!(await waitUntil(() => lines.includes(line), withinMs))) {
      throw new Error(`"${line}" did not come; came: ${lines.join(', ')}`);
    }
  };
  return { informer, lines, sees };
};

describe('informers against a real API server', () => {
  it('a broken connection is resumed where it was: nothing is missed, nothing listed', async () => {
    const { informer, sees } = await follow();
    await write('before');
    await sees('added before');
    proxy.cut();
    await write('meanwhile');
    await remove('before');
    await sleep(300);
    proxy.heal();
    await sees('added meanwhile');
    await sees('deleted before');
    expect(informer.counters().lists).toBe(1);
    await remove('meanwhile');
  });

  it('a watch that is too old (410) is listed anew, and what was deleted meanwhile is told', async () => {
    await write('doomed');
    const { informer, sees } = await follow();
    proxy.cut();
    await remove('doomed');
    await write('newborn');
    await server.compact();
    // A restarted API server remembers no events from before, so the old resource version is really gone.
    await server.killApiServer();
    await server.startApiServer();
    proxy.heal();
    await sees('added newborn', 40_000);
    await sees('deleted doomed');
    expect(informer.counters().relists).toBe(1);
    await write('later');
    await sees('added later');
    await Promise.all(['newborn', 'later'].map(remove));
  });

  it('a connection that falls silent is given up and replaced; calls go on meanwhile', async () => {
    const { informer, sees } = await follow();
    await client.get(resources.NAMESPACE, 'default');
    // Connection 0 carried the list and carries calls, connection 1 the watch.
    expect(proxy.open).toBe(2);
    proxy.stall(1);
    await write('unseen');
    const begun = performance.now();
    for (let i = 0; i < 10; i += 1) await client.get(resources.NAMESPACE, 'default');
    expect(performance.now() - begun).toBeLessThan(5000);
    await sees('added unseen', 45_000);
    expect(informer.counters().lists).toBe(1);
    await remove('unseen');
  });

  it('more watches than one connection carries are spread', async () => {
    const label = (i: number): string => `spread=${i}`;
    const informers = Array.from({ length: 120 }, (_, i) =>
      createInformer<ConfigMap>({ client, resource: CONFIG_MAP, labelSelector: label(i) }),
    );
    const first = new AbortController();
    informers.forEach((informer, i) => informer.start(i < 100 ? first.signal : stop.signal));
    await Promise.all(informers.map((informer) => informer.whenSynced()));
    expect(await waitUntil(() => proxy.open === 3, 5000)).toBe(true);
    const metadata = { name: 'spread', namespace: 'default', labels: { spread: '119' } };
    await admin.create(CONFIG_MAP, { metadata });
    expect(await waitUntil(() => informers[119]?.list().length === 1, 5000)).toBe(true);
    first.abort(new Error('enough'));
    await remove('spread');
    expect(await waitUntil(() => informers[119]?.list().length === 0, 5000)).toBe(true);
  });

  it('a kind that appears only later is followed from then on', async () => {
    const informer = createInformer<KubeObject>({
      client,
      resource: {
        group: 'test.fluvia.dev',
        version: 'v1',
        plural: 'things',
        namespaced: false,
        kind: 'Thing',
      },
    });
    informer.start(stop.signal);
    await sleep(500);
    expect(informer.hasSynced()).toBe(false);
    const { installThings } = await import('./things.ts');
    const things = await installThings(admin);
    await admin.create(things, { metadata: { name: 'one' } });
    await informer.whenSynced();
    expect(await waitUntil(() => informer.getByKey('one') !== undefined, 10_000)).toBe(true);
  });

  it('follows a thousand writes to the last, with indexes', async () => {
    const { informer } = await follow({ indexers: { parity: (object) => [object.data?.['parity'] ?? ''] } });
    const label = { test: 'many' };
    await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        admin.create(CONFIG_MAP, {
          metadata: { name: `many-${i}`, namespace: 'default', labels: label },
          data: { parity: i % 2 === 0 ? 'even' : 'odd' },
        }),
      ),
    );
    expect(await waitUntil(() => informer.byIndex('parity', 'odd').length === 500, 10_000)).toBe(true);
    expect(informer.byIndex('parity', 'even')).toHaveLength(500);
    await admin.request('DELETE', '/api/v1/namespaces/default/configmaps?labelSelector=test%3Dmany');
    expect(await waitUntil(() => informer.byIndex('parity', 'odd').length === 0, 20_000)).toBe(true);
  });
});
