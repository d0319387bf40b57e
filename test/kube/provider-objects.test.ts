import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OBJECTS } from '../../api/collections.ts';
import type { ContainerStreamRequest } from '../../api/link.ts';
import {
  CONFIG_MAP,
  ENDPOINT_SLICE,
  NAMESPACE,
  NODE,
  POD,
  SECRET,
  SERVICE,
} from '../../runtime/kube/resources.ts';
import type { EndpointSlice, Namespace, Secret, Service } from '../../runtime/kube/types.ts';
import { HOME, make, OFFER, PEER, SHADOW_POD, tellAll, THIRD } from './provider-setup.ts';
import { setUp, shadow, until, type Stage } from './provider-stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await setUp();
  await make(stage.admin, NAMESPACE, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'mine' } });
  stage.open('shop', { mapping: 'auto', sharedWith: [] });
  stage.open('mine', { mapping: 'auto', sharedWith: [] });
  stage.bring({
    kind: 'ConfigMap',
    namespace: 'shop',
    name: 'conf',
    uid: 'c1',
    labels: {},
    annotations: {},
    body: { data: { a: '1' } },
  });
  stage.ask('shop/web-0', shadow('u-web-0'));
  await until('a pod', async () => (await stage.pod('web-0')) !== undefined);
  await until(
    'the ConfigMap',
    async () => (await stage.admin.get(CONFIG_MAP, 'conf.fluvia', 'shop')) !== undefined,
  );
});
afterAll(() => stage?.tearDown());

describe('objects', () => {
  const meta = { namespace: 'shop', labels: { app: 'web' }, annotations: {} };

  it('become what this cluster allows, and drift is corrected', async () => {
    stage.bring({
      kind: 'Service',
      name: 'web',
      uid: 's1',
      ...meta,
      body: {
        spec: {
          type: 'LoadBalancer',
          externalIPs: ['1.2.3.4'],
          selector: { app: 'web' },
          ports: [{ port: 80, nodePort: 30080 }],
        },
      },
    });
    stage.bring({
      kind: 'Secret',
      name: 'token',
      uid: 's2',
      ...meta,
      body: { type: 'kubernetes.io/service-account-token', data: { token: 'eA==' } },
    });
    await until('the Service', async () => (await stage.admin.get(SERVICE, 'web', 'shop')) !== undefined);
    await until(
      'the Secret',
      async () => (await stage.admin.get(SECRET, 'token.fluvia', 'shop')) !== undefined,
    );
    expect((await stage.admin.get<Service>(SERVICE, 'web', 'shop'))?.spec).toMatchObject({
      type: 'ClusterIP',
      selector: { app: 'web' },
    });
    expect((await stage.admin.get<Service>(SERVICE, 'web', 'shop'))?.spec['externalIPs']).toBeUndefined();
    expect((await stage.admin.get<Secret>(SECRET, 'token.fluvia', 'shop'))?.type).toBe('Opaque');
    await stage.admin.patch(
      CONFIG_MAP,
      'conf.fluvia',
      'shop',
      { data: { a: '2', b: '3' } },
      { type: 'merge' },
    );
    await until(
      'repair',
      async () =>
        JSON.stringify((await stage.admin.get(CONFIG_MAP, 'conf.fluvia', 'shop'))?.['data']) === '{"a":"1"}',
    );
    // Headless is another Service: it is made anew.
    stage.bring({
      kind: 'Service',
      name: 'web',
      uid: 's1',
      ...meta,
      body: { spec: { clusterIP: 'None', selector: { app: 'web' }, ports: [{ port: 80 }] } },
    });
    await until(
      'headless',
      async () => (await stage.admin.get<Service>(SERVICE, 'web', 'shop'))?.spec.clusterIP === 'None',
    );
  });

  it('translate endpoints, and call them not ready while the link is broken', async () => {
    // for 20 s after a start a link may still come up: of the third cluster none does
    await stage.restart();
    tellAll(stage.run(), stage.wishes);
    stage.bring({
      kind: 'EndpointSlice',
      namespace: 'shop',
      name: 'web-x',
      uid: 'e1',
      service: 'web',
      ports: [{ name: '', protocol: 'TCP', port: 80 }],
      endpoints: [
        { clusterID: HOME, address: '10.244.1.1', ready: true },
        { clusterID: THIRD, address: '10.244.1.1', ready: true },
        { clusterID: HOME, address: '10.96.0.1', ready: true },
      ],
    });
    const slice = () => stage.admin.get<EndpointSlice>(ENDPOINT_SLICE, 'web-x', 'shop');
    const readiness = async () =>
      (await slice())?.endpoints?.map(({ addresses, conditions }) => [addresses[0], conditions?.ready]);
    await until('the slice', async () => (await slice()) !== undefined);
    expect(await readiness()).toEqual([
      ['10.128.1.1', true],
      ['10.129.1.1', true],
    ]);
    expect((await slice())?.metadata.labels).toMatchObject({
      'kubernetes.io/service-name': 'web',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice.fluvia.dev',
    });
    stage.run().skip(30_000);
    stage.run().peer.setUp(false);
    await until('not ready', async () => (await readiness())?.every(([, ready]) => ready === false) === true);
    stage.run().peer.setUp(true);
    await until('ready again', async () => (await readiness())?.[0]?.[1] === true);
  });

  it('never touch what is another’s, and go when home takes them back', async () => {
    await make(stage.admin, CONFIG_MAP, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'theirs.fluvia', namespace: 'shop' },
      data: { mine: 'yes' },
    });
    stage.bring({ kind: 'ConfigMap', name: 'theirs', uid: 'c9', ...meta, body: { data: { mine: 'no' } } });
    stage.bring({
      kind: 'ConfigMap',
      name: 'kube-root-ca.crt',
      uid: 'c8',
      ...meta,
      body: { data: { 'ca.crt': 'x' } },
    });
    stage.run().peer.told(OBJECTS).delete('Secret/shop/token');
    await until(
      'the end of the Secret',
      async () => (await stage.admin.get(SECRET, 'token.fluvia', 'shop')) === undefined,
    );
    expect((await stage.admin.get(CONFIG_MAP, 'theirs.fluvia', 'shop'))?.['data']).toEqual({ mine: 'yes' });
    expect(await stage.admin.get(CONFIG_MAP, 'kube-root-ca.crt', 'shop')).toBeUndefined();
    stage.run().peer.told(OBJECTS).delete('ConfigMap/shop/theirs');
    await until(
      'the other stays',
      async () => (await stage.admin.get(CONFIG_MAP, 'theirs.fluvia', 'shop')) !== undefined,
    );
  });
});

describe('streams', () => {
  it('reach only the consumer’s own containers', async () => {
    const asked: string[] = [];
    const pem = (name: string): string => readFileSync(join(stage.server.folder, name), 'utf8');
    const kubelet = createServer(
      {
        cert: pem('kubelet-test-1.crt'),
        key: pem('kubelet-test-1.key'),
        ca: pem('ca.crt'),
        requestCert: true,
      },
      (request, response) => {
        asked.push(request.url ?? '');
        response.end('hello\n');
      },
    );
    kubelet.on('upgrade', (request, socket) => {
      asked.push(request.url ?? '');
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\n\r\n',
      );
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    kubelet.listen(0, '127.0.0.1');
    await once(kubelet, 'listening');
    const address = kubelet.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await make(stage.admin, NODE, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'test-1' } });
    await stage.admin.patch(
      NODE,
      'test-1',
      undefined,
      {
        status: {
          addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
          daemonEndpoints: { kubeletEndpoint: { Port: port } },
        },
      },
      { type: 'merge', subresource: 'status' },
    );
    await stage.admin.request('POST', '/api/v1/namespaces/shop/pods/web-0/binding', {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'web-0' },
      target: { kind: 'Node', name: 'test-1' },
    });
    const request = (more: Partial<ContainerStreamRequest>): ContainerStreamRequest => ({
      verb: 'logs',
      namespace: 'shop',
      pod: 'web-0',
      podUID: 'u-web-0',
      container: 'web',
      query: {},
      headers: {},
      ...more,
    });
    const never = new AbortController().signal;
    const logs = await stage.run().handler()(
      stage.run().peer.link,
      request({ query: { tailLines: ['5'], insecureSkipTLSVerifyBackend: ['true'] } }),
      never,
    );
    expect([logs.status, (await logs.body.toArray()).map(String).join('')]).toEqual([200, 'hello\n']);
    expect(asked.at(-1)).toBe('/containerLogs/shop/web-0/web?tailLines=5');

    const exec = await stage.run().handler()(
      stage.run().peer.link,
      request({
        verb: 'exec',
        query: { command: ['echo', 'a b'], input: ['1'], output: ['1'] },
        headers: {
          upgrade: 'SPDY/3.1',
          connection: 'Upgrade',
          'x-stream-protocol-version': 'v5.channel.k8s.io',
          authorization: 'Bearer x',
        },
      }),
      never,
    );
    expect(exec.status).toBe(101);
    exec.body.write('ping');
    const [echo] = (await once(exec.body, 'data')) as [Buffer];
    expect(echo.toString()).toBe('ping');
    exec.body.destroy();
    expect(asked.at(-1)).toMatch(/^\/exec\/shop\/web-0\/web\?/);
    expect(decodeURIComponent(asked.at(-1)?.replaceAll('+', ' ') ?? '')).toMatch(/command=echo&command=a b/);

    for (const bad of [
      { podUID: 'other' },
      { container: 'injected' },
      { pod: 'web-9' },
      { namespace: 'mine' },
      { namespace: '../kube-system' },
    ]) {
      await expect(stage.run().handler()(stage.run().peer.link, request(bad), never)).rejects.toThrow(
        /has no/,
      );
    }
    const other = { ...stage.run().peer.link, clusterID: THIRD };
    await expect(stage.run().handler()(other, request({}), never)).rejects.toThrow(/has no pod/);
    kubelet.closeAllConnections();
    kubelet.close();
  });
});

describe('unpeering', () => {
  it('ends shadows first, then the twins, with the other side dead', async () => {
    await stage.admin.patch(
      POD,
      'web-0',
      'shop',
      { metadata: { finalizers: ['test.fluvia.dev/hold'] } },
      { type: 'merge' },
    );
    stage.run().peer.setUp(false);
    stage.run().endLink();
    await stage.admin.delete(PEER, 'home');
    await until(
      'the pod ends',
      async () => (await stage.pod('web-0'))?.metadata.deletionTimestamp !== undefined,
    );
    expect((await stage.admin.get<Namespace>(NAMESPACE, 'shop'))?.metadata.deletionTimestamp).toBeUndefined();
    await stage.admin.patch(POD, 'web-0', 'shop', { metadata: { finalizers: null } }, { type: 'merge' });
    await stage.admin.delete(POD, 'web-0', 'shop', { gracePeriodSeconds: 0 });
    for (const name of ['shop', 'mine-home']) {
      await until(
        `the end of ${name}`,
        async () =>
          (await stage.admin.get<Namespace>(NAMESPACE, name))?.metadata.deletionTimestamp !== undefined,
      );
    }
    expect((await stage.admin.list(SHADOW_POD, { namespace: 'shop' })).items).toEqual([]);
    // The Peer stays as long as something of it does. Without a namespace controller the test ends the namespaces.
    expect(await stage.admin.get(PEER, 'home')).toBeDefined();
    for (const name of ['shop', 'mine-home']) {
      const namespace = await stage.admin.get<Namespace>(NAMESPACE, name);
      await stage.admin.request('PUT', `/api/v1/namespaces/${name}/finalize`, {
        ...namespace,
        spec: { finalizers: [] },
      });
    }
    await until('the end of the Peer', async () => (await stage.admin.get(PEER, 'home')) === undefined);
    await until('no Offers', async () => (await stage.admin.list(OFFER)).items.length === 0);
    expect((await stage.admin.get<Namespace>(NAMESPACE, 'mine'))?.metadata.deletionTimestamp).toBeUndefined();
  });
});
