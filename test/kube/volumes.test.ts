import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { VOLUME_STATUS, VOLUMES } from '../../api/storage-collections.ts';
import { volumeNodeLabel } from '../../api/storage-names.ts';
import { storageClass } from '../../deploy/manifests/storage.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node, Pod } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { startStorage } from '../../storage-fabric/start.ts';
import { volumeIdOf } from '../../storage-fabric/volumes/volume-id.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { createFakeLinks, createFakePeer, type FakePeer } from './fake-links.ts';
import { controllerToken, installKinds, PEER } from './provider-setup.ts';

/**
 * Both sides of volumes on a real API server, scheduler and controller-manager, with the rights of the installation; peers
 * are in memory. Told in order: each test stands on the ones before it.
 */
const EAST = 'e'.repeat(26);
let server: TestApiServer;
let admin: KubeClient;
let client: KubeClient;
let east: FakePeer;
const notes: string[] = [];
const term = new AbortController();

const until = async (what: string, done: () => Promise<boolean> | boolean, ms = 20_000): Promise<void> => {
  const end = Date.now() + ms;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

const makeNode = async (name: string, peer?: string): Promise<void> => {
  const labels =
    peer === undefined
      ? { 'kubernetes.io/hostname': name }
      : { 'kubernetes.io/hostname': name, [LABELS.virtualNode]: 'true', [LABELS.peer]: peer };
  await admin.create(resources.NODE, {
    metadata: { name, labels },
    spec: peer === undefined ? {} : { taints: [{ key: VIRTUAL_NODE_TAINT, effect: 'NoSchedule' }] },
  } as never);
  const amounts = { cpu: '4', memory: '8Gi', pods: '20' };
  const conditions = [
    { type: 'Ready', status: 'True', reason: 'Test', lastTransitionTime: new Date().toISOString() },
  ];
  await admin.patch(
    resources.NODE,
    name,
    undefined,
    { status: { capacity: amounts, allocatable: amounts, conditions } },
    { type: 'merge', subresource: 'status' },
  );
  // the node lifecycle controller has to take its first taint away
  await until(`${name} is schedulable`, async () => {
    const node = await admin.get<Node>(resources.NODE, name);
    return !(node?.spec.taints ?? []).some(({ key }) => key.startsWith('node.kubernetes.io/'));
  });
};

const makeClaim = async (name: string, namespace = 'shop', storageClassName = 'fluvia') =>
  admin.create(resources.PERSISTENT_VOLUME_CLAIM, {
    metadata: { name, namespace },
    spec: { storageClassName, accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  } as never);

const makePod = async (name: string, claim: string, nodeSelector: Record<string, string> = {}) =>
  admin.create(resources.POD, {
    metadata: { name, namespace: 'shop' },
    spec: {
      nodeSelector,
      tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
      containers: [{ name: 'c', image: 'x', volumeMounts: [{ name: 'd', mountPath: '/d' }] }],
      volumes: [{ name: 'd', persistentVolumeClaim: { claimName: claim } }],
    },
  } as never);

const claimOf = (name: string, namespace = 'shop') =>
  admin.get<PersistentVolumeClaim>(resources.PERSISTENT_VOLUME_CLAIM, name, namespace);
const nodeOfPod = async (name: string) => (await admin.get<Pod>(resources.POD, name, 'shop'))?.spec.nodeName;
const idOf = async (name: string): Promise<string> => volumeIdOf((await claimOf(name))?.metadata.uid ?? '');

beforeAll(async () => {
  server = await startControlPlane();
  admin = createKubeClient(server.access);
  await installKinds(admin);
  await admin.create(resources.STORAGE_CLASS, storageClass);
  await admin.create(resources.NAMESPACE, { metadata: { name: 'shop' } });
  await admin.create(resources.NAMESPACE, {
    metadata: {
      name: 'shop-east',
      labels: {
        [LABELS.origin]: EAST,
        [LABELS.originNamespace]: 'store',
        [LABELS.managedBy]: 'fluvia',
      },
    },
  });
  await admin.create(resources.ROLE_BINDING, {
    metadata: { name: 'fluvia-peering', namespace: 'shop-east' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'fluvia-peering' },
    subjects: [{ kind: 'ServiceAccount', name: EAST, namespace: 'fluvia-peers' }],
  } as never);
  await admin.create(PEER, {
    metadata: { name: 'east' },
    spec: { clusterID: EAST, pins: ['0'.repeat(64)], roles: ['Provider', 'Consumer'] },
  } as never);
  for (const name of ['n1', 'east-a', 'east-b', 'west-a'])
    await makeNode(name, name === 'n1' ? undefined : name.slice(0, -2));

  const token = await controllerToken(admin);
  const { cert: _cert, key: _key, ...access } = server.access;
  client = createKubeClient({ ...access, token: () => Promise.resolve(token) });
  east = createFakePeer('east', EAST, term.signal);
  east.tell(VOLUME_STATUS).complete = true;
  east.tell(VOLUMES).complete = true;
  const log = createLogger({
    level: 'warn',
    write: (line) => process.env['FLUVIA_TEST_LOG'] && process.stderr.write(line),
  });
  const deps: ControllerDeps = {
    client,
    informers: createInformerFactory(client, term.signal),
    clock: systemClock,
    log,
    metrics: createMetrics(),
    events: { record: (_about, { reason }) => void notes.push(reason), flush: async () => {} },
    clusterName: 'home',
    systemNamespace: 'fluvia-system',
    podName: 'fluvia-controller-0',
    podIP: '127.0.0.1',
    leaderTransitions: 1,
  };
  await startStorage(deps, createFakeLinks([east]), 'h'.repeat(26), term.signal);
}, 180_000);

afterAll(async () => {
  term.abort();
  await client?.close();
  await admin?.close();
  await server?.stop();
});

describe('home', () => {
  it('binds a claim where its first pod lands, and tells that peer', async () => {
    await makeClaim('data');
    await makePod('first', 'data', { [LABELS.peer]: 'east' });
    await until('the pod is bound', async () => (await nodeOfPod('first'))?.startsWith('east-') === true);
    const claim = await claimOf('data');
    expect(claim?.status?.phase).toBe('Bound');
    const id = await idOf('data');
    expect(claim?.spec.volumeName).toBe(`fluvia-${id}`);
    await until('it is published', () => east.sent(VOLUMES).items.has(id));
    expect(east.sent(VOLUMES).items.get(id)).toMatchObject({
      namespace: 'shop',
      claimName: 'data',
      size: '1Gi',
      epoch: 1,
      state: 'active',
    });
    const { items } = await admin.list<Node>(resources.NODE);
    const labelled = items.filter((node) => node.metadata.labels?.[volumeNodeLabel(id)] === 'true');
    expect(labelled.map((node) => node.metadata.name).toSorted()).toEqual(['east-a', 'east-b']);
  });

  it('shows what the peer says on the claim', async () => {
    const id = await idOf('data');
    const uid = (await claimOf('data'))?.metadata.uid ?? '';
    east.tell(VOLUME_STATUS).set(id, { uid, phase: 'Bound', storageClass: 'local-path', capacity: '1Gi' });
    await until('the condition is true', async () =>
      ((await claimOf('data'))?.status?.conditions ?? []).some(
        ({ type, status, message }) =>
          type === 'fluvia.dev/Volume' && status === 'True' && message?.includes('east (class local-path'),
      ),
    );
  });

  it('lets later pods follow the volume', async () => {
    await makePod('second', 'data');
    await until('it is bound', async () => (await nodeOfPod('second')) !== undefined);
    expect(await nodeOfPod('second')).toMatch(/^east-/);
  });

  it('takes a choice for a node of home back, and says why', async () => {
    await makeClaim('stay');
    await makePod('stay', 'stay', { 'kubernetes.io/hostname': 'n1' });
    await until('it is said', async () =>
      ((await claimOf('stay'))?.status?.conditions ?? []).some(
        ({ reason }) => reason === 'HomeVolumesUnsupported',
      ),
    );
    expect(notes).toContain('HomeVolumesUnsupported');
    expect((await claimOf('stay'))?.status?.phase).toBe('Pending');
    await admin.delete(resources.POD, 'stay', 'shop', { gracePeriodSeconds: 0 });
  });

  it('deletes the volume at the peer with its claim, once nothing uses it', async () => {
    const id = await idOf('data');
    await admin.delete(resources.PERSISTENT_VOLUME_CLAIM, 'data', 'shop');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(east.sent(VOLUMES).items.has(id)).toBe(true);
    for (const name of ['first', 'second'])
      await admin.delete(resources.POD, name, 'shop', { gracePeriodSeconds: 0 });
    await until('it is withdrawn', () => !east.sent(VOLUMES).items.has(id));
    // the peer still has it
    expect(await admin.get<PersistentVolume>(resources.PERSISTENT_VOLUME, `fluvia-${id}`)).toBeDefined();
    east.tell(VOLUME_STATUS).delete(id);
    await until(
      'the placeholder is gone',
      async () => (await admin.get(resources.PERSISTENT_VOLUME, `fluvia-${id}`)) === undefined,
    );
    await until('the labels are gone', async () => {
      const { items } = await admin.list<Node>(resources.NODE);
      return items.every((node) => node.metadata.labels?.[volumeNodeLabel(id)] === undefined);
    });
  });
});

describe('the peer', () => {
  const item = {
    namespace: 'store',
    claimName: 'db',
    uid: 'u1',
    size: '1Gi',
    accessModes: ['ReadWriteOnce' as const],
    volumeMode: 'Filesystem' as const,
    epoch: 1,
    state: 'active' as const,
  };
  const id = volumeIdOf('u1');

  it('says that it has no class to make it with', async () => {
    east.tell(VOLUMES).set(id, item);
    await until('it failed', () => east.sent(VOLUME_STATUS).items.get(id)?.reason === 'NoStorageClass');
  });

  it('claims it in the twin with the default class, and reports it bound', async () => {
    await admin.create(resources.STORAGE_CLASS, {
      metadata: {
        name: 'plain',
        annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
      },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'Immediate',
    } as never);
    await until('it is claimed', async () => (await claimOf('db', 'shop-east')) !== undefined);
    const claim = await claimOf('db', 'shop-east');
    expect(claim?.spec.storageClassName).toBe('plain');
    expect(claim?.metadata.annotations?.['fluvia.dev/volume-state']).toBe('active');
    await admin.create(resources.PERSISTENT_VOLUME, {
      metadata: { name: 'disk' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'plain',
        hostPath: { path: '/nowhere' },
      },
    } as never);
    await until('it is bound', () => east.sent(VOLUME_STATUS).items.get(id)?.phase === 'Bound');
  });

  it('keeps epoch and state on the claim', async () => {
    east.tell(VOLUMES).set(id, { ...item, epoch: 2, state: 'retained' });
    await until('it is written', async () => {
      const { annotations = {} } = (await claimOf('db', 'shop-east'))?.metadata ?? {};
      return annotations['fluvia.dev/epoch'] === '2' && annotations['fluvia.dev/volume-state'] === 'retained';
    });
  });

  it('touches no claim of another', async () => {
    await makeClaim('own', 'shop-east', 'plain');
    const other = volumeIdOf('u2');
    east.tell(VOLUMES).set(other, { ...item, claimName: 'own', uid: 'u2' });
    await until('it is refused', () => east.sent(VOLUME_STATUS).items.get(other)?.reason === 'Conflict');
    east.tell(VOLUMES).delete(other);
    await until('it is forgotten', () => !east.sent(VOLUME_STATUS).items.has(other));
    expect(await claimOf('own', 'shop-east')).toBeDefined();
  });

  it('deletes the claim when home withdraws it', async () => {
    east.tell(VOLUMES).delete(id);
    await until('it is gone', async () => {
      const claim = await claimOf('db', 'shop-east');
      return claim === undefined;
    });
    await until('it is forgotten', () => !east.sent(VOLUME_STATUS).items.has(id));
  });
});
