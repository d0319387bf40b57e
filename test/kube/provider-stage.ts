/** One consumer and what it asks of a provider on a real API server; one stage for each test file. */
import { NAMESPACES, OBJECTS, SHADOWS, SHADOW_STATUS } from '../../api/collections.ts';
import type { ItemOf } from '../../api/link.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { POD } from '../../runtime/kube/resources.ts';
import type { Pod } from '../../runtime/kube/types.ts';
import { waitUntil } from '../testbed/processes.ts';
import { startApiServer, type TestApiServer } from './apiserver.ts';
import {
  controllerToken,
  GRANT,
  HOME,
  installKinds,
  make,
  PEER,
  startRun,
  tellAll,
  THIRD,
  VIEW,
  type ProviderRun,
  type Wishes,
} from './provider-setup.ts';

type Shadow = ItemOf<typeof SHADOWS>;

const peerObject = (name: string, clusterID: string, roles: readonly string[]) => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'Peer',
  metadata: { name },
  spec: { clusterID, pins: ['a'.repeat(64)], roles, endpoints: [], paused: false, cordoned: false },
});

/** An object of one of Fluvia's kinds. */
export const fluvia = (kind: string, name: string, spec: unknown) => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind,
  metadata: { name },
  spec,
});

/** What home asks to run. */
export const shadow = (
  uid: string,
  spec: Record<string, unknown> = {},
  more: Partial<Shadow> = {},
): Shadow => ({
  uid,
  node: 'east',
  claim: 'default',
  labels: { app: 'web' },
  annotations: {},
  spec: { containers: [{ name: 'web', image: 'web:1', resources: { requests: { cpu: '100m' } } }], ...spec },
  ...more,
});

/** Waits up to 20 s. */
export const until = async (what: string, done: () => Promise<boolean> | boolean): Promise<void> => {
  if (!(await waitUntil(done, 20_000))) throw new Error(`not within 20 s: ${what}`);
};

const prepare = async (admin: KubeClient): Promise<void> => {
  await installKinds(admin);
  await make(admin, PEER, peerObject('home', HOME, ['Consumer']), peerObject('third', THIRD, ['Provider']));
  await make(
    admin,
    GRANT,
    fluvia('Grant', 'home-default', {
      peer: 'home',
      claim: 'default',
      resources: { cpu: '1', memory: '1Gi', pods: '20' },
    }),
  );
  const view = (peer: string, clusterID: string, range: string) =>
    fluvia('View', peer, {
      peer,
      clusterID,
      theirs: [{ purpose: 'Pod', real: '10.244.0.0/16', view: range }],
      ours: [],
    });
  await make(admin, VIEW, view('home', HOME, '10.128.0.0/16'), view('third', THIRD, '10.129.0.0/16'));
};

export interface Stage {
  readonly server: TestApiServer;
  readonly admin: KubeClient;
  readonly run: () => ProviderRun;
  readonly wishes: Wishes;
  readonly ask: (id: string, item: Shadow) => void;
  readonly withdraw: (id: string) => void;
  readonly open: (namespace: string, item: ItemOf<typeof NAMESPACES>) => void;
  readonly bring: (item: ItemOf<typeof OBJECTS>) => void;
  readonly statusOf: (id: string) => ItemOf<typeof SHADOW_STATUS> | undefined;
  readonly pod: (name: string) => Promise<Pod | undefined>;
  readonly setPodStatus: (name: string, status: unknown) => Promise<unknown>;
  /** Stops the controllers and starts new ones, who have heard nothing yet. */
  readonly restart: () => Promise<void>;
  readonly tearDown: () => Promise<void>;
}

/** Starts everything; home has asked for nothing yet and says so. */
export const setUp = async (): Promise<Stage> => {
  const server = await startApiServer();
  const admin = createKubeClient(server.access);
  await prepare(admin);
  const token = await controllerToken(admin);
  const wishes: Wishes = { namespaces: new Map(), shadows: new Map(), objects: new Map() };
  let run = await startRun(server, token);
  tellAll(run, wishes);
  return {
    server,
    admin,
    run: () => run,
    wishes,
    ask: (id, item) => {
      wishes.shadows.set(id, item);
      run.peer.told(SHADOWS).set(id, item);
    },
    withdraw: (id) => {
      wishes.shadows.delete(id);
      run.peer.told(SHADOWS).delete(id);
    },
    open: (namespace, item) => {
      wishes.namespaces.set(namespace, item);
      run.peer.told(NAMESPACES).set(namespace, item);
    },
    bring: (item) => {
      const id = `${item.kind}/${item.namespace}/${item.name}`;
      wishes.objects.set(id, item);
      run.peer.told(OBJECTS).set(id, item);
    },
    statusOf: (id) => run.peer.heard(SHADOW_STATUS).items.get(id),
    pod: (name) => admin.get<Pod>(POD, name, 'shop'),
    setPodStatus: (name, status) =>
      admin.patch(POD, name, 'shop', { status }, { type: 'merge', subresource: 'status' }),
    restart: async () => {
      await run.stop();
      run = await startRun(server, token);
    },
    tearDown: async () => {
      await run.stop();
      await admin.close();
      await server.stop();
    },
  };
};
