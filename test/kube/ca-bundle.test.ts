import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OWN_NAMESPACES } from '../../api/labels.ts';
import { rbac } from '../../deploy/manifests/rbac.ts';
import { refOf } from '../../deploy/manifests/refs.ts';
import { webhookConfigurations } from '../../deploy/manifests/services.ts';
import { startCaBundle } from '../../offloading/webhook/ca-bundle-controller.ts';
import { ensureCertificate } from '../../offloading/webhook/certificate-store.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import { MUTATING_WEBHOOK_CONFIGURATION, NAMESPACE } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { waitUntil } from './home-objects.ts';

/** The CA in the installed webhook configurations, kept by the installed account with its installed rights. */

const SYSTEM = 'fluvia-system';
const NAMES = ['fluvia-remote', 'fluvia'] as const;
const stop = new AbortController();
const lines: string[] = [];
let server: TestApiServer;
let client: KubeClient;
let controller: KubeClient;

interface Configuration extends KubeObject {
  readonly webhooks: readonly {
    readonly name: string;
    readonly rules: readonly object[];
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}

const install = async (): Promise<void> => {
  for (const object of [...rbac, ...webhookConfigurations]) {
    await client.apply(refOf(object), object, { fieldManager: 'fluviactl', force: true });
  }
};
const configurations = (): Promise<(Configuration | undefined)[]> =>
  Promise.all(NAMES.map((name) => client.get<Configuration>(MUTATING_WEBHOOK_CONFIGURATION, name)));
const bundles = async (): Promise<(string | undefined)[]> =>
  (await configurations()).map((found) => found?.webhooks[0]?.clientConfig.caBundle);

beforeAll(async () => {
  server = await startApiServer();
  client = createKubeClient(server.access);
  controller = createKubeClient({
    ...server.access,
    impersonate: { user: 'system:serviceaccount:fluvia-system:fluvia-controller' },
  });
  for (const name of OWN_NAMESPACES) await client.create(NAMESPACE, { metadata: { name } });
  await install();
});
afterAll(async () => {
  stop.abort();
  await controller?.close();
  await client?.close();
  await server?.stop();
});

describe('the CA of the webhooks', () => {
  it('comes into both configurations without a failed write, and is said to stand', async () => {
    const { ca } = await ensureCertificate(client, systemClock, SYSTEM);
    const wanted = Buffer.from(ca).toString('base64');
    const deps: ControllerDeps = {
      client: controller,
      informers: createInformerFactory(controller, stop.signal),
      clock: systemClock,
      log: createLogger({ level: 'debug', write: (line) => lines.push(line) }),
      metrics: createMetrics(),
      events: { record: () => {}, flush: async () => {} },
      clusterName: 'home',
      systemNamespace: SYSTEM,
      podName: 'fluvia-controller-0',
      podIP: '127.0.0.1',
      leaderTransitions: 1,
    };
    const health = startCaBundle(deps, stop.signal);
    await waitUntil('both have the CA', async () => (await bundles()).every((bundle) => bundle === wanted));
    await waitUntil('the cache says so, too', () => health.problem()?.includes('no ready endpoint') === true);
    expect(lines.filter((line) => line.includes('"err"'))).toEqual([]);
  });

  it('is left alone by the next install, and put back when someone takes it out', async () => {
    const before = await bundles();
    await install();
    expect(await bundles()).toEqual(before);
    const taken = [{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }];
    await client.patch(MUTATING_WEBHOOK_CONFIGURATION, 'fluvia', undefined, taken, { type: 'json' });
    await waitUntil('it is back', async () => (await bundles())[1] === before[1]);
    expect((await configurations()).map((found) => found?.webhooks[0]?.rules.length)).toEqual([1, 1]);
    expect(lines.filter((line) => line.includes('"err"'))).toEqual([]);
  });
});
