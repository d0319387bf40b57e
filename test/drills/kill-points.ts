/**
 * The drill "kill -9 anywhere": peer, offload and unpeer in turn, with SIGKILL for a controller's leader or an agent at a
 * seeded moment of each; after each the fabric must come to the same state as without.
 */
import { eventually, FLUVIACTL, runCommand } from '../support/fluviactl.ts';
import { fluviaPods, killPodProcesses, leaderOf, type PodRef } from '../support/processes.ts';
import { seededRandom } from '../support/seed.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** Where and how often. */
export interface KillDrill {
  readonly testbed: Testbed;
  /** The two clusters whose peering is made and unmade; home opens the namespace. */
  readonly home: string;
  readonly peer: string;
  readonly points: number;
  readonly seed: number;
  readonly report: (line: string) => void;
}

type Phase = 'peer' | 'offload' | 'unpeer';
const PHASES: readonly Phase[] = ['peer', 'offload', 'unpeer'];
/** A moment within a phase is chosen from this many milliseconds after its start. */
const WINDOW_MS: Readonly<Record<Phase, number>> = { peer: 5000, offload: 8000, unpeer: 5000 };
const NAMESPACE = 'drill';
const REPLICAS = 4;

const deployment = JSON.stringify({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: NAMESPACE },
  spec: {
    replicas: REPLICAS,
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

const cli = async (args: readonly string[]): Promise<void> => {
  const result = await runCommand(FLUVIACTL, args, { timeoutMs: 120_000 });
  if (result.code !== 0) {
    throw new Error(`fluviactl ${args[0] ?? ''}: ${result.stderr.trim()}`);
  }
};

const begin = async ({ testbed, home, peer }: KillDrill, phase: Phase): Promise<void> => {
  const kubeconfig = testbed.kubeconfigPath(home);
  if (phase === 'peer') {
    await cli(['peer', '--kubeconfig', kubeconfig, '--remote-kubeconfig', testbed.kubeconfigPath(peer)]);
  } else if (phase === 'unpeer') {
    await cli(['unpeer', peer, '--kubeconfig', kubeconfig]);
  } else {
    const items = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
      {
        apiVersion: 'fluvia.dev/v1alpha1',
        kind: 'NamespaceOffloading',
        metadata: { name: 'offloading', namespace: NAMESPACE },
        // Remote: whatever is killed, no pod may end up at home
        spec: { strategy: 'Remote', peers: [peer] },
      },
    ];
    await testbed.kubectl(home, ['apply', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    });
    await eventually(
      'the namespace is open',
      async () => {
        await testbed.kubectl(home, [
          'wait',
          '-n',
          NAMESPACE,
          '--for=condition=Ready',
          'namespaceoffloading/offloading',
          '--timeout=5s',
        ]);
        return true;
      },
      90_000,
    );
    await testbed.kubectl(home, ['apply', '-f', '-'], { input: deployment });
  }
};

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

/** Throws until the state that the phase is to reach stands. */
const check = async ({ testbed, home, peer }: KillDrill, phase: Phase): Promise<true> => {
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
  if (phase === 'offload') {
    const pods = JSON.parse(
      await testbed.kubectl(home, ['get', 'pods', '-n', NAMESPACE, '-o', 'json']),
    ) as Pods;
    const ready = pods.items.filter((p) =>
      p.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
    );
    const there = ready.filter((p) => p.spec.nodeName === `fluvia-${peer}`);
    if (pods.items.length !== REPLICAS || ready.length !== REPLICAS || there.length !== REPLICAS) {
      throw new Error(`${ready.length} of ${REPLICAS} pods Ready, ${there.length} of them at ${peer}`);
    }
    return true;
  }
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

/** The pod whose process is to die: the leading controller or an agent of one of the two clusters. */
const chooseVictim = async (
  drill: KillDrill,
  random: () => number,
): Promise<{ cluster: string; pod: PodRef; what: string }> => {
  const cluster = random() < 0.5 ? drill.home : drill.peer;
  const what = random() < 0.6 ? 'controller' : 'agent';
  const pods = await fluviaPods(drill.testbed, cluster, `fluvia-${what}`);
  const leader = what === 'controller' ? await leaderOf(drill.testbed, cluster) : '';
  const pod = pods.find((p) => p.name === leader) ?? pods[Math.floor(random() * pods.length)];
  if (pod === undefined) {
    throw new Error(`${cluster} has no ${what} to kill`);
  }
  return { cluster, pod, what };
};

/** Runs the drill; the two clusters start and end unpeered. Throws at the first point that does not converge. */
export const runKillDrill = async (drill: KillDrill): Promise<void> => {
  const random = seededRandom(drill.seed);
  for (let point = 0; point < drill.points; point += 1) {
    const phase = PHASES[point % PHASES.length] ?? 'peer';
    const afterMs = Math.floor(random() * WINDOW_MS[phase]);
    const started = Date.now();
    const work = begin(drill, phase).then(
      () => undefined,
      (error: unknown) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    const { cluster, pod, what } = await chooseVictim(drill, random);
    const hit = await killPodProcesses(drill.testbed, cluster, pod, /fluviad/);
    const killedAt = Date.now();
    if ((await work) !== undefined) {
      await begin(drill, phase); // whoever's command was cut short gives it again
    }
    await eventually(
      `${phase} converges after ${what} of ${cluster} was killed ${afterMs} ms into it`,
      () => check(drill, phase),
      120_000,
    );
    drill.report(
      `point ${point + 1}: ${phase}, ${what} of ${cluster} killed at ${afterMs} ms (${hit} process), ` +
        `converged ${((Date.now() - killedAt) / 1000).toFixed(1)} s later, phase ${((Date.now() - started) / 1000).toFixed(1)} s`,
    );
    if (phase === 'unpeer') {
      await drill.testbed.kubectl(drill.home, [
        'delete',
        'namespace',
        NAMESPACE,
        '--ignore-not-found',
        '--timeout=90s',
      ]);
    }
  }
};
