import { NAMESPACE, NODE } from '../runtime/kube/resources.ts';
import { createFakeKube, fakeDeps, type FakeKube } from './kube.fake.ts';
import { startPeering, type Peering } from './start.ts';

/** A whole peering capability in this process, on loopback, around a fake API server. */
export interface FakeCluster {
  readonly name: string;
  readonly kube: FakeKube;
  /** The running leader. */
  readonly peering: Peering;
  readonly endpoint: string;
  /** Ends the leader and starts the next one on the same port; `term`: with this number, as where the Lease was made anew. */
  restart(term?: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a cluster with one node of 4 cores, 8 GiB. It tries for `tellEndForMs` to tell the other side of a peering's end. */
export const startFakeCluster = async (name: string, tellEndForMs = 1500): Promise<FakeCluster> => {
  const kube = createFakeKube(name);
  await kube.client.create(NAMESPACE, { metadata: { name: 'kube-system' } });
  await kube.client.create(NODE, {
    metadata: { name: `${name}-1`, labels: { 'kubernetes.io/arch': 'amd64', 'kubernetes.io/os': 'linux' } },
    spec: {},
    status: {
      allocatable: { cpu: '4', memory: '8Gi', pods: '110' },
      conditions: [{ type: 'Ready', status: 'True' }],
      nodeInfo: { kubeletVersion: 'v1.37.2' },
    },
  } as never);
  let term = 0;
  let stopper = new AbortController();
  const start = (port: number): Promise<Peering> => {
    stopper = new AbortController();
    term += 1;
    const deps = fakeDeps(kube, { name, signal: stopper.signal, leaderTransitions: term });
    return startPeering(deps, { listenPort: port, listenHost: '127.0.0.1', tellEndForMs }, stopper.signal);
  };
  let peering = await start(0);
  const { port } = peering;
  const stop = async (): Promise<void> => {
    stopper.abort(new Error('stopped by the test'));
    await peering.stopped;
  };
  return {
    name,
    kube,
    get peering() {
      return peering;
    },
    endpoint: `127.0.0.1:${port}`,
    restart: async (next) => {
      await stop();
      if (next !== undefined) term = next - 1;
      peering = await start(port);
    },
    stop,
  };
};
