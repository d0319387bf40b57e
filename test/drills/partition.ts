/**
 * The drill "a lost peer": a peer with pods of a Deployment (`replace`) and of a StatefulSet (`fence`) is cut off while its
 * pods keep running, or killed; others must start elsewhere before it returns, no ordinal may ever run twice, and soon after
 * the return exactly one of each must be left. Judged by the containerd of every node, not by what an API server says.
 */
import {
  createContainerLook,
  recordContainers,
  runningTasks,
  type ContainerSample,
} from '../support/containers.ts';
import { cordonPeer } from '../support/fabric.ts';
import { eventually } from '../support/fluviactl.ts';
import { applyObjects, namespaceOpened } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { figureTable, type FigureRow } from './figure-table.ts';
import { countRunning, findOverlaps, gapsOf, livesOf, shortestHandover, type Gaps } from './plan-overlap.ts';

export interface PartitionDrill {
  readonly testbed: Testbed;
  readonly home: string;
  /** The peer that is lost; it is peered with home, and the other clusters have room for all pods. */
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
    /** From the loss until all pods must have been replaced. */
    readonly replaced: number;
    /** Until the peer returns, if all pods have been replaced by then. */
    readonly lostFor: number;
    /** From the return until exactly one of each must be left. */
    readonly settle: number;
    /** From then on it must stay so. */
    readonly calm: number;
  };
  readonly report: (line: string) => void;
}

/** What a run showed. Seconds since the loss or, where it says so, since the return. */
export interface PartitionFigures {
  readonly how: PartitionDrill['how'];
  readonly pods: string;
  /** The last application container of a `fence` pod at the lost peer; undefined when the peer was killed. */
  readonly fenceStopped: number | undefined;
  /** From an ordinal's last sample at the lost peer to its first elsewhere, the shortest. */
  readonly fenceHandover: number;
  readonly fenceReplaced: number;
  readonly replaceReplaced: number;
  readonly returned: number;
  /** Since the return. */
  readonly oneOfEach: number;
  readonly overlaps: number;
  readonly gaps: Gaps;
}

/** The bar of issue 5, full size. */
export const FULL_SIZE = {
  deploymentPods: 15,
  statefulPods: 5,
  times: {
    hysteresis: 5,
    grace: 30,
    lease: 20,
    stop: 15,
    replaced: 120,
    lostFor: 120,
    settle: 30,
    calm: 30,
  },
} as const;

/** The same in less than a minute, for `npm test`. */
export const REDUCED_SIZE = {
  deploymentPods: 3,
  statefulPods: 2,
  times: { hysteresis: 2, grace: 4, lease: 6, stop: 6, replaced: 60, lostFor: 15, settle: 30, calm: 5 },
} as const;

const NAMESPACE = 'partition';
const WATCHED = { namespace: NAMESPACE, container: 'main' } as const;
/** Half of the bar's: a sample that comes late is still in time. */
const SAMPLE_MS = 250;
const GAP_BOUND_MS = 500;
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
        terminationGracePeriodSeconds: 2,
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

const apply = ({ testbed, home }: PartitionDrill, object: object): Promise<string> =>
  applyObjects(testbed, home, [object]);

const cordon = async ({ testbed, home }: PartitionDrill, node: string, cordoned: boolean): Promise<void> => {
  const name = node.replace('node/', '');
  if (name.startsWith('fluvia-')) {
    await cordonPeer(testbed, home, name.slice('fluvia-'.length), cordoned);
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
  await namespaceOpened(testbed, home, NAMESPACE);
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

/** The cheap look must see what containerd itself says; at a quiet moment. */
const checkLook = async (
  { testbed }: PartitionDrill,
  nodes: readonly string[],
  look: () => ContainerSample,
): Promise<void> => {
  await eventually(
    'the samples show what containerd says',
    async () => {
      const tasks = await Promise.all(nodes.map((node) => runningTasks(testbed, node)));
      const seen = look();
      const unknown = nodes.flatMap((node, i) =>
        (seen.nodes.get(node) ?? []).filter(({ id }) => tasks[i]?.has(id) !== true),
      );
      const total = countRunning(seen, WATCHED, isOurs);
      if (unknown.length > 0) throw new Error(`${unknown.length} are unknown to ctr`);
      return total > 0 ? true : undefined;
    },
    30_000,
  );
};

const seconds = (ms: number): number => Math.round(ms / 100) / 10;

/** Runs the drill and leaves the clusters as they were, also when it throws at something that isn't as it must be. */
export const runPartitionDrill = async (drill: PartitionDrill): Promise<PartitionFigures> => {
  const { testbed, home } = drill;
  try {
    return await lossAndReturn(drill);
  } finally {
    await testbed.kubectl(home, ['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=120s']);
    await testbed.kubectl(home, ['delete', 'floatpolicy', 'default', '--ignore-not-found']);
  }
};

const lossAndReturn = async (drill: PartitionDrill): Promise<PartitionFigures> => {
  const { testbed, peer, how, times, report, deploymentPods, statefulPods } = drill;
  const total = deploymentPods + statefulPods;
  const nodes = testbed.clusters.flatMap(({ name, nodes: own }) => own.map((node) => `${name}/${node.name}`));
  await begin(drill);
  await checkLook(drill, nodes, createContainerLook(testbed, nodes));
  const before = new Set((await podsAtHome(drill)).map((pod) => pod.metadata.uid));
  const recorder = recordContainers(testbed, nodes, SAMPLE_MS);
  const marks = { lostAt: 0, backAt: 0, settledAt: 0 };
  try {
    const isSeen = async (): Promise<true | undefined> => (recorder.samples.length > 1 ? true : undefined);
    await eventually('the pods are seen before their peer is lost', isSeen, 30_000, 100);
    marks.lostAt = Date.now();
    await lose(drill);
    report(`${how}: ${peer} is lost with ${total} pods, ${statefulPods} of them of a StatefulSet`);
    await eventually(
      'all pods have been replaced elsewhere',
      async () => {
        const fresh = (await podsAtHome(drill)).filter(
          (pod) => isReady(pod) && !before.has(pod.metadata.uid) && pod.spec.nodeName !== `fluvia-${peer}`,
        );
        return fresh.length === total ? true : undefined;
      },
      times.replaced * 1000,
    );
    report(`${how}: all are Ready elsewhere ${seconds(Date.now() - marks.lostAt)} s after the loss`);
    await sleepUntil(marks.lostAt + times.lostFor * 1000);
    await bringBack(drill);
    marks.backAt = Date.now();
    await eventually(
      'exactly one of each is left',
      async () => {
        const newest = recorder.samples.at(-1);
        const isFresh =
          newest !== undefined && newest.atMs > marks.backAt && newest.nodes.size === nodes.length;
        return isFresh && countRunning(newest, WATCHED, isOurs) === total ? true : undefined;
      },
      times.settle * 1000,
    );
    marks.settledAt = Date.now();
    report(`${how}: exactly one of each ${seconds(marks.settledAt - marks.backAt)} s after its return`);
    // Something that comes late would show itself now.
    await sleepUntil(marks.settledAt + times.calm * 1000);
    const left = countRunning(recorder.samples.at(-1), WATCHED, isOurs);
    if (left !== total) throw new Error(`${left} application containers run at the end, not ${total}`);
  } finally {
    await recorder.stop();
    if (how === 'partition') await bringBack(drill).catch(() => undefined);
  }
  return judge(drill, recorder.samples, marks);
};

/** What the samples say; throws when an ordinal ran twice, or when they are too far apart to say that it didn't. */
const judge = (
  { how, peer, deploymentPods, statefulPods }: PartitionDrill,
  samples: readonly ContainerSample[],
  marks: { readonly lostAt: number; readonly backAt: number; readonly settledAt: number },
): PartitionFigures => {
  const overlaps = findOverlaps(samples, WATCHED, isFenced);
  if (overlaps.length > 0) {
    throw new Error(`${overlaps.length} samples show an ordinal twice, the first: ${overlaps[0] ?? ''}`);
  }
  const gaps = gapsOf(samples, GAP_BOUND_MS);
  const lives = livesOf(samples, WATCHED);
  const isThere = ({ copy }: (typeof lives)[number]): boolean => copy.startsWith(`${peer}/`);
  const fence = lives.filter(({ pod }) => isFenced(pod));
  const elsewhere = (of: typeof lives): number =>
    seconds(Math.max(...of.filter((life) => !isThere(life)).map(({ firstMs }) => firstMs)) - marks.lostAt);
  const stopped = Math.max(...fence.filter(isThere).map(({ lastMs }) => lastMs));
  const handover = shortestHandover(fence);
  // a busy machine delays samples: they prove nothing only where two lives could have met unseen
  if (gaps.longest >= handover) {
    throw new Error(
      `the longest gap between samples, ${gaps.longest} ms, is no less than the pause of an ordinal, ${handover} ms: too few to judge by`,
    );
  }
  return {
    how,
    pods: `${statefulPods} + ${deploymentPods}`,
    fenceStopped: how === 'kill' ? undefined : seconds(stopped - marks.lostAt),
    fenceHandover: seconds(handover),
    fenceReplaced: elsewhere(fence),
    replaceReplaced: elsewhere(lives.filter(({ pod }) => !isFenced(pod))),
    returned: seconds(marks.backAt - marks.lostAt),
    oneOfEach: seconds(marks.settledAt - marks.backAt),
    overlaps: overlaps.length,
    gaps,
  };
};

/** The figures of several runs side by side. */
export const partitionTable = (runs: readonly PartitionFigures[]): string => {
  const rows: readonly FigureRow<PartitionFigures>[] = [
    ['lost peer', ({ how }) => how],
    ['pods, fence + replace', ({ pods }) => pods],
    [
      'last fence container at the peer',
      ({ fenceStopped }) => (fenceStopped === undefined ? 'killed' : `${fenceStopped} s`),
    ],
    ['all fence pods run elsewhere', ({ fenceReplaced }) => `${fenceReplaced} s`],
    ['all replace pods run elsewhere', ({ replaceReplaced }) => `${replaceReplaced} s`],
    ['shortest pause of an ordinal', ({ fenceHandover }) => `${fenceHandover} s`],
    ['the peer is back', ({ returned }) => `${returned} s`],
    ['exactly one of each, after that', ({ oneOfEach }) => `${oneOfEach} s`],
    ['samples with an ordinal twice', ({ overlaps, gaps }) => `${overlaps} of ${gaps.samples}`],
    ['gaps median / p99 / longest', ({ gaps }) => `${gaps.median} / ${gaps.p99} / ${gaps.longest} ms`],
    [`gaps over ${GAP_BOUND_MS} ms`, ({ gaps }) => String(gaps.over)],
  ];
  return figureTable(rows, runs, { name: 34, figure: 20 });
};
