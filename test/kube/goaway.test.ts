import { afterAll, beforeAll, expect, it } from 'vitest';

import { createKubeClient } from '../../runtime/kube/client.ts';
import { createInformer } from '../../runtime/kube/informer.ts';
import { CONFIG_MAP } from '../../runtime/kube/resources.ts';
import type { ConfigMap } from '../../runtime/kube/types.ts';
import { waitUntil } from '../testbed/processes.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { startTcpProxy } from './tcp-proxy.ts';

let server: TestApiServer;
beforeAll(async () => {
  server = await startApiServer(['--goaway-chance=0.02']);
});
afterAll(async () => {
  await server?.stop();
});

it('an API server that keeps sending clients away loses no call, and gathers no connections', async () => {
  const proxy = await startTcpProxy(server.port);
  const client = createKubeClient({ ...server.access, server: new URL(`https://127.0.0.1:${proxy.port}`) });
  const stop = new AbortController();
  const informer = createInformer<ConfigMap>({ client, resource: CONFIG_MAP, namespace: 'default' });
  informer.start(stop.signal);
  await informer.whenSynced();
  const total = 1500;
  let next = 0;
  const failures: string[] = [];
  const worker = async (): Promise<void> => {
    while (next < total) {
      const name = `n-${next}`;
      next += 1;
      await client
        .create(CONFIG_MAP, { metadata: { name, namespace: 'default' } })
        .catch((error: unknown) => void failures.push(String(error)));
    }
  };
  await Promise.all(Array.from({ length: 30 }, worker));
  expect(failures).toEqual([]);
  const stored = await client.list(CONFIG_MAP, { namespace: 'default' });
  expect(stored.items).toHaveLength(total);
  expect(await waitUntil(() => informer.list().length === total, 20_000)).toBe(true);
  expect(informer.counters().lists).toBe(1);
  // Sent away often, and still no more than one connection for calls and one for watches.
  expect(proxy.accepted).toBeGreaterThan(5);
  expect(await waitUntil(() => proxy.open <= 2, 10_000)).toBe(true);
  stop.abort(new Error('end of test'));
  await client.close();
  await proxy.stop();
});
