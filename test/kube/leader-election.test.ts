import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { silentLogger } from '../../runtime/log.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { runLeaderElection, type ElectionEnd } from '../../runtime/kube/leader-election.ts';
import { LEASE } from '../../runtime/kube/resources.ts';
import type { Lease } from '../../runtime/kube/types.ts';
import { waitUntil } from '../testbed/processes.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { startTcpProxy } from './tcp-proxy.ts';

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

interface Candidate {
  readonly stop: () => void;
  readonly end: Promise<ElectionEnd>;
}

const createElection = (name: string) => {
  const leading = new Set<string>();
  let mostAtOnce = 0;
  const join = (identity: string, client: KubeClient): Candidate => {
    const stopping = new AbortController();
    const end = runLeaderElection({
      client,
      namespace: 'default',
      name,
      identity,
      log: silentLogger,
      signal: stopping.signal,
      lead: async ({ signal }) => {
        leading.add(identity);
        mostAtOnce = Math.max(mostAtOnce, leading.size);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        leading.delete(identity);
      },
    });
    return { stop: () => stopping.abort(new Error('stop')), end };
  };
  const leader = async (identity: string, withinMs: number): Promise<void> => {
    if (!(await waitUntil(() => leading.has(identity), withinMs)))
      throw new Error(`${identity} does not lead`);
  };
  const lease = async (): Promise<Lease> => {
    const found = await admin.get<Lease>(LEASE, name, 'default');
    if (!found) throw new Error('no lease');
    return found;
  };
  return { join, leader, lease, mostAtOnce: () => mostAtOnce };
};

describe('leader election against a real API server', () => {
  it('hands over at once when the leader stops gracefully', async () => {
    const { join, leader, lease, mostAtOnce } = createElection('graceful');
    const [one, two] = [createKubeClient(server.access), createKubeClient(server.access)];
    const a = join('a', one);
    await leader('a', 5000);
    const b = join('b', two);
    expect((await lease()).spec).toMatchObject({
      holderIdentity: 'a',
      leaseDurationSeconds: 6,
      leaseTransitions: 1,
    });
    a.stop();
    expect(await a.end).toBe('stopped');
    await leader('b', 3000);
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 2 });
    b.stop();
    await b.end;
    expect(mostAtOnce()).toBe(1);
    await Promise.all([one.close(), two.close()]);
  });

  it('a leader that loses the API server gives up before the standby takes over', async () => {
    const { join, leader, lease, mostAtOnce } = createElection('cut');
    const proxy = await startTcpProxy(server.port);
    const access = { ...server.access, server: new URL(`https://127.0.0.1:${proxy.port}`) };
    const [one, two] = [createKubeClient(access), createKubeClient(server.access)];
    const a = join('a', one);
    await leader('a', 5000);
    const b = join('b', two);
    proxy.cut();
    expect(await a.end).toBe('lost');
    expect((await lease()).spec?.holderIdentity).toBe('a');
    await leader('b', 10_000);
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 2 });
    expect(mostAtOnce()).toBe(1);
    b.stop();
    await b.end;
    await Promise.all([one.close(), two.close()]);
    await proxy.stop();
  });
});
