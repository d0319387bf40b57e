/**
 * The drill "a lost peer": a peer with pods of a Deployment (`replace`) and of a StatefulSet (`fence`) is cut off while its
 * pods keep running, or killed; others must start elsewhere before it returns, no ordinal may ever run twice, and soon after
 * the return exactly one of each must be left. Judged by the containerd of every node, not by what an API server says.
 */
import { createContainerWatch, recordContainers } from '../support/containers.ts';
import { eventually } from '../support/fluviactl.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { countRunning, findOverlaps } from './plan-overlap.ts';

export interface PartitionDrill {
  readonly testbed: Testbed;
  readonly home: string;
  /** The peer that is lost; it is peered with home, and home has room for all pods. */
  readonly peer: string;
  /** `partition`: its pods keep running. `kill`: a power cut of all of its nodes. */
  readonly how: 'partition' | 'kill';
  readonly deploymentPods: number;
  readonly statefulPods: number;
  /** Seconds. Hysteresis, grace, L and S are written into the FloatPolicy. */
  readonly times: {
    readonly hysteresis: number;
    readonly grace: number;
    readonly lease: number;
    readonly stop: number;
    /** Until the peer returns. */
    readonly lostFor: number;
    /** From the return until exactly one of each must be left. */
    readonly settle: number;
  };
  readonly report: (line: string) => void;
}

/** The bar of issue 5, full size. */
export const FULL_SIZE = {
  deploymentPods: 15,
  statefulPods: 5,
  times: { hysteresis: 5, grace: 30, lease: 20, stop: 15, lostFor: 120, settle: 30 },
} as const;

/** The same in a minute and a half, for `npm test`. */
export const REDUCED_SIZE = {
  deploymentPods: 3,
  statefulPods: 2,
  times: { hysteresis: 2, grace: 5, lease: 8, stop: 6, lostFor: 50, settle: 30 },
} as const;

const NAMESPACE = 'partition';
const WATCHED = { namespace: NAMESPACE, container: 'main' } as const;
const SAMPLE_MS = 500;
const isFenced = (pod: string): boolean => pod.startsWith('db-');
const isOurs = (): boolean => true;

const policy = ({ times }: PartitionDrill): object => ({
  apiVersion: 'fluvia.dev/v1alpha1',
  kind: 'FloatPolicy',
  metadata: { name: 'default' },
  spec: {
    hysteresisSeconds: times.hysteresis,
    graceSeconds: times.grace,
    leaseSeconds: times.lease,
    stopSeconds: times.stop,
  },
});

const workload = (kind: 'Deployment' | 'StatefulSet', name: string, replicas: number): object => ({
  apiVersion: 'apps/v1',
  kind,
  metadata: { name, namespace: NAMESPACE },
  spec: {
    replicas,
    ...(kind === 'StatefulSet' ? { serviceName: name, podManagementPolicy: 'Parallel' } : {}),
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        terminationGracePeriodSeconds: 3,
        containers: [
          {
            name: WATCHED.container,
            image: 'fluvia.local/web:1',
            resources: { requests: { cpu: '10m', memory: '8Mi' } },
          },
        ],
      },
    },
  },
});

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

const podsAtHome = async ({ testbed, home }: PartitionDrill): Promise<PodList['items']> =>
  (JSON.parse(await testbed.kubectl(home, ['get', 'pods', '-n', NAMESPACE, '-o', 'json'])) as PodList).items;

const isReady = ({ metadata, status }: PodList['items'][number]): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false);

const apply = (drill: PartitionDrill, object: object): Promise<string> =>
  drill.testbed.kubectl(drill.home, ['apply', '-f', '-'], { input: JSON.stringify(object) });

/** A virtual node is cordoned by its VirtualNode: Fluvia takes back what is written into the Node. */
const cordon = async ({ testbed, home }: PartitionDrill, node: string, cordoned: boolean): Promise<void> => {
  const name = node.replace('node/', '');
  if (name.startsWith('fluvia-')) {
    const patch = JSON.stringify({ spec: { cordoned } });
    await testbed.kubectl(home, ['patch', 'virtualnode', name, '--type', 'merge', '-p', patch]);
  } else {
    await testbed.kubectl(home, [cordoned ? 'cordon' : 'uncordon', name]);
  }
};

/** All pods run at the peer: while they are placed, every other node is cordoned. */
const begin = async (drill: PartitionDrill): Promise<void> => {
  const { testbed, home, peer, deploymentPods, statefulPods } = drill;
  await apply(drill, policy(drill));
  await apply(drill, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE, labels: { 'fluvia.dev/offload': 'true' } },
  });
  await eventually(
    'the namespace is open',
    async () => {
      const args = ['wait', '-n', NAMESPACE, '--for=condition=Ready', 'namespaceoffloading/offloading'];
      await testbed.kubectl(home, [...args, '--timeout=5s']);
      return true;
    },
    90_000,
  );
  const nodes = (await testbed.kubectl(home, ['get', 'nodes', '-o', 'name'])).trim().split('\n');
  const others = nodes.filter((node) => node !== `node/fluvia-${peer}`);
  for (const node of others) await cordon(drill, node, true);
  try {
    await apply(drill, workload('Deployment', 'web', deploymentPods));
    await apply(drill, workload('StatefulSet', 'db', statefulPods));
    await eventually(
      `all pods are ready at ${peer}`,
      async () => {
        const pods = await podsAtHome(drill);
        const ready = pods.filter((pod) => isReady(pod) && pod.spec.nodeName === `fluvia-${peer}`);
        return ready.length === deploymentPods + statefulPods ? true : undefined;
      },
      180_000,
    );
  } finally {
    for (const node of others) await cordon(drill, node, false);
  }
};

const lose = async ({ testbed, peer, how }: PartitionDrill): Promise<void> => {
  if (how === 'kill') return testbed.kill(peer);
  for (const { name } of testbed.clusters) if (name !== peer) await testbed.partition(name, peer);
};

const bringBack = async ({ testbed, home, peer, how }: PartitionDrill): Promise<void> => {
  if (how === 'partition') {
    for (const { name } of testbed.clusters) if (name !== peer) await testbed.heal(name, peer);
    return;
  }
  await testbed.start(peer);
  await testbed.kubectl(home, ['wait', `peer/${peer}`, '--for=condition=Ready', '--timeout=180s']);
};

const sleepUntil = (atMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - Date.now())));

/** Runs the drill and leaves the clusters as they were. Throws at the first thing that isn't as it must be. */
export const runPartitionDrill = async (drill: PartitionDrill): Promise<void> => {
  const { testbed, home, peer, how, times, report } = drill;
  const total = drill.deploymentPods + drill.statefulPods;
  const nodes = testbed.clusters.flatMap(({ name, nodes: own }) => own.map((node) => `${name}/${node.name}`));
  const watch = await createContainerWatch(testbed, nodes);
  await begin(drill);
  const before = new Set((await podsAtHome(drill)).map((pod) => pod.metadata.uid));
  const recorder = recordContainers(watch, SAMPLE_MS);
  try {
    const lostAt = Date.now();
    await lose(drill);
    report(`${how}: ${peer} is lost with ${total} pods, ${drill.statefulPods} of them of a StatefulSet`);
    await eventually(
      'all pods have been replaced elsewhere',
      async () => {
        const fresh = (await podsAtHome(drill)).filter(
          (pod) => isReady(pod) && !before.has(pod.metadata.uid) && pod.spec.nodeName !== `fluvia-${peer}`,
        );
        return fresh.length === total ? true : undefined;
      },
      times.lostFor * 1000,
    );
    report(`${how}: all replaced after ${((Date.now() - lostAt) / 1000).toFixed(1)} s`);
    await sleepUntil(lostAt + times.lostFor * 1000);
    await bringBack(drill);
    const backAt = Date.now();
    await eventually(
      'exactly one of each is left',
      async () => {
        const newest = recorder.samples.at(-1);
        const isFresh = newest !== undefined && newest.atMs > backAt && newest.nodes.size === nodes.length;
        return isFresh && countRunning(newest, WATCHED, isOurs) === total ? true : undefined;
      },
      times.settle * 1000,
    );
    report(`${how}: exactly one of each ${((Date.now() - backAt) / 1000).toFixed(1)} s after its return`);
    // Something that comes late would show itself now.
    await sleepUntil(backAt + times.settle * 1000);
    const left = countRunning(recorder.samples.at(-1), WATCHED, isOurs);
    if (left !== total) throw new Error(`${left} application containers run at the end, not ${total}`);
  } finally {
    await recorder.stop();
    if (how === 'partition') await bringBack(drill).catch(() => undefined);
  }
  const overlaps = findOverlaps(recorder.samples, WATCHED, isFenced);
  if (overlaps.length > 0) {
    throw new Error(`${overlaps.length} samples show an ordinal twice, the first: ${overlaps[0] ?? ''}`);
  }
  const gaps = recorder.samples.slice(1).map((one, i) => one.atMs - (recorder.samples[i]?.atMs ?? one.atMs));
  report(
    `${how}: ${recorder.samples.length} samples of ${nodes.length} nodes, the longest gap ${Math.max(0, ...gaps)} ms: no ordinal ran twice`,
  );
  await testbed.kubectl(home, ['delete', 'namespace', NAMESPACE, '--timeout=120s']);
};
