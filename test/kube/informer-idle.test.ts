import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformer, type Informer } from '../../runtime/kube/informer.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { sleep } from '../testbed/processes.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { serverConnections } from './connections.ts';

/** In a file of its own, since it does nothing but wait, beside the others. */

const term = new AbortController();
let server: TestApiServer;
let admin: KubeClient;
beforeAll(async () => {
  server = await startApiServer();
  admin = createKubeClient(server.access);
});
afterAll(async () => {
  term.abort(new Error('end of test'));
  await admin?.close();
  await server?.stop();
});

const watched = [
  resources.NODE,
  resources.NAMESPACE,
  resources.POD,
  resources.SERVICE,
  resources.ENDPOINT_SLICE,
  resources.CONFIG_MAP,
  resources.SECRET,
  resources.LEASE,
  resources.DEPLOYMENT,
  resources.SERVICE_ACCOUNT,
];

describe('ten informers against a real API server', () => {
  it('idle for 60 s without a LIST, on two connections with all calls', async () => {
    const direct = createKubeClient(server.access, { userAgent: 'fluvia-idle' });
    await admin.get(resources.NAMESPACE, 'default');
    const before = serverConnections(server.port, process.pid);
    const informers = watched.map((resource): Informer<KubeObject> =>
      // Watches that the server ends every few seconds: resuming them must not list either.
      createInformer<KubeObject>({ client: direct, resource, watchSeconds: [4, 9] }),
    );
    for (const informer of informers) informer.start(term.signal);
    await Promise.all(informers.map((informer) => informer.whenSynced()));
    const lists = async (): Promise<number> => {
      const counts = watched.map((resource) =>
        server.requests(admin, {
          verb: 'LIST',
          resource: resource.plural,
          group: resource.group,
          scope: 'cluster',
        }),
      );
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    };
    const atStart = await lists();
    expect(atStart).toBeGreaterThanOrEqual(watched.length);
    let most = 0;
    for (let second = 0; second < 60; second += 1) {
      await sleep(1000);
      if (second % 10 === 5) await direct.get(resources.NAMESPACE, 'default');
      most = Math.max(most, serverConnections(server.port, process.pid) - before);
    }
    expect((await lists()) - atStart).toBe(0);
    expect(most).toBe(2);
    expect(informers.every((informer) => informer.counters().watches > 3)).toBe(true);
    expect(informers.map((informer) => informer.counters().errors)).toEqual(watched.map(() => 0));
    await direct.close();
  });
});
