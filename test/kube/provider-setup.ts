/** A real API server with Fluvia's kinds, rights and policies, and the provider's controllers on it as their own account. */
import { NAMESPACES, OBJECTS, SHADOWS } from '../../api/collections.ts';
import type { ContainerStreamHandler, ItemOf, Links } from '../../api/link.ts';
import { NAMES, SYSTEM_NAMESPACE } from '../../api/labels.ts';
import { installStages } from '../../deploy/manifests/manifest.ts';
import { startProvider } from '../../offloading/provider/start.ts';
import { systemBootClock } from '../../runtime/boot-clock.ts';
import { systemClock, type Clock } from '../../runtime/clock.ts';
import { createKubeClient, type KubeClient } from '../../runtime/kube/client.ts';
import { createEventRecorder } from '../../runtime/kube/events.ts';
import { createInformerFactory } from '../../runtime/kube/informer-factory.ts';
import { fluviaResource, pathOf, SERVICE_ACCOUNT, type ResourceRef } from '../../runtime/kube/resources.ts';
import type { KubeObject } from '../../runtime/kube/types.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { sleep } from '../testbed/processes.ts';
import type { TestApiServer } from './apiserver.ts';
import { createFakeConsumer, type FakeConsumer } from './fake-consumer.ts';

export const HOME = 'homehomehomehomehomehomeab';
export const THIRD = 'thirdthirdthirdthirdthirda';
export const OWN = 'ownownownownownownownownow';

export const PEER = fluviaResource('Peer', 'peers', false);
export const GRANT = fluviaResource('Grant', 'grants', false);
export const SHADOW_POD = fluviaResource('ShadowPod', 'shadowpods', true);
export const OFFER = fluviaResource('Offer', 'offers', false);
export const FABRIC_NODE = fluviaResource('FabricNode', 'fabricnodes', false);
export const VIEW = fluviaResource('View', 'views', false);

/** Installs everything that needs no node. */
export const installKinds = async (admin: KubeClient): Promise<void> => {
  const stages = installStages({
    image: 'fluvia',
    clusterName: 'east',
    podCIDRs: ['10.244.0.0/16'],
    serviceCIDRs: ['10.96.0.0/16'],
  });
  for (const object of stages.slice(0, 3).flatMap((stage) => stage.objects)) {
    const [group, version] = object.apiVersion.includes('/')
      ? (object.apiVersion.split('/') as [string, string])
      : ['', object.apiVersion];
    const plural = object.kind.endsWith('y')
      ? `${object.kind.slice(0, -1).toLowerCase()}ies`
      : `${object.kind.toLowerCase()}s`;
    const res: ResourceRef = {
      group,
      version,
      plural,
      kind: object.kind,
      namespaced: object.metadata.namespace !== undefined,
    };
    await admin.apply(res, object, { fieldManager: 'test', force: true });
  }
};

/** A token of the controller's account, as its pod would have it. */
export const controllerToken = async (admin: KubeClient): Promise<string> => {
  const path = pathOf(SERVICE_ACCOUNT, SYSTEM_NAMESPACE, NAMES.controller, 'token');
  const answer = await admin.request<{ status: { token: string } }>('POST', path, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  });
  return answer.status.token;
};

/** A run of the provider's controllers: one term of a leader. */
export interface ProviderRun {
  readonly peer: FakeConsumer;
  readonly handler: () => ContainerStreamHandler;
  /** Moves the controllers' monotonic and boot clocks forward. */
  readonly skip: (ms: number) => void;
  /** As when the Peer is gone: its link ends. */
  readonly endLink: () => void;
  readonly stop: () => Promise<void>;
}

let term = 0;

/** Starts the controllers with one consumer, `home`, of which nothing is heard yet. */
export const startRun = async (server: TestApiServer, token: string): Promise<ProviderRun> => {
  const { cert: _cert, key: _key, ...access } = server.access;
  const client = createKubeClient({ ...access, token: () => Promise.resolve(token) });
  const stop = new AbortController();
  const linkEnd = new AbortController();
  const log = createLogger({ level: process.env['FLUVIA_TEST_LOG'] === undefined ? 'error' : 'debug' });
  let skipped = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + skipped };
  const peer = createFakeConsumer('home', HOME, linkEnd.signal);
  let handler: ContainerStreamHandler | undefined;
  const links: Links = {
    get: (name) => (name === 'home' && !linkEnd.signal.aborted ? peer.link : undefined),
    list: () => (linkEnd.signal.aborted ? [] : [peer.link]),
    onLink: (listener) => {
      listener(peer.link);
      return () => {};
    },
    handleContainerStreams: (next) => {
      handler = next;
    },
  };
  const events = createEventRecorder({ client, controller: 'fluvia.dev/controller', instance: 'test', log });
  await startProvider(
    {
      client,
      informers: createInformerFactory(client, stop.signal),
      clock,
      log,
      metrics: createMetrics(),
      events,
      clusterName: 'east',
      systemNamespace: SYSTEM_NAMESPACE,
      podName: 'test',
      podIP: '127.0.0.1',
      leaderTransitions: (term += 1),
      bootClock: () => systemBootClock() + skipped,
      image: 'fluvia.local/fluvia:test',
    },
    links,
    OWN,
    stop.signal,
  );
  return {
    peer,
    handler: () => {
      if (handler === undefined) throw new Error('no handler');
      return handler;
    },
    skip: (ms) => {
      skipped += ms;
    },
    endLink: () => linkEnd.abort(new Error('unpeered')),
    stop: async () => {
      stop.abort(new Error('stop'));
      linkEnd.abort(new Error('stop'));
      await sleep(50);
      await client.close();
    },
  };
};

/** What home asks, which a new run is told again. */
export interface Wishes {
  readonly namespaces: Map<string, ItemOf<typeof NAMESPACES>>;
  readonly shadows: Map<string, ItemOf<typeof SHADOWS>>;
  readonly objects: Map<string, ItemOf<typeof OBJECTS>>;
}

/** Tells a run all wishes, and that they are all. */
export const tellAll = (run: ProviderRun, wishes: Wishes): void => {
  run.peer.told(OBJECTS).fill(wishes.objects);
  run.peer.told(NAMESPACES).fill(wishes.namespaces);
  run.peer.told(SHADOWS).fill(wishes.shadows);
};

/** Makes objects as the administrator; the namespace comes with them. */
export const make = async (
  admin: KubeClient,
  res: ResourceRef,
  ...objects: readonly unknown[]
): Promise<void> => {
  for (const object of objects) await admin.create(res, object as KubeObject);
};
