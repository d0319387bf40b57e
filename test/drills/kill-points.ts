/**
 * The drill "kill -9 anywhere": peer, offload and unpeer in turn, with SIGKILL for a controller's leader or an agent at a
 * seeded moment of each; after each the fabric must come to the same state as without, soon somebody else leads, and not one
 * container of a pod that is to stay was touched.
 */
import { createContainerLook, type ContainerSample } from '../support/containers.ts';
import { eventually, FLUVIACTL, runCommand } from '../support/fluviactl.ts';
import {
  fluviaPods,
  killPodProcesses,
  leaderLease,
  takeover,
  type LeaderLease,
  type PodRef,
} from '../support/processes.ts';
import { applyObjects, namespaceOpened } from '../support/objects.ts';
import { seededRandom } from '../support/seed.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** Where and how often. */
export interface KillDrill {
  readonly testbed: Testbed;
  /** The two clusters whose peering is made and unmade; home opens the namespace. */
  readonly home: string;
  readonly peer: string;
  /** A cluster that stays peered with home all the time: pods that run there must not notice. */
  readonly steady: string;
  readonly points: number;
  readonly seed: number;
  readonly report: (line: string) => void;
}

/** What a run showed. */
export interface KillFigures {
  readonly points: number;
  readonly agents: number;
  readonly controllers: number;
  /** Kill of a leader → the next one's first write of the Lease, in seconds. */
  readonly takeovers: readonly number[];
  /** Kill → the state that was to be reached, in seconds. */
  readonly converged: readonly number[];
  /** Containers that ran at a kill and still ran, the same ones, after it; summed over all points. */
  readonly untouched: number;
}

type Phase = 'peer' | 'offload' | 'unpeer';
const PHASES: readonly Phase[] = ['peer', 'offload', 'unpeer'];
/** A moment within a phase is chosen from this many milliseconds after its start. */
const WINDOW_MS: Readonly<Record<Phase, number>> = { peer: 5000, offload: 8000, unpeer: 5000 };
const NAMESPACE = 'drill';
const STEADY = 'steady';
const REPLICAS = 4;
const STEADY_REPLICAS = 3;

const deployment = (namespace: string, replicas: number): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace },
  spec: {
    replicas,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'server',
            image: 'fluvia.local/web:1',
            resources: { requests: { cpu: '20m', memory: '8Mi' } },
          },
        ],
      },
    },
  },
});

/** Opens a namespace to one peer and starts a Deployment in it; whatever is killed, no pod of it may end up at home. */
const offload = async (
  { testbed, home }: KillDrill,
  namespace: string,
  peer: string,
  replicas: number,
): Promise<void> => {
  await applyObjects(testbed, home, [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'NamespaceOffloading',
      metadata: { name: 'offloading', namespace },
      spec: { strategy: 'Remote', peers: [peer] },
    },
  ]);
  await namespaceOpened(testbed, home, namespace);
  await applyObjects(testbed, home, [deployment(namespace, replicas)]);
};

const cli = async (args: readonly string[]): Promise<void> => {
  const result = await runCommand(FLUVIACTL, args, { timeoutMs: 120_000 });
  if (result.code !== 0) {
    throw new Error(`fluviactl ${args[0] ?? ''}: ${result.stderr.trim()}`);
  }
};

const begin = async (drill: KillDrill, phase: Phase): Promise<void> => {
  const { testbed, home, peer } = drill;
  const kubeconfig = testbed.kubeconfigPath(home);
  if (phase === 'peer') {
    await cli(['peer', '--kubeconfig', kubeconfig, '--remote-kubeconfig', testbed.kubeconfigPath(peer)]);
  } else if (phase === 'unpeer') {
    await cli(['unpeer', peer, '--kubeconfig', kubeconfig]);
  } else {
    await offload(drill, NAMESPACE, peer, REPLICAS);
  }
};

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: {
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
      readonly containerStatuses?: readonly { readonly restartCount: number }[];
    };
  }[];
}

const isReady = ({ status }: Pods['items'][number]): boolean =>
  status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false;

/** Throws unless all pods of a namespace are Ready at the peer. */
const checkPods = async (
  { testbed, home }: KillDrill,
  namespace: string,
  peer: string,
  replicas: number,
): Promise<true> => {
  const pods = JSON.parse(
    await testbed.kubectl(home, ['get', 'pods', '-n', namespace, '-o', 'json']),
  ) as Pods;
  const ready = pods.items.filter(isReady);
  const there = ready.filter((p) => p.spec.nodeName === `fluvia-${peer}`);
  if (pods.items.length !== replicas || there.length !== replicas) {
    throw new Error(
      `${ready.length} of ${replicas} pods Ready, ${there.length} of them at ${peer}, ${pods.items.length} in all`,
    );
  }
  return true;
};

/** Throws until the state that the phase is to reach stands. */
const check = async (drill: KillDrill, phase: Phase): Promise<true> => {
  const { testbed, home, peer } = drill;
  if (phase === 'peer') {
    for (const [a, b] of [
      [home, peer],
      [peer, home],
    ] as const) {
      for (const condition of ['Ready', 'NetworkReady']) {
        await testbed.kubectl(a, ['wait', `peer/${b}`, `--for=condition=${condition}`, '--timeout=5s']);
      }
      await testbed.kubectl(a, ['wait', `node/fluvia-${b}`, '--for=condition=Ready', '--timeout=5s']);
    }
    return true;
  }
  if (phase === 'offload') return checkPods(drill, NAMESPACE, peer, REPLICAS);
  for (const [a, b] of [
    [home, peer],
    [peer, home],
  ] as const) {
    const left = await testbed.kubectl(a, [
      'get',
      'peers,views,virtualnodes,claims,nodes,shadowpods',
      '-A',
      '-o',
      'name',
    ]);
    const ours = left.split('\n').filter((line) => new RegExp(`/(?:fluvia-)?${b}$|shadowpod`).test(line));
    if (ours.length > 0) {
      throw new Error(`${a} still has ${ours.join(', ')}`);
    }
  }
  return true;
};

interface Victim {
  readonly cluster: string;
  readonly pod: PodRef;
  readonly what: 'controller' | 'agent';
  /** Of its cluster, before it dies. */
  readonly lease: LeaderLease;
}

/** The pod whose process is to die: the leading controller or an agent of one of the two clusters. */
const chooseVictim = async (drill: KillDrill, random: () => number): Promise<Victim> => {
  const cluster = random() < 0.5 ? drill.home : drill.peer;
  const what = random() < 0.6 ? 'controller' : 'agent';
  const pods = await fluviaPods(drill.testbed, cluster, `fluvia-${what}`);
  const lease = await leaderLease(drill.testbed, cluster);
  const pod =
    what === 'controller'
      ? pods.find(({ name }) => name === lease.pod)
      : pods[Math.floor(random() * pods.length)];
  if (pod === undefined) {
    throw new Error(`${cluster} has no ${what} to kill`);
  }
  return { cluster, pod, what, lease };
};

/** Application containers that no kill may touch: pods of the steady namespace, of `alsoIn`, and the cluster's own. */
const stayingIn = ({ nodes }: ContainerSample, alsoIn: readonly string[]): ReadonlyMap<string, string> =>
  new Map(
    [...nodes].flatMap(([node, list]) =>
      list
        .filter(({ namespace }) => [STEADY, 'kube-system', ...alsoIn].includes(namespace))
        .map(({ id, namespace, pod, container }) => [id, `${namespace}/${pod}/${container} at ${node}`]),
    ),
  );

/** Whether all of Fluvia's own pods of a cluster are Ready: whoever is killed next has a standby. */
const isWhole = async ({ testbed }: KillDrill, cluster: string): Promise<boolean> => {
  const args = ['get', 'pods', '-n', 'fluvia-system', '-l', 'app.kubernetes.io/name=fluvia', '-o', 'json'];
  const { items } = JSON.parse(await testbed.kubectl(cluster, args)) as Pods;
  return items.length > 0 && items.every(isReady);
};

const restartsOf = async ({ testbed }: KillDrill, { cluster, pod }: Victim): Promise<number> => {
  const args = [
    'get',
    'pods',
    '-n',
    'fluvia-system',
    `--field-selector=metadata.name=${pod.name}`,
    '-o',
    'json',
  ];
  const { items } = JSON.parse(await testbed.kubectl(cluster, args)) as Pods;
  const counts = items.flatMap(({ status }) => status.containerStatuses ?? []);
  return counts.reduce((sum, { restartCount }) => sum + restartCount, 0);
};

/** Runs the drill; home and peer start and end unpeered. Throws at the first point that doesn't end as it must. */
export const runKillDrill = async (drill: KillDrill): Promise<KillFigures> => {
  const { testbed, steady, points } = drill;
  const random = seededRandom(drill.seed);
  const nodes = testbed.clusters.flatMap(({ name, nodes: own }) => own.map((node) => `${name}/${node.name}`));
  const look = createContainerLook(testbed, nodes);
  const figures = {
    points: 0,
    agents: 0,
    controllers: 0,
    takeovers: [] as number[],
    converged: [] as number[],
    untouched: 0,
  };
  await offload(drill, STEADY, steady, STEADY_REPLICAS);
  const isSteady = (): Promise<true> => checkPods(drill, STEADY, steady, STEADY_REPLICAS);
  await eventually(`${STEADY_REPLICAS} pods run at ${steady}`, isSteady, 90_000);
  for (let point = 0; point < points; point += 1) {
    const phase = PHASES[point % PHASES.length] ?? 'peer';
    const afterMs = Math.floor(random() * WINDOW_MS[phase]);
    const started = Date.now();
    const work = begin(drill, phase).then(
      () => undefined,
      (error: unknown) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    const victim = await chooseVictim(drill, random);
    const { cluster, pod, what, lease } = victim;
    // What is being unpeered ends anyway.
    const alsoIn = phase === 'offload' ? [NAMESPACE] : [];
    const restarts = await restartsOf(drill, victim);
    let killedAt = 0;
    let before: ReadonlyMap<string, string> = new Map();
    const hit = await killPodProcesses(testbed, cluster, pod, /fluviad/, () => {
      before = stayingIn(look(), alsoIn);
      killedAt = Date.now();
    });
    if (hit === 0) throw new Error(`point ${point + 1}: ${what} ${pod.name} of ${cluster} had no process`);
    const led = what === 'controller' ? await takeover(testbed, cluster, lease, killedAt) : undefined;
    if ((await work) !== undefined) {
      await begin(drill, phase); // whoever's command was cut short gives it again
    }
    await eventually(
      `${phase} converges after ${what} of ${cluster} was killed ${afterMs} ms into it`,
      () => check(drill, phase),
      120_000,
    );
    const converged = (Date.now() - killedAt) / 1000;
    await eventually('the pods that stay are Ready', isSteady, 60_000);
    // Until its kubelet has looked, a pod whose process died counts as Ready, and can't be killed again.
    await eventually(
      `${pod.name} is started again`,
      async () => ((await restartsOf(drill, victim)) > restarts ? true : undefined),
      60_000,
    );
    for (const place of [drill.home, drill.peer]) {
      await eventually(
        `all agents and controllers of ${place} are Ready again`,
        async () => ((await isWhole(drill, place)) ? true : undefined),
        60_000,
      );
    }
    const after = stayingIn(look(), alsoIn);
    const touched = [...before].filter(([id]) => !after.has(id)).map(([, name]) => name);
    if (touched.length > 0) throw new Error(`point ${point + 1} ended ${touched.join(', ')}`);
    figures.points += 1;
    figures[what === 'controller' ? 'controllers' : 'agents'] += 1;
    if (led !== undefined) figures.takeovers.push(led);
    figures.converged.push(converged);
    figures.untouched += before.size;
    drill.report(
      `point ${point + 1}: ${phase}, ${what} of ${cluster} killed at ${((killedAt - started) / 1000).toFixed(1)} s, ` +
        `${led === undefined ? '' : `another leads after ${led.toFixed(1)} s, `}converged after ${converged.toFixed(1)} s, ` +
        `${before.size} running containers untouched`,
    );
    if (phase === 'unpeer') await removeNamespace(drill, NAMESPACE);
  }
  await removeNamespace(drill, STEADY);
  return figures;
};

const removeNamespace = async ({ testbed, home }: KillDrill, name: string): Promise<void> => {
  await testbed.kubectl(home, ['delete', 'namespace', name, '--ignore-not-found', '--timeout=90s']);
};

const spread = (values: readonly number[]): string => {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): string => (sorted[index] ?? 0).toFixed(1);
  return `${at(0)} / ${at(Math.floor(sorted.length / 2))} / ${at(sorted.length - 1)} s`;
};

/** The figures, for people. */
export const killTable = (figures: KillFigures): string =>
  [
    ['kill points, leaders + agents', `${figures.controllers} + ${figures.agents}`],
    ['another leads, least / median / most', spread(figures.takeovers)],
    ['converged, least / median / most', spread(figures.converged)],
    ['running containers untouched', String(figures.untouched)],
  ]
    .map(([name = '', value = '']) => `${name.padEnd(38)}${value}`)
    .join('\n');
