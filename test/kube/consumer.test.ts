import { readdirSync, readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { NAMESPACES, OBJECTS, SHADOW_STATUS, SHADOWS, TWINS } from '../../api/collections.ts';
import { FLOAT_GATE, LABELS, PORTS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import {
  CLAIM,
  NAMESPACE_OFFLOADING,
  NETWORK_CONFIG,
  OFFER,
  PEER,
  VIEW,
  VIRTUAL_NODE,
} from '../../offloading/consumer/home.ts';
import { startConsumer } from '../../offloading/consumer/start.ts';
import { ensureCertificate } from '../../offloading/webhook/certificate-store.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { KubeObject, Lease, Node, Pod } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { waitUntil as poll } from '../testbed/processes.ts';
import { startControlPlane } from './control-plane.ts';
import type { TestApiServer } from './apiserver.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';

/**
 * Home's side on a real API server, scheduler and controller-manager; the peers are in memory. Told in order: each test
 * stands on the ones before it.
 */
const HOME_ID = 'h'.repeat(26);
const IDS: Readonly<Record<string, string>> = { east: 'e'.repeat(26), west: 'w'.repeat(26) };
const VIEWS: Readonly<Record<string, string>> = { east: '10.61.0.0/16', west: '10.62.0.0/16' };
const stop = new AbortController();
const peers = ['east', 'west'].map((name) => createFakePeer(name, IDS[name] ?? '', stop.signal));
const [east] = peers as [FakePeer, FakePeer];

/** Fails with what was waited for. */
const waitUntil = async (
  what: string,
  done: () => boolean | Promise<boolean>,
  withinMs = 10_000,
): Promise<void> => {
  if (!(await poll(done, withinMs))) throw new Error(`waited in vain until ${what}`);
};

let server: TestApiServer;
let client: KubeClient;

const podsOf = async (namespace: string): Promise<Pod[]> =>
  (await client.list<Pod>(resources.POD, { namespace })).items;

const applyCrds = async (): Promise<void> => {
  const folder = join(import.meta.dirname, '../../deploy/crds');
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
    await client.create(resources.CRD, parse(readFileSync(join(folder, file), 'utf8')) as KubeObject);
  }
  await waitUntil('the CRDs are served', async () => {
    const crds = await client.list<
      KubeObject & { status?: { conditions?: { type: string; status: string }[] } }
    >(resources.CRD);
    return crds.items.every((crd) =>
      crd.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True'),
    );
  });
};

const makePeer = async (name: string): Promise<void> => {
  const now = new Date().toISOString();
  const condition = (type: string) => ({
    type,
    status: 'True',
    reason: 'Test',
    message: '',
    lastTransitionTime: now,
  });
  await client.create(PEER, {
    metadata: { name },
    spec: { clusterID: IDS[name], pins: ['0'.repeat(64)], roles: ['Provider'] },
  } as never);
  const status = { conditions: [condition('Ready'), condition('NetworkReady')] };
  await client.patch(PEER, name, undefined, { status }, { type: 'merge', subresource: 'status' });
  await client.create(CLAIM, { metadata: { name }, spec: { peer: name } } as never);
  const granted = { cpu: '4', memory: '8Gi', pods: '20' };
  await client.patch(
    CLAIM,
    name,
    undefined,
    { status: { granted, conditions: [condition('Granted')] } },
    { type: 'merge', subresource: 'status' },
  );
  const theirs = [{ purpose: 'Pod', real: '10.244.0.0/16', view: VIEWS[name] }];
  await client.create(VIEW, {
    metadata: { name },
    spec: { peer: name, clusterID: IDS[name], theirs, ours: [] },
  } as never);
};

/** What a working webhook looks like to the controller; the pods below come as it would leave them. */
const makeWebhook = async (): Promise<void> => {
  for (const name of ['fluvia-remote', 'fluvia']) {
    await client.create(resources.MUTATING_WEBHOOK_CONFIGURATION, {
      metadata: { name },
      webhooks: [
        {
          name: `${name}.fluvia.dev`,
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Ignore',
          objectSelector: { matchLabels: { 'test/never': 'true' } },
          clientConfig: {
            service: { name: 'fluvia-webhook', namespace: 'fluvia-system', path: '/admit/remote' },
          },
          rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        },
      ],
    } as never);
  }
  await client.create(resources.ENDPOINT_SLICE, {
    metadata: {
      name: 'fluvia-webhook-x',
      namespace: 'fluvia-system',
      labels: { 'kubernetes.io/service-name': 'fluvia-webhook' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.244.0.9'], conditions: { ready: true } }],
    ports: [],
  } as never);
  await ensureCertificate(client, systemClock, 'fluvia-system');
};

const makeHomeNode = async (): Promise<void> => {
  await client.create(resources.NODE, { metadata: { name: 'n1', labels: { 'kubernetes.io/os': 'linux' } } });
  const amounts = { cpu: '4', memory: '8Gi', pods: '20' };
  const conditions = [
    { type: 'Ready', status: 'True', reason: 'Test', lastTransitionTime: new Date().toISOString() },
  ];
  await client.patch(
    resources.NODE,
    'n1',
    undefined,
    { status: { capacity: amounts, allocatable: amounts, conditions } },
    { type: 'merge', subresource: 'status' },
  );
};

beforeAll(async () => {
  server = await startControlPlane();
  client = createKubeClient(server.access);
  for (const name of ['fluvia-system', 'shop'])
    await client.create(resources.NAMESPACE, { metadata: { name } });
  await applyCrds();
  await client.create(NETWORK_CONFIG, {
    metadata: { name: 'default' },
    spec: { podCIDRs: ['10.244.0.0/16'] },
  } as never);
  await makeHomeNode();
  await makeWebhook();
  for (const name of Object.keys(IDS)) await makePeer(name);
  const log = createLogger({
    level: 'warn',
    write: (line) => process.env['FLUVIA_TEST_LOG'] && process.stderr.write(line),
  });
  const deps: ControllerDeps = {
    client,
    informers: createInformerFactory(client, stop.signal),
    clock: systemClock,
    log,
    metrics: createMetrics(),
    events: { record: () => {}, flush: async () => {} },
    clusterName: 'home',
    systemNamespace: 'fluvia-system',
    podName: 'fluvia-controller-0',
    podIP: '127.0.0.1',
    leaderTransitions: 1,
  };
  await startConsumer(deps, createFakeLinks(peers), HOME_ID, stop.signal);
}, 180_000);

afterAll(async () => {
  stop.abort();
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
    const container = {
      name: 'web',
      image: 'web',
      env: [{ name: 'WHERE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
      resources: { requests: { cpu: '100m', memory: '64Mi' } },
      volumeMounts: [{ name: 'page', mountPath: '/page' }],
    };
    const spec = {
      containers: [container],
      volumes: [{ name: 'page', configMap: { name: 'page' } }],
      tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
      schedulingGates: [{ name: FLOAT_GATE }],
    };
    await client.create(resources.DEPLOYMENT, {
      metadata: { name: 'web', namespace: 'shop' },
      spec: {
        replicas: 6,
        selector: { matchLabels: { app: 'web' } },
        template: { metadata: { labels: { app: 'web' } }, spec },
      },
    } as never);
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
    const seen = sliceOf(east)?.endpoints.map((e) => `${e.clusterID[0]} ${e.address} ${e.ready}`);
    expect(seen?.toSorted()).toEqual([
      'h 10.244.0.20 true',
      'h 10.244.0.21 true',
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
    expect((await condition())?.message).toMatch(/home: not enough cpu.*/);
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
