/** A home with two peers in memory on a real control plane, with the rights of the installation, for tests of storage. */
import { TWINS } from '../../api/collections.ts';
import { LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import { storageClass } from '../../deploy/manifests/storage.ts';
import { systemClock, type Clock } from '../../runtime/clock.ts';
import type { ControllerDeps } from '../../runtime/deps.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import * as resources from '../../runtime/kube/resources.ts';
import type { PersistentVolumeClaim } from '../../runtime/kube/storage-types.ts';
import type { Node, Pod } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import type { TestApiServer } from './apiserver.ts';
import { startControlPlane } from './control-plane.ts';
import { createFakePeer, type FakePeer } from './fake-links.ts';
import { keepStores, type FakeStores } from './fake-stores.ts';
import { controllerToken, installKinds, PEER } from './provider-setup.ts';

export const IDS = { east: 'e'.repeat(26), west: 'w'.repeat(26) } as const;

/** Fails with what was waited for. */
export const until = async (
  what: string,
  done: () => Promise<boolean> | boolean,
  withinMs = 20_000,
): Promise<void> => {
  const end = Date.now() + withinMs;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

/** Nothing collects garbage by it: no such kind is served. */
const OWNER = {
  apiVersion: 'test.fluvia.dev/v1',
  kind: 'Owner',
  name: 'db',
  uid: '00000000-0000-0000-0000-000000000001',
  controller: true,
} as const;

export interface StorageStage {
  readonly server: TestApiServer;
  readonly admin: KubeClient;
  readonly client: KubeClient;
  readonly deps: ControllerDeps;
  readonly east: FakePeer;
  readonly west: FakePeer;
  /** What the stores of both hold. */
  readonly stores: FakeStores;
  readonly signal: AbortSignal;
  /** Reasons of the events that were recorded. */
  readonly events: string[];
  /** The same events as `object Reason: note`. */
  readonly notes: string[];
  makeClaim(name: string, namespace?: string, storageClassName?: string): Promise<unknown>;
  /** `isOwned`: as if a StatefulSet had made it. */
  makePod(
    name: string,
    claim: string,
    nodeSelector?: Record<string, string>,
    isOwned?: boolean,
  ): Promise<unknown>;
  claimOf(name: string, namespace?: string): Promise<PersistentVolumeClaim | undefined>;
  nodeOfPod(name: string): Promise<string | undefined>;
  removePod(name: string): Promise<unknown>;
  tearDown(): Promise<void>;
}

const makeNode = async (admin: KubeClient, name: string, peer?: string): Promise<void> => {
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

/** Namespace `shop` at home, and `shop-east`, the twin of east's `store`; node `n1`, virtual nodes `east-a`, `east-b`, `west-a`. */
export const setUpStorage = async (clock: Clock = systemClock): Promise<StorageStage> => {
  const term = new AbortController();
  const server = await startControlPlane();
  const admin = createKubeClient(server.access);
  await installKinds(admin);
  await admin.create(resources.STORAGE_CLASS, storageClass);
  await admin.create(resources.NAMESPACE, { metadata: { name: 'shop' } });
  const labels = {
    [LABELS.origin]: IDS.east,
    [LABELS.originNamespace]: 'store',
    [LABELS.managedBy]: 'fluvia',
    'pod-security.kubernetes.io/enforce': 'baseline',
  };
  await admin.create(resources.NAMESPACE, { metadata: { name: 'shop-east', labels } });
  await admin.create(resources.ROLE_BINDING, {
    metadata: { name: 'fluvia-peering', namespace: 'shop-east' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'fluvia-peering' },
    subjects: [{ kind: 'ServiceAccount', name: IDS.east, namespace: 'fluvia-peers' }],
  } as never);
  for (const [name, clusterID] of Object.entries(IDS))
    await admin.create(PEER, {
      metadata: { name },
      spec: { clusterID, pins: ['0'.repeat(64)], roles: ['Provider', 'Consumer'] },
    } as never);
  for (const name of ['n1', 'east-a', 'east-b', 'west-a'])
    await makeNode(admin, name, name === 'n1' ? undefined : name.slice(0, -2));
  const token = await controllerToken(admin);
  const { cert: _cert, key: _key, ...access } = server.access;
  const client = createKubeClient({ ...access, token: () => Promise.resolve(token) });
  const events: string[] = [];
  const notes: string[] = [];
  const deps: ControllerDeps = {
    client,
    informers: createInformerFactory(client, term.signal),
    clock,
    log: createLogger({
      level: process.env['FLUVIA_TEST_LOG'] === 'debug' ? 'debug' : 'warn',
      write: (line) => process.env['FLUVIA_TEST_LOG'] && process.stderr.write(line),
    }),
    metrics: createMetrics(),
    events: {
      record: ({ metadata }, { reason, note }) => {
        events.push(reason);
        notes.push(`${metadata.name} ${reason}: ${note}`);
      },
      flush: async () => {},
    },
    clusterName: 'home',
    systemNamespace: 'fluvia-system',
    podName: 'fluvia-controller-0',
    podIP: '127.0.0.1',
    leaderTransitions: 1,
    image: 'fluvia:test',
  };
  const [east, west] = [
    createFakePeer('east', IDS.east, term.signal),
    createFakePeer('west', IDS.west, term.signal),
  ];
  for (const peer of [east, west])
    peer.tell(TWINS).set('shop', { twin: 'shop', ready: true, reason: 'Ready', message: '' });
  return {
    server,
    admin,
    client,
    deps,
    east,
    west,
    stores: keepStores([east, west]),
    signal: term.signal,
    events,
    notes,
    makeClaim: (name, namespace = 'shop', storageClassName = 'fluvia') =>
      admin.create(resources.PERSISTENT_VOLUME_CLAIM, {
        metadata: { name, namespace },
        spec: {
          storageClassName,
          accessModes: ['ReadWriteOnce'],
          resources: { requests: { storage: '1Gi' } },
        },
      } as never),
    makePod: (name, claim, nodeSelector = {}, isOwned = false) =>
      admin.create(resources.POD, {
        metadata: { name, namespace: 'shop', ...(isOwned ? { ownerReferences: [OWNER] } : {}) },
        spec: {
          nodeSelector,
          tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
          containers: [{ name: 'c', image: 'x', volumeMounts: [{ name: 'd', mountPath: '/d' }] }],
          volumes: [{ name: 'd', persistentVolumeClaim: { claimName: claim } }],
        },
      } as never),
    claimOf: (name, namespace = 'shop') =>
      admin.get<PersistentVolumeClaim>(resources.PERSISTENT_VOLUME_CLAIM, name, namespace),
    nodeOfPod: async (name) => (await admin.get<Pod>(resources.POD, name, 'shop'))?.spec.nodeName,
    removePod: (name) => admin.delete(resources.POD, name, 'shop', { gracePeriodSeconds: 0 }),
    tearDown: async () => {
      term.abort();
      await client.close();
      await admin.close();
      await server.stop();
    },
  };
};
