import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHADOW_STATUS, SHADOWS, TWINS } from '../../api/collections.ts';
import { fenceSpanMs } from '../../api/fence.ts';
import { FENCE_ANSWERS, FENCE_ASKS, FENCE_ID } from '../../api/fence-collections.ts';
import { FINALIZERS, LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { forgetPeer } from '../../cli/forget-peer.ts';
import { NETWORK_CONFIG } from '../../offloading/consumer/home.ts';
import { startConsumer } from '../../offloading/consumer/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { Node, Pod } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { freePort } from '../support/free-port.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';
import { applyCrds, IDS, makeHomeNode, makePeer, makeWebhook, waitUntil } from './home-objects.ts';

/** Home loses a peer: a real API server, scheduler and controller-manager; the peers are in memory. Told in order. */
const LEASE_SECONDS = 6;
const STOP_SECONDS = 3;
const STATEFUL_SET = {
  group: 'apps',
  version: 'v1',
  plural: 'statefulsets',
  kind: 'StatefulSet',
  namespaced: true,
} as const;
const FLOAT_POLICY = resources.fluviaResource('FloatPolicy', 'floatpolicies', false);

const term = new AbortController();
let server: TestApiServer;
let client: KubeClient;
let east: FakePeer;
let west: FakePeer;

const pods = async (): Promise<Pod[]> => (await client.list<Pod>(resources.POD, { namespace: 'shop' })).items;
const podNamed = (name: string): Promise<Pod | undefined> => client.get<Pod>(resources.POD, name, 'shop');
const isReady = (node: Node | undefined): boolean =>
  (node?.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false) &&
  node?.spec.taints?.every(({ key }) => key === VIRTUAL_NODE_TAINT) === true;
const ask = (number: number): void =>
  east.tell(FENCE_ASKS).set(FENCE_ID, { asks: { controller: number, 'node/e1': number } });
const answered = () => east.sent(FENCE_ANSWERS).items.get(FENCE_ID);

const prefersEast = {
  containers: [{ name: 'main', image: 'web' }],
  tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: LABELS.peer, operator: 'Exists' }] }],
      },
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          preference: { matchExpressions: [{ key: LABELS.peer, operator: 'In', values: ['east'] }] },
        },
      ],
    },
  },
};
const workload = (name: string, replicas = 1) => ({
  metadata: { name, namespace: 'shop' },
  spec: {
    replicas,
    ...(replicas > 1 ? { podManagementPolicy: 'Parallel' } : {}),
    serviceName: name,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: prefersEast },
  },
});

beforeAll(async () => {
  server = await startControlPlane();
  client = createKubeClient(server.access);
  for (const name of ['fluvia-system', 'shop'])
    await client.create(resources.NAMESPACE, { metadata: { name } });
  await applyCrds(client);
  await client.create(NETWORK_CONFIG, {
    metadata: { name: 'default' },
    spec: { podCIDRs: ['10.244.0.0/16'] },
  } as never);
  await client.create(FLOAT_POLICY, {
    metadata: { name: 'default' },
    spec: { hysteresisSeconds: 1, graceSeconds: 2, leaseSeconds: LEASE_SECONDS, stopSeconds: STOP_SECONDS },
  } as never);
  await makeHomeNode(client);
  await makeWebhook(client);
  for (const name of Object.keys(IDS)) await makePeer(client, name, await freePort());
  const peers = Object.entries(IDS).map(([name, id]) => createFakePeer(name, id, term.signal));
  [east, west] = peers as [FakePeer, FakePeer];
  await startConsumer(
    {
      client,
      informers: createInformerFactory(client, term.signal),
      clock: systemClock,
      log: createLogger({
        level: 'debug',
        write: (line) => process.env['FLUVIA_TEST_LOG'] && process.stderr.write(line),
      }),
      metrics: createMetrics(),
      events: { record: () => {}, flush: async () => {} },
      clusterName: 'home',
      systemNamespace: 'fluvia-system',
      podName: 'fluvia-controller-0',
      podIP: '127.0.0.1',
      leaderTransitions: 1,
    },
    createFakeLinks(peers),
    'h'.repeat(26),
    term.signal,
  );
  const labels = { [LABELS.offload]: 'true' };
  await client.patch(resources.NAMESPACE, 'shop', undefined, { metadata: { labels } }, { type: 'merge' });
  for (const peer of peers)
    peer.tell(TWINS).set('shop', { twin: 'shop', ready: true, reason: 'Ready', message: '' });
  for (const name of Object.keys(IDS))
    await waitUntil('the virtual nodes are ready', async () =>
      isReady(await client.get<Node>(resources.NODE, `fluvia-${name}`)),
    );
}, 180_000);

afterAll(async () => {
  term.abort();
  await client?.close();
  await server?.stop();
});

describe('home and a lost peer', () => {
  let before: Pod[] = [];
  let lastAnswerAt = 0;
  const uidOf = (name: string): string =>
    before.find((pod) => pod.metadata.name.startsWith(name))?.metadata.uid ?? '';

  it('holds a fence pod before its peer hears of it', async () => {
    await client.create(resources.DEPLOYMENT, workload('web') as never);
    await client.create(STATEFUL_SET, workload('db', 3) as never);
    await client.create(resources.POD, {
      metadata: { name: 'solo', namespace: 'shop' },
      spec: prefersEast,
    } as never);
    await waitUntil('all are told to east', async () => east.sent(SHADOWS).items.size === 5, 30_000);
    before = await pods();
    expect(before.map((pod) => pod.spec.nodeName)).toEqual(Array(5).fill('fluvia-east'));
    const items = new Map([...east.sent(SHADOWS).items].map(([id, item]) => [id.slice(5, 8), item.fence]));
    expect(items.get('db-')).toEqual({ stopSeconds: STOP_SECONDS });
    expect([items.get('web'), items.get('sol')]).toEqual([undefined, undefined]);
    const held = before.filter((pod) => pod.metadata.finalizers?.includes(FINALIZERS.floated));
    expect(held.map((pod) => pod.metadata.name)).toEqual(['db-0', 'db-1', 'db-2']);
  });

  it('answers asks with what may run there', async () => {
    ask(1);
    await waitUntil('an answer', () => answered()?.asks['controller'] === 1);
    expect(answered()).toMatchObject({
      leaseSeconds: LEASE_SECONDS,
      pods: ['db-0', 'db-1', 'db-2'].map(uidOf).sort(),
    });
    for (const [id, { uid }] of east.sent(SHADOWS).items) {
      const conditions = [{ type: 'Ready', status: 'True' }];
      east.tell(SHADOW_STATUS).set(id, { uid, state: 'accepted', status: { phase: 'Running', conditions } });
    }
    await waitUntil('all run', async () => (await pods()).every((p) => p.status?.phase === 'Running'));
    ask(2);
    await waitUntil('an answer', () => answered()?.asks['controller'] === 2);
    lastAnswerAt = performance.now();
  });

  it('makes a node again that a person deleted: its pods stay, and what they are held by', async () => {
    const uid = (await client.get<Node>(resources.NODE, 'fluvia-east'))?.metadata.uid;
    await client.delete(resources.NODE, 'fluvia-east');
    await waitUntil('it is there again', async () => {
      const node = await client.get<Node>(resources.NODE, 'fluvia-east');
      return node?.metadata.uid !== uid && isReady(node);
    });
    const after = new Map((await pods()).map((pod) => [pod.metadata.uid, pod]));
    for (const { metadata } of before) {
      expect(after.get(metadata.uid)?.metadata.finalizers).toEqual(metadata.finalizers);
      expect(after.get(metadata.uid)?.metadata.deletionTimestamp).toBeUndefined();
    }
    ask(3);
    await waitUntil('an answer', () => answered()?.asks['controller'] === 3);
    expect(answered()?.pods).toHaveLength(3);
    lastAnswerAt = performance.now();
  });

  it('replaces after the grace time what may be doubled, and leaves a bare pod', async () => {
    east.setUp(false);
    await waitUntil(
      'the node is not ready',
      async () => !isReady(await client.get<Node>(resources.NODE, 'fluvia-east')),
    );
    expect((await pods()).some((pod) => pod.metadata.uid === uidOf('web'))).toBe(true);
    await waitUntil('another web runs elsewhere', async () => {
      const web = (await pods()).filter((pod) => pod.metadata.name.startsWith('web'));
      return web.length === 1 && web[0]?.metadata.uid !== uidOf('web') && web[0]?.spec.nodeName !== undefined;
    });
    const web = (await pods()).find((pod) => pod.metadata.name.startsWith('web'));
    expect(web?.spec.nodeName).not.toBe('fluvia-east');
    const solo = await podNamed('solo');
    expect([solo?.metadata.uid, solo?.metadata.deletionTimestamp]).toEqual([uidOf('solo'), undefined]);
  });

  it('lets the fence pod go only after the safe time', async () => {
    await waitUntil('its end has begun', async () => {
      const pod = await podNamed('db-0');
      return pod?.metadata.uid !== uidOf('db-0') || pod.metadata.deletionTimestamp !== undefined;
    });
    const fresh = async (): Promise<number> => {
      const found = await Promise.all(['db-0', 'db-1', 'db-2'].map(podNamed));
      return found.filter((pod) => pod?.spec.nodeName && pod.metadata.uid !== uidOf(pod.metadata.name))
        .length;
    };
    await waitUntil('another is there', async () => (await fresh()) > 0, 30_000);
    expect(performance.now() - lastAnswerAt).toBeGreaterThanOrEqual(fenceSpanMs(LEASE_SECONDS, STOP_SECONDS));
    // Those that go first must not make the others wait: nothing is answered that nobody asked.
    await waitUntil('the others are there', async () => (await fresh()) === 3, 5000);
    expect(answered()?.pods).toHaveLength(3);
    const nodes = (await pods())
      .filter((pod) => pod.metadata.name.startsWith('db'))
      .map((p) => p.spec.nodeName);
    expect(nodes).not.toContain('fluvia-east');
  });

  it('on return has withdrawn the surplus and lists nothing that was let go', async () => {
    east.setUp(true);
    ask(4);
    await waitUntil('an answer', () => answered()?.asks['controller'] === 4);
    expect(answered()?.pods).toEqual([]);
    await waitUntil('only the bare pod is left there', () => east.sent(SHADOWS).items.size === 1);
    expect([...east.sent(SHADOWS).items.keys()]).toEqual(['shop/solo']);
  });

  it('forgets a peer for good, and holds its fence pods until no copy can run there any more', async () => {
    const atWest = (await pods()).filter((pod) => pod.metadata.name.startsWith('db'));
    expect(atWest.map((pod) => pod.spec.nodeName)).toEqual(Array(3).fill('fluvia-west'));
    const askedAt = performance.now();
    west.tell(FENCE_ASKS).set(FENCE_ID, { asks: { controller: 1 } });
    const listed = () => west.sent(FENCE_ANSWERS).items.get(FENCE_ID)?.pods;
    await waitUntil('west may run them', () => listed()?.length === 3);
    west.setUp(false);
    expect(await forgetPeer(client, 'west')).toBe(3);
    await waitUntil(
      'its node is gone',
      async () => (await client.get(resources.NODE, 'fluvia-west')) === undefined,
    );
    const uids = new Set(atWest.map((pod) => pod.metadata.uid));
    const isFresh = async (name: string): Promise<boolean> => {
      const pod = await podNamed(name);
      return pod !== undefined && !uids.has(pod.metadata.uid) && pod.spec.nodeName !== undefined;
    };
    let first: number | undefined;
    await waitUntil('others take their places', async () => {
      const fresh = await Promise.all(['db-0', 'db-1', 'db-2'].map(isFresh));
      if (fresh.includes(true)) first ??= performance.now();
      return !fresh.includes(false);
    });
    expect((first ?? 0) - askedAt).toBeGreaterThanOrEqual(fenceSpanMs(LEASE_SECONDS, STOP_SECONDS));
  });
});
