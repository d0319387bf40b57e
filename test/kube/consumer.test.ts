import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NAMESPACES, OBJECTS, SHADOW_STATUS, SHADOWS, TWINS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import { FLOAT_GATE, LABELS, PORTS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import {
  NAMESPACE_OFFLOADING,
  NETWORK_CONFIG,
  OFFER,
  PEER,
  VIRTUAL_NODE,
} from '../../offloading/consumer/home.ts';
import { startConsumer } from '../../offloading/consumer/start.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { KubeObject, Lease, Node, Pod } from '../../runtime/kube/types.ts';
import { sleep } from '../testbed/processes.ts';
import { startControlPlane } from './control-plane.ts';
import type { TestApiServer } from './apiserver.ts';
import {
  acknowledge,
  applyCrds,
  homeDeps,
  IDS,
  makeHomeNode,
  makePeer,
  makeWebhook,
  waitUntil,
  webDeployment,
} from './home-objects.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';

/**
 * Home's side on a real API server, scheduler and controller-manager; the peers are in memory. Told in order: each test
 * stands on the ones before it.
 */
const HOME_ID = 'h'.repeat(26);
let term: AbortController;
let peers: FakePeer[];
let east: FakePeer;
let told: {
  twins: Map<string, ItemOf<typeof TWINS>>;
  statuses: Map<string, ItemOf<typeof SHADOW_STATUS>>;
}[] = [];

const events: string[] = [];

let server: TestApiServer;
let client: KubeClient;

const podsOf = async (namespace: string): Promise<Pod[]> =>
  (await client.list<Pod>(resources.POD, { namespace })).items;

/** A new term of the leader begins with empty hands. */
const startHome = async (): Promise<void> => {
  term = new AbortController();
  peers = Object.entries(IDS).map(([name, id]) => createFakePeer(name, id, term.signal));
  for (const [index, peer] of peers.entries()) {
    const box = told[index];
    for (const [id, twin] of box?.twins ?? []) peer.tell(TWINS).set(id, twin);
    for (const [id, status] of box?.statuses ?? []) peer.tell(SHADOW_STATUS).set(id, status);
  }
  [east] = peers as [FakePeer, FakePeer];
  const deps = homeDeps(client, (line) => events.push(line), term.signal);
  await startConsumer(deps, createFakeLinks(peers), HOME_ID, term.signal);
};

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
  await makeHomeNode(client);
  await makeWebhook(client);
  for (const name of Object.keys(IDS)) await makePeer(client, name);
  await startHome();
}, 180_000);

afterAll(async () => {
  term?.abort();
  await client?.close();
  await server?.stop();
});

const nodeOf = (name: string): Promise<Node | undefined> => client.get<Node>(resources.NODE, name);
const isReady = (node: Node | undefined): boolean =>
  node?.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;

describe('the consumer', () => {
  it('makes a Node of each grant, harmless to its home', async () => {
    await waitUntil(
      'both are ready',
      async () => isReady(await nodeOf('fluvia-east')) && isReady(await nodeOf('fluvia-west')),
    );
    const node = await nodeOf('fluvia-east');
    expect(node?.spec).toMatchObject({ providerID: `fluvia://${IDS['east']}/east` });
    expect(node?.spec.taints).toContainEqual(
      expect.objectContaining({ key: VIRTUAL_NODE_TAINT, effect: 'NoSchedule' }),
    );
    expect(node?.status?.allocatable).toEqual({ cpu: '4', memory: '8Gi', pods: '20' });
    expect(node?.status?.addresses).toEqual([{ type: 'InternalIP', address: '127.0.0.1' }]);
    expect(node?.metadata.labels).toMatchObject({
      [LABELS.peer]: 'east',
      'topology.kubernetes.io/zone': 'fluvia-east',
      'node.kubernetes.io/exclude-disruption': 'true',
    });
    expect(node?.status?.daemonEndpoints?.kubeletEndpoint?.Port).toBeGreaterThanOrEqual(PORTS.kubeletBase);
    await waitUntil('its Lease', async () => {
      const lease = await client.get<Lease>(resources.LEASE, 'fluvia-east', 'kube-node-lease');
      return lease?.spec?.renewTime !== undefined;
    });
  });

  it('opens a namespace by its label', async () => {
    const labels = { [LABELS.offload]: 'true' };
    await client.patch(resources.NAMESPACE, 'shop', undefined, { metadata: { labels } }, { type: 'merge' });
    await waitUntil('both peers are asked', async () =>
      peers.every((peer) => peer.sent(NAMESPACES).items.has('shop')),
    );
    expect(east.sent(NAMESPACES).items.get('shop')).toEqual({ mapping: 'auto', sharedWith: [IDS['west']] });
    for (const peer of peers) {
      peer.tell(TWINS).set('shop', { twin: 'shop', ready: true, reason: 'Ready', message: '' });
    }
    const readyOf = async () => {
      const found = await client.get<
        KubeObject & { status?: { conditions?: { type: string; status: string }[] } }
      >(NAMESPACE_OFFLOADING, 'offloading', 'shop');
      return found?.status?.conditions?.find((c) => c.type === 'Ready')?.status;
    };
    await waitUntil('it is Ready', async () => (await readyOf()) === 'True');
    const namespace = await client.get(resources.NAMESPACE, 'shop');
    expect(namespace?.metadata.labels?.[LABELS.strategy]).toBe('local-and-remote');
  });

  it('spreads pods evenly over home and both peers', async () => {
    await client.create(resources.CONFIG_MAP, {
      metadata: { name: 'page', namespace: 'shop' },
      data: { 'index.html': 'hello' },
    } as never);
    await client.create(resources.DEPLOYMENT, webDeployment(6) as never);
    await waitUntil('all are bound', async () => {
      const pods = await podsOf('shop');
      return pods.length === 6 && pods.every((pod) => pod.spec.nodeName);
    });
    const nodes = (await podsOf('shop')).map((pod) => String(pod.spec.nodeName)).toSorted();
    expect(nodes).toEqual(['fluvia-east', 'fluvia-east', 'fluvia-west', 'fluvia-west', 'n1', 'n1']);
  });

  it('publishes what the pods refer to, then the pods', async () => {
    await waitUntil('both are there', async () => east.sent(SHADOWS).items.size === 2);
    expect(east.sent(SHADOWS).complete && east.sent(OBJECTS).complete).toBe(true);
    expect(east.sent(OBJECTS).items.get('ConfigMap/shop/page')).toMatchObject({
      body: { data: { 'index.html': 'hello' } },
    });
    const [id = '', item] = [...east.sent(SHADOWS).items][0] ?? [];
    expect(id.startsWith('shop/web-')).toBe(true);
    expect(item).toMatchObject({ node: 'fluvia-east', claim: 'east', labels: { app: 'web' } });
    const container = (item?.spec['containers'] as { env: unknown }[] | undefined)?.[0];
    expect(container?.env).toEqual([{ name: 'WHERE', value: 'fluvia-east' }]);
    expect(Object.keys(item?.spec ?? {})).not.toEqual(
      expect.arrayContaining(['nodeName', 'affinity', 'schedulerName']),
    );
  });

  it('says in status and by an event which object a pod waits for', async () => {
    const [id = '', item] = [...east.sent(SHADOWS).items][0] ?? [];
    const name = id.split('/')[1] ?? '';
    const page = await client.get(resources.CONFIG_MAP, 'page', 'shop');
    const tell = (message: string): void =>
      east.tell(SHADOW_STATUS).set(id, {
        uid: item?.uid ?? '',
        state: 'accepted',
        status: { phase: 'Pending' },
        reason: 'MissingReference',
        message,
      });
    const says = (message: string): Promise<void> =>
      waitUntil(`it says: ${message}`, async () => {
        const status = (await client.get<Pod>(resources.POD, name, 'shop'))?.status;
        return status?.['reason'] === 'MissingReference' && status['message'] === message;
      });
    // home has it, so it is on its way: the peer's own words
    tell('waiting for ConfigMap page');
    await says('waiting for ConfigMap page');
    await client.delete(resources.CONFIG_MAP, 'page', 'shop');
    await waitUntil('the peer is told', async () => !east.sent(OBJECTS).items.has('ConfigMap/shop/page'));
    tell('still waiting for ConfigMap page');
    await says('ConfigMap page does not exist in this namespace');
    expect(events).toContain(`${name} MissingReference: ConfigMap page does not exist in this namespace`);
    const { data } = page as unknown as { data: object };
    await client.create(resources.CONFIG_MAP, {
      metadata: { name: 'page', namespace: 'shop' },
      data,
    } as never);
    await waitUntil('the peer has it', async () => east.sent(OBJECTS).items.has('ConfigMap/shop/page'));
  });

  it("shows the peer's status with addresses as home sees them", async () => {
    const now = '2026-11-25T00:00:00Z';
    for (const [index, peer] of peers.entries()) {
      for (const [number, [id, item]] of [...peer.sent(SHADOWS).items].entries()) {
        const status = {
          phase: 'Running',
          startTime: now,
          qosClass: 'BestEffort',
          conditions: ['Ready', 'ContainersReady', 'Initialized'].map((type) => ({
            type,
            status: 'True',
            lastTransitionTime: now,
          })),
          containerStatuses: ['web', 'intruder'].map((name) => ({
            name,
            ready: true,
            started: true,
            restartCount: 0,
            image: 'web',
            imageID: 'x',
            state: { running: { startedAt: now } },
          })),
        };
        const podIP = `10.244.${index}.${number + 5}`;
        peer.tell(SHADOW_STATUS).set(id, { uid: item.uid, state: 'accepted', status, podIP });
      }
    }
    await waitUntil(
      'four run',
      async () => (await podsOf('shop')).filter((p) => p.status?.phase === 'Running').length === 4,
    );
    const atEast = (await podsOf('shop')).filter((p) => p.spec.nodeName === 'fluvia-east');
    expect(atEast.map((p) => String(p.status?.podIP)).toSorted()).toEqual(['10.61.0.5', '10.61.0.6']);
    expect(atEast[0]?.status?.hostIP).toBe('127.0.0.1');
    expect(atEast[0]?.status?.containerStatuses?.map((c) => c.name)).toEqual(['web']);
    expect(atEast[0]?.status?.qosClass).toBe('Burstable');
  });

  it('reflects Services with the endpoints that are elsewhere, and offers those of home', async () => {
    for (const [index, pod] of (await podsOf('shop')).filter((p) => p.spec.nodeName === 'n1').entries()) {
      const ip = `10.244.0.${index + 20}`;
      const status = {
        phase: 'Running',
        podIP: ip,
        podIPs: [{ ip }],
        conditions: [...(pod.status?.conditions ?? []), { type: 'Ready', status: 'True' }],
      };
      await client.patch(
        resources.POD,
        pod.metadata.name,
        'shop',
        { status },
        { type: 'merge', subresource: 'status' },
      );
    }
    await client.create(resources.SERVICE, {
      metadata: { name: 'web', namespace: 'shop' },
      spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    } as never);
    const sliceOf = (peer: FakePeer) => {
      const found = [...peer.sent(OBJECTS).items.values()].find((item) => item.kind === 'EndpointSlice');
      return found?.kind === 'EndpointSlice' ? found : undefined;
    };
    await waitUntil('slices with four endpoints', async () =>
      peers.every((peer) => sliceOf(peer)?.endpoints.length === 4),
    );
    const service = east.sent(OBJECTS).items.get('Service/shop/web');
    expect(service).toMatchObject({ body: { spec: { type: 'ClusterIP', selector: { app: 'web' } } } });
    expect(JSON.stringify(service)).not.toMatch(/nodePort|clusterIPs|"10\.96/);
    const seen = () =>
      sliceOf(east)
        ?.endpoints.map((e) => `${e.clusterID[0]} ${e.address} ${e.ready}`)
        .toSorted();
    expect(seen()).toEqual([
      'h 10.244.0.20 false',
      'h 10.244.0.21 false',
      'w 10.244.1.5 true',
      'w 10.244.1.6 true',
    ]);
    await waitUntil('the Offer', async () => (await client.get(OFFER, 'east-endpoints-0')) !== undefined);
    const offer = await client.get<KubeObject & { spec: unknown }>(OFFER, 'east-endpoints-0');
    expect(offer?.spec).toEqual({
      peer: 'east',
      addresses: ['10.244.0.20/32', '10.244.0.21/32'].map((cidr) => ({
        cidr,
        ports: [{ protocol: 'TCP', port: 8080 }],
      })),
    });
    await acknowledge(client, { 'east-endpoints-0': 100 });
    await waitUntil('they are ready once let through', () => seen()?.[0] === 'h 10.244.0.20 true');
  });

  it('serves logs -f to the API server at once, and 401 to strangers', async () => {
    const pod = (await podsOf('shop')).find((p) => p.spec.nodeName === 'fluvia-east');
    const body = new PassThrough();
    east.serve((request) => {
      expect(request).toMatchObject({
        verb: 'logs',
        namespace: 'shop',
        container: 'web',
        query: { follow: ['true'] },
      });
      return { status: 200, headers: { 'content-type': 'text/plain' }, body };
    });
    const path = `/api/v1/namespaces/shop/pods/${pod?.metadata.name}/log?follow=true`;
    const opened = client.raw('GET', path);
    body.write('first\n');
    const stream = await opened;
    expect(stream.status).toBe(200);
    const lines = stream.body[Symbol.asyncIterator]();
    expect(String((await lines.next()).value)).toBe('first\n');
    body.write('second\n');
    expect(String((await lines.next()).value)).toBe('second\n');
    body.end();
    expect((await lines.next()).done).toBe(true);

    const port = (await nodeOf('fluvia-east'))?.status?.daemonEndpoints?.kubeletEndpoint?.Port;
    const status = (options: Record<string, unknown>): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const asked = httpsRequest(
          { host: '127.0.0.1', port, path: '/pods', rejectUnauthorized: false, agent: false, ...options },
          (response) => {
            response.resume();
            resolve(response.statusCode);
          },
        );
        asked.once('error', reject);
        asked.end();
      });
    expect(await status({})).toBe(401);
    expect(await status({ headers: { authorization: 'Bearer nonsense' } })).toBe(401);
    const pem = (name: string): string => readFileSync(join(server.folder, name), 'utf8');
    expect(await status({ cert: pem('proxy.crt'), key: pem('proxy.key') })).toBe(403);
    expect(await status({ cert: pem('admin.crt'), key: pem('admin.key') })).toBe(200);
  });

  it('splices exec to the peer', async () => {
    const pod = (await podsOf('shop')).find((p) => p.spec.nodeName === 'fluvia-east');
    east.serve((request) => {
      expect(request).toMatchObject({ verb: 'exec', container: 'web', query: { command: ['cat'] } });
      expect(request.headers['upgrade']).toBe('SPDY/3.1');
      const headers = {
        connection: 'Upgrade',
        upgrade: 'SPDY/3.1',
        'x-stream-protocol-version': 'v4.channel.k8s.io',
      };
      return { status: 101, headers, body: new PassThrough() };
    });
    const exec = (container: string) =>
      client.upgrade(
        'POST',
        `/api/v1/namespaces/shop/pods/${pod?.metadata.name}/exec?command=cat&stdin=true&stdout=true&container=${container}`,
        {
          connection: 'Upgrade',
          upgrade: 'SPDY/3.1',
          'x-stream-protocol-version': 'v4.channel.k8s.io',
        },
      );
    const { socket, headers } = await exec('web');
    expect(headers['x-stream-protocol-version']).toBe('v4.channel.k8s.io');
    socket.write('echo me');
    expect(String(await new Promise((resolve) => socket.once('data', resolve)))).toBe('echo me');
    socket.destroy();
    await expect(exec('intruder')).rejects.toThrow(/intruder/);
  });

  it('is idle when nothing happens: only Leases are written, nothing is listed', async () => {
    const written = ['pods', 'nodes', 'offers', 'namespaces', 'namespaceoffloadings'];
    const count = async () => {
      const patches = await Promise.all(
        written.map((resource) => server.requests(client, { verb: 'PATCH', resource })),
      );
      const posts = await server.requests(client, { verb: 'POST' });
      return [...patches, posts, await server.requests(client, { verb: 'LIST' })];
    };
    await sleep(2000);
    const before = await count();
    await sleep(12_000);
    expect(await count()).toEqual(before);
  });

  it('a new leader takes over without touching anything that runs', async () => {
    const before = (await podsOf('shop')).map((p) => `${p.metadata.uid} ${p.status?.phase}`).toSorted();
    const generation = (await client.get(OFFER, 'east-endpoints-0'))?.metadata.generation;
    told = peers.map((peer) => ({ twins: peer.tell(TWINS).items, statuses: peer.tell(SHADOW_STATUS).items }));
    const shadows = [...east.sent(SHADOWS).items.keys()].toSorted();
    term.abort();
    await startHome();
    await waitUntil('all is published', () =>
      peers.every((p) => p.sent(NAMESPACES).complete && p.sent(OBJECTS).complete && p.sent(SHADOWS).complete),
    );
    expect([...east.sent(SHADOWS).items.keys()].toSorted()).toEqual(shadows);
    expect(east.sent(NAMESPACES).items.has('shop')).toBe(true);
    expect([...east.sent(OBJECTS).items.keys()].map((id) => String(id.split('/')[0])).toSorted()).toEqual([
      'ConfigMap',
      'EndpointSlice',
      'Service',
    ]);
    await sleep(1000);
    expect((await podsOf('shop')).map((p) => `${p.metadata.uid} ${p.status?.phase}`).toSorted()).toEqual(
      before,
    );
    expect(isReady(await nodeOf('fluvia-east'))).toBe(true);
    expect((await client.get(OFFER, 'east-endpoints-0'))?.metadata.generation).toBe(generation);
  });

  it('calls a node and its pods not ready when the peer is lost, and takes it back', async () => {
    east.setUp(false);
    await waitUntil('the node is not ready', async () => !isReady(await nodeOf('fluvia-east')), 15_000);
    const readyAt = async (node: string): Promise<number> =>
      (await podsOf('shop')).filter(
        (p) =>
          p.spec.nodeName === node &&
          p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
      ).length;
    await waitUntil('its pods are not ready', async () => (await readyAt('fluvia-east')) === 0);
    expect(await readyAt('fluvia-west')).toBe(2);
    east.setUp(true);
    await waitUntil(
      'all is well again',
      async () => isReady(await nodeOf('fluvia-east')) && (await readyAt('fluvia-east')) === 2,
    );
  });

  it('keeps a pod that fits nowhere at the gate and says why', async () => {
    await client.create(resources.POD, {
      metadata: { name: 'giant', namespace: 'shop' },
      spec: {
        containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '100' } } }],
        tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
        schedulingGates: [{ name: FLOAT_GATE }],
      },
    } as never);
    const condition = async () =>
      (await client.get<Pod>(resources.POD, 'giant', 'shop'))?.status?.conditions?.find(
        (c) => c.type === 'fluvia.dev/Float',
      );
    await waitUntil('the condition', async () => (await condition()) !== undefined);
    expect((await condition())?.message).toMatch(
      /^this cluster: needs 100 cpu, largest free node has .*; east: needs 100 cpu/,
    );
    await client.delete(resources.POD, 'giant', 'shop');
  });

  it('closes the namespace: pods end at the peers before the twin goes', async () => {
    const labels = { [LABELS.offload]: null };
    await client.patch(resources.NAMESPACE, 'shop', undefined, { metadata: { labels } }, { type: 'merge' });
    await waitUntil('the pods are to end', async () =>
      [...east.sent(SHADOWS).items.values()].every((item) => item.deletionGraceSeconds !== undefined),
    );
    expect(east.sent(NAMESPACES).items.has('shop')).toBe(true);
    for (const peer of peers) {
      for (const [id, told] of peer.tell(SHADOW_STATUS).items) {
        peer.tell(SHADOW_STATUS).set(id, { uid: told.uid, state: 'gone' });
      }
    }
    await waitUntil('all is withdrawn', async () =>
      peers.every((peer) => !peer.sent(NAMESPACES).items.has('shop') && peer.sent(SHADOWS).items.size === 0),
    );
    await waitUntil('its pods are made again', async () => (await podsOf('shop')).length === 6);
    const namespace = await client.get(resources.NAMESPACE, 'shop');
    expect(namespace?.metadata.labels?.[LABELS.strategy]).toBeUndefined();
    await waitUntil(
      'the offloading is gone',
      async () => (await client.get(NAMESPACE_OFFLOADING, 'offloading', 'shop')) === undefined,
    );
    await waitUntil('all run at home', async () =>
      (await podsOf('shop')).every((pod) => pod.spec.nodeName === 'n1'),
    );
    expect(east.sent(OBJECTS).items.size).toBe(0);
  });

  it('leaves nothing of a peer that goes', async () => {
    await client.delete(PEER, 'west');
    await waitUntil('everything is gone', async () => {
      const left = await Promise.all([
        client.get(VIRTUAL_NODE, 'fluvia-west'),
        client.get(resources.NODE, 'fluvia-west'),
        client.get(resources.LEASE, 'fluvia-west', 'kube-node-lease'),
        client.get(PEER, 'west'),
      ]);
      return left.every((object) => object === undefined);
    });
    expect(isReady(await nodeOf('fluvia-east'))).toBe(true);
  });
});
