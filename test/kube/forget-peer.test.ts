import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fluviaRef } from '../../deploy/manifests/refs.ts';
import { EXAMPLES } from '../../deploy/spec/examples.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import {
  LEASE,
  NAMESPACE,
  NODE,
  PERSISTENT_VOLUME,
  PERSISTENT_VOLUME_CLAIM,
  POD,
  SERVICE_ACCOUNT,
} from '../../runtime/kube/resources.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { waitUntil } from './home-objects.ts';
import { installIn, runIn } from './run-cli.ts';

/**
 * `fluviactl unpeer --forget` in the worst case: the peer is dead and no controller of this cluster runs either, so every
 * finalizer that Fluvia sets hangs.
 */

const EAST = 'e'.repeat(26);
let server: TestApiServer;
let client: KubeClient;

const make = async (
  kind: string,
  name: string,
  spec: object,
  finalizers: readonly string[] = [],
  namespace?: string,
): Promise<void> => {
  const metadata = { name, finalizers, ...(namespace === undefined ? {} : { namespace }) };
  await client.create(fluviaRef(kind), { metadata, spec } as never);
};
const setStatus = (kind: string, name: string, status: object, namespace?: string): Promise<unknown> =>
  client.patch(fluviaRef(kind), name, namespace, { status }, { type: 'merge', subresource: 'status' });

beforeAll(async () => {
  server = await startControlPlane();
  client = createKubeClient(server.access);
  await installIn(server.kubeconfig);
  for (const name of ['east', 'west']) {
    const clusterID = name === 'east' ? EAST : 'w'.repeat(26);
    await make('Peer', name, { clusterID, pins: ['0'.repeat(64)], roles: ['Provider', 'Consumer'] }, [
      'fluvia.dev/cleanup',
      'fluvia.dev/offloading',
      'fluvia.dev/twins',
    ]);
    const link = { state: name === 'east' ? 'Down' : 'Up', since: new Date().toISOString() };
    await setStatus('Peer', name, { link });
    await make('Claim', name, { peer: name });
    await make('Grant', `${name}-grant`, { ...EXAMPLES['Grant']?.spec, peer: name }, ['fluvia.dev/cleanup']);
    await make('View', name, { peer: name, clusterID, theirs: [], ours: [] });
    await make('Offer', `${name}-open-0`, { ...EXAMPLES['Offer']?.spec, peer: name });
    await make('VirtualNode', `fluvia-${name}`, { peer: name, claim: name }, ['fluvia.dev/cleanup']);
    await client.create(NODE, {
      metadata: {
        name: `fluvia-${name}`,
        labels: { 'fluvia.dev/virtual-node': 'true', 'fluvia.dev/peer': name },
        finalizers: ['fluvia.dev/cleanup'],
      },
      spec: { taints: [{ key: 'fluvia.dev/virtual-node', effect: 'NoSchedule' }] },
    } as never);
    await client.create(LEASE, {
      metadata: { name: `fluvia-${name}`, namespace: 'kube-node-lease' },
      spec: {},
    } as never);
    await client.create(POD, {
      metadata: {
        name: `web-${name}`,
        namespace: 'default',
        finalizers: ['fluvia.dev/floated', 'x.example/own'],
      },
      spec: {
        nodeName: `fluvia-${name}`,
        containers: [{ name: 'c', image: 'x' }],
        tolerations: [{ operator: 'Exists' }],
      },
    } as never);
    await client.create(SERVICE_ACCOUNT, { metadata: { name: clusterID, namespace: 'fluvia-peers' } });
    await client.create(NAMESPACE, {
      metadata: {
        name: `shop-${name}`,
        labels: { 'fluvia.dev/origin': clusterID, 'pod-security.kubernetes.io/enforce': 'baseline' },
      },
    });
    await make('ShadowPod', 'web', EXAMPLES['ShadowPod']?.spec ?? {}, ['fluvia.dev/cleanup'], `shop-${name}`);
  }
  await make(
    'NamespaceOffloading',
    'offloading',
    { strategy: 'LocalAndRemote', mapping: 'auto' },
    ['fluvia.dev/cleanup'],
    'default',
  );
  const peers = ['east', 'west'].map((peer) => ({
    peer,
    twin: `default-${peer}`,
    ready: true,
    reason: 'R',
    message: '',
  }));
  await setStatus('NamespaceOffloading', 'offloading', { peers }, 'default');
}, 180_000);
afterAll(async () => {
  await client?.close();
  await server?.stop();
});

const about = async (name: string): Promise<string[]> => {
  const names = async (kind: string): Promise<string[]> =>
    (await client.list(fluviaRef(kind))).items
      .filter((object) => object.metadata.name.includes(name))
      .map((object) => `${kind}/${object.metadata.name}`);
  const fluvia = await Promise.all(
    ['Peer', 'Claim', 'Grant', 'View', 'Offer', 'VirtualNode'].map((kind) => names(kind)),
  );
  const others = await Promise.all([
    client.get(NODE, `fluvia-${name}`),
    client.get(LEASE, `fluvia-${name}`, 'kube-node-lease'),
    client.get(SERVICE_ACCOUNT, name === 'east' ? EAST : 'w'.repeat(26), 'fluvia-peers'),
    client.get(NAMESPACE, `shop-${name}`),
  ]);
  return [...fluvia.flat(), ...others.flatMap((o) => (o === undefined ? [] : [o.metadata.name]))];
};

describe('unpeer of a dead peer', () => {
  it('without --forget ends in time and says what to do', async () => {
    const { code, err } = await runIn(server.kubeconfig, ['unpeer', 'east', '--timeout', '1s']);
    expect(code).toBe(1);
    expect(err).toContain('Peer of peering east is not gone after 1 s');
    expect(err).toContain('fluviactl unpeer east --forget');
  });

  it('while a volume is there is refused, and says which', async () => {
    await client.create(PERSISTENT_VOLUME_CLAIM, {
      metadata: { name: 'db', namespace: 'default' },
      spec: {
        storageClassName: 'fluvia',
        volumeName: 'fluvia-v1',
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
      },
    } as never);
    await client.create(PERSISTENT_VOLUME, {
      metadata: {
        name: 'fluvia-v1',
        labels: { 'fluvia.dev/volume': 'v1' },
        annotations: { 'fluvia.dev/location': 'east', 'fluvia.dev/epoch': '1' },
      },
      spec: {
        storageClassName: 'fluvia',
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        hostPath: { path: '/nowhere' },
        claimRef: { namespace: 'default', name: 'db' },
      },
    } as never);
    const { code, err } = await runIn(server.kubeconfig, ['unpeer', 'east', '--timeout', '1s']);
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/volumes are at east .*: default\/db\nNext: {2}move each: fluviactl move volume/),
    ]);
  });

  it('while what it wrote last is there only, is refused, and says so', async () => {
    const place = (location: string, diverged: string | null): Promise<unknown> =>
      client.patch(
        PERSISTENT_VOLUME,
        'fluvia-v1',
        undefined,
        { metadata: { annotations: { 'fluvia.dev/location': location, 'fluvia.dev/diverged': diverged } } },
        { type: 'merge' },
      );
    await place('west', 'east');
    const { code, err } = await runIn(server.kubeconfig, ['unpeer', 'east', '--timeout', '1s']);
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/written last at east .* is there only.*: default\/db\nNext: {2}to keep it move/),
    ]);
    await place('east', null);
  });

  it('with --forget leaves nothing here, and says what may be left there', async () => {
    const argv = ['unpeer', 'east', '--forget', '--timeout', '2s'];
    const { code, err, out } = await runIn(server.kubeconfig, argv);
    expect(err).not.toContain('Error');
    expect([code, out]).toEqual([0, 'east is no peer any more.\n']);
    expect(err).toContain('namespaces default-east; 1 pod of this cluster, perhaps running; Peer home');
    expect(err).toContain('run there: fluviactl unpeer home');
    expect(err).toContain('volumes were at east: default/db.');
    expect(err).toContain('1 pod with onLoss: fence is held until no copy can run over there any more');
    await waitUntil('nothing is left', async () => (await about('east')).length === 0, 30_000);
  });

  it('deletes its pods, and leaves those that are fenced to the controller', async () => {
    const pod = await client.get(POD, 'web-east', 'default');
    expect(pod?.metadata.deletionTimestamp).toBeDefined();
    expect(pod?.metadata.finalizers).toEqual(['fluvia.dev/floated', 'x.example/own']);
  });

  it('touches nothing of another peer', async () => {
    expect(await about('west')).toHaveLength(10);
    const pod = await client.get(POD, 'web-west', 'default');
    expect(pod?.metadata.deletionTimestamp).toBeUndefined();
    expect(pod?.metadata.finalizers).toContain('fluvia.dev/floated');
  });

  it('may be run again: the peer is unknown now', async () => {
    const { code, err } = await runIn(server.kubeconfig, ['unpeer', 'east', '--force']);
    expect(code).toBe(1);
    expect(err).toContain('peers are: west');
  });
});
