import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LABELS, PORTS, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import { STORE, TOKEN_REQUESTS, TOKENS } from '../../api/storage-collections.ts';
import type { Offer } from '../../api/v1alpha1/offer.ts';
import { refOf } from '../../deploy/manifests/refs.ts';
import { storeObjects } from '../../deploy/manifests/store.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { Secret } from '../../runtime/kube/types.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { startStore } from '../../storage-fabric/store/start.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';
import { controllerToken, installKinds, OFFER, PEER } from './provider-setup.ts';

/** The leader's side of the store on a real API server, with the rights of the installation. Told in order. */
const EAST = 'e'.repeat(26);
let server: TestApiServer;
let admin: KubeClient;
let client: KubeClient;
let east: FakePeer;
const term = new AbortController();

const until = async (what: string, done: () => Promise<boolean> | boolean, ms = 20_000): Promise<void> => {
  const end = Date.now() + ms;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await systemClock.sleep(50);
  }
};
const told = () => east.sent(STORE).items.get('store');
const offer = () => admin.get<Offer>(OFFER, 'east-store-0');

beforeAll(async () => {
  server = await startApiServer();
  admin = createKubeClient(server.access);
  await installKinds(admin);
  await admin.create(PEER, {
    metadata: { name: 'east' },
    spec: { clusterID: EAST, pins: ['0'.repeat(64)], roles: ['Consumer'] },
  } as never);
  const token = await controllerToken(admin);
  const { cert: _cert, key: _key, ...access } = server.access;
  client = createKubeClient({ ...access, token: () => Promise.resolve(token) });
  east = createFakePeer('east', EAST, term.signal);
  east.tell(TOKEN_REQUESTS).complete = true;
  const deps: ControllerDeps = {
    client,
    informers: createInformerFactory(client, term.signal),
    clock: systemClock,
    log: silentLogger,
    metrics: createMetrics(),
    events: { record: () => undefined, flush: async () => {} },
    clusterName: 'home',
    systemNamespace: SYSTEM_NAMESPACE,
    podName: 'fluvia-controller-0',
    podIP: '127.0.0.1',
    leaderTransitions: 1,
  };
  startStore(deps, createFakeLinks([east]), 'h'.repeat(26), term.signal);
});
afterAll(async () => {
  term.abort();
  await client?.close();
  await admin?.close();
  await server?.stop();
});

describe('the store', () => {
  it('is a manifest that the API server takes', async () => {
    const credentials = { accessKey: 'a', secretKey: 'b' };
    const objects = storeObjects({
      clusterName: 'home',
      image: 'fluvia',
      podCIDRs: ['10.244.0.0/16'],
      serviceCIDRs: [],
      objectStore: {
        secretName: 'fluvia-object-store',
        embedded: { image: 's3', size: '20Gi', credentials },
      },
    });
    for (const object of objects)
      await admin.apply(refOf(object), object, { fieldManager: 'test', force: true });
    expect(objects).toHaveLength(5);
  });

  it('is not there as long as no front runs, and requests for tokens are told so', async () => {
    east.tell(TOKEN_REQUESTS).set('r1', {
      volume: 'v0123456789abcdef',
      kind: 'append',
      epoch: 1,
      lifetimeSeconds: 600,
      attempt: 0,
    });
    await until('a refusal', () => east.sent(TOKENS).items.get('r1')?.refused?.reason === 'NoStore');
    expect(told()).toBeUndefined();
    expect(await offer()).toBeUndefined();
  });

  it('gets its keys with its first pod, and is told and opened once that has an address', async () => {
    await admin.create(resources.POD, {
      metadata: {
        name: 'fluvia-store-a',
        namespace: SYSTEM_NAMESPACE,
        labels: { 'app.kubernetes.io/name': 'fluvia', 'app.kubernetes.io/component': 'store' },
      },
      spec: {
        automountServiceAccountToken: false,
        serviceAccountName: 'fluvia-controller',
        containers: [{ name: 'store', image: 'x' }],
      },
    } as never);
    await until('keys', async () => {
      const secret = await admin.get<Secret>(resources.SECRET, 'fluvia-store', SYSTEM_NAMESPACE);
      return Object.keys(secret?.data ?? {}).includes('token.key');
    });
    expect(told()).toBeUndefined();
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: new Date().toISOString() }];
    const status = { phase: 'Running', podIP: '10.244.0.9', podIPs: [{ ip: '10.244.0.9' }], conditions };
    await admin.patch(
      resources.POD,
      'fluvia-store-a',
      SYSTEM_NAMESPACE,
      { status },
      { type: 'merge', subresource: 'status' },
    );
    await until('it is told', () => told()?.ready === true);
    expect(told()).toMatchObject({
      address: '10.244.0.9',
      port: PORTS.store,
      serverName: `store.${'h'.repeat(26)}.fluvia.internal`,
    });
    expect(told()?.caCertificate).toContain('BEGIN CERTIFICATE');
    await until('it is opened', async () => (await offer()) !== undefined);
    expect((await offer())?.spec).toEqual({
      peer: 'east',
      addresses: [{ cidr: '10.244.0.9/32', ports: [{ protocol: 'TCP', port: PORTS.store }] }],
    });
    expect((await offer())?.metadata.labels?.[LABELS.offerSource]).toBe('store');
  });

  it('is closed and no longer told once its pod is gone', async () => {
    await admin.delete(resources.POD, 'fluvia-store-a', SYSTEM_NAMESPACE, { gracePeriodSeconds: 0 });
    await until('it is gone', async () => told() === undefined && (await offer()) === undefined);
  });
});
