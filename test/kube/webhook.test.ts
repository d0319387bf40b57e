import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NAMES } from '../../api/labels.ts';
import { ensureCertificate } from '../../offloading/webhook/certificate-store.ts';
import { startWebhook } from '../../offloading/webhook/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { LEASE, NAMESPACE, SECRET } from '../../runtime/kube/resources.ts';
import { silentLogger } from '../../runtime/log.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import { waitUntil } from './home-objects.ts';

/** Both replicas of the webhook as the API server sees them. */
const SYSTEM = 'fluvia-system';
const PORTS = [29444, 29445];
const stop = new AbortController();
let server: TestApiServer;
let client: KubeClient;
let ca: string;

beforeAll(async () => {
  server = await startApiServer();
  client = createKubeClient(server.access);
  await client.create(NAMESPACE, { metadata: { name: SYSTEM } });
  await Promise.all(
    PORTS.map((port) =>
      startWebhook(
        { client, log: silentLogger, clock: systemClock, port, systemNamespace: SYSTEM },
        stop.signal,
      ),
    ),
  );
  ({ ca } = await ensureCertificate(client, systemClock, SYSTEM));
}, 120_000);
afterAll(async () => {
  stop.abort();
  await client?.close();
  await server?.stop();
});

const post = (port: number, path: string, body: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const asked = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method: 'POST',
        ca,
        servername: `fluvia-webhook.${SYSTEM}.svc`,
        agent: false,
      },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    asked.once('error', reject);
    asked.end(body);
  });

const review = JSON.stringify({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: 'u1',
    operation: 'CREATE',
    resource: { group: '', version: 'v1', resource: 'pods' },
    object: { metadata: { generateName: 'web-' }, spec: { containers: [{ name: 'c' }] } },
  },
});

const patched = async (port: number, strategy: string): Promise<string[]> => {
  const { status, text } = await post(port, `/admit/${strategy}`, review);
  expect(status).toBe(200);
  const { response } = JSON.parse(text) as { response: { uid: string; allowed: boolean; patch?: string } };
  expect(response).toMatchObject({ uid: 'u1', allowed: true });
  const patch = JSON.parse(Buffer.from(response.patch ?? 'W10=', 'base64').toString()) as { path: string }[];
  return patch.map((operation) => operation.path);
};

describe('the webhook', () => {
  it('both replicas serve with the one certificate that was made', async () => {
    expect((await client.list(SECRET, { namespace: SYSTEM })).items).toHaveLength(1);
    for (const port of PORTS)
      expect(await patched(port, 'remote')).toEqual(['/spec/tolerations', '/spec/schedulingGates']);
  });

  it('gates what may run at home only while a leader lives', async () => {
    const [port = 0] = PORTS;
    expect(await patched(port, 'local-and-remote')).toEqual([]);
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: 'a', leaseDurationSeconds: 1, renewTime };
    await client.create(LEASE, { metadata: { name: NAMES.leaderLease, namespace: SYSTEM }, spec } as never);
    await waitUntil('it gates', async () => (await patched(port, 'local-and-remote')).length === 2);
    await waitUntil(
      'the Lease has run out',
      async () => (await patched(port, 'local-and-remote')).length === 0,
    );
    expect(await patched(port, 'remote')).toHaveLength(2);
  });

  it.each([
    ['/admit/remote', 'nonsense', 400],
    ['/admit/remote', '{"kind":"AdmissionReview"}', 400],
    ['/admit/other', review, 404],
    ['/admit/remote', 'x'.repeat(5_000_000), 413],
  ])('%s with bad input answers, and lives on', async (path, body, expected) => {
    const [port = 0] = PORTS;
    const result = await post(port, path, body).then(
      ({ status }) => status,
      // A body that is cut off in mid-sending may end as a broken connection.
      () => 413,
    );
    expect(result).toBe(expected);
    expect(await patched(port, 'remote')).toHaveLength(2);
  });
});
