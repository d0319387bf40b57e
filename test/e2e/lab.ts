/**
 * Three clusters for the end-to-end tests, one of them with two nodes; order, names and view pools come from a seed. The
 * view pools are such that views collide: each cluster takes its views from ranges that the others use as well.
 */
import { seenAs } from '../../api/views.ts';
import type { View } from '../../api/v1alpha1/view.ts';
import { installFluvia } from '../support/fabric.ts';
import { eventually } from '../support/fluviactl.ts';
import { applyObjects } from '../support/objects.ts';
import { seededRandom, shuffled } from '../support/seed.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** What the seed decided. */
export interface LabPlan {
  readonly clusters: readonly { readonly name: string; readonly nodes: number; readonly viewPool: string }[];
}

/** Three cluster names in random order, two nodes for one of them, a view pool each; two pools are always equal. */
export const planLab = (seed: number): LabPlan => {
  const random = seededRandom(seed);
  const names = shuffled(['oak', 'elm', 'fir', 'ash', 'yew'], random).slice(0, 3);
  const big = Math.floor(random() * 3);
  const pools = shuffled(['10.60.0.0/14', '10.60.0.0/14', '10.128.0.0/12'], random);
  return {
    clusters: names.map((name, i) => ({
      name,
      nodes: i === big ? 2 : 1,
      viewPool: pools[i] ?? '10.60.0.0/14',
    })),
  };
};

/** A pod of the lab: an HTTP server (`fluvia.local/web:1`) with curl beside it. */
export interface LabPod {
  readonly cluster: string;
  readonly node: string;
  readonly name: string;
  readonly ip: string;
}

const LAB_NAMESPACE = 'lab';

const labPod = (name: string, node: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: LAB_NAMESPACE, labels: { app: 'lab' } },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 1,
    containers: [
      { name: 'server', image: 'fluvia.local/web:1', env: [{ name: 'PORT', value: '8080' }] },
      { name: 'client', image: 'fluvia.local/tools:1', command: ['sleep', '86400'] },
    ],
  },
});

/** One lab pod on every node of every cluster, Running. */
export const makeLabPods = async (testbed: Testbed): Promise<LabPod[]> => {
  const pods: LabPod[] = [];
  for (const cluster of testbed.clusters) {
    const items = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: LAB_NAMESPACE } },
      ...cluster.nodes.map((node) => labPod(`lab-${node.name}`, node.name)),
    ];
    await applyObjects(testbed, cluster.name, items);
    for (const node of cluster.nodes) {
      const name = `lab-${node.name}`;
      await testbed.kubectl(cluster.name, [
        'wait',
        '-n',
        LAB_NAMESPACE,
        `pod/${name}`,
        '--for=condition=Ready',
        '--timeout=90s',
      ]);
      const ip = await testbed.kubectl(cluster.name, [
        'get',
        'pod',
        '-n',
        LAB_NAMESPACE,
        name,
        '-o',
        'jsonpath={.status.podIP}',
      ]);
      pods.push({ cluster: cluster.name, node: node.name, name, ip });
    }
  }
  return pods;
};

/** Removes the lab's namespaces. */
export const removeLabPods = async (testbed: Testbed): Promise<void> => {
  await Promise.all(
    testbed.clusters.map(({ name }) =>
      testbed.kubectl(name, ['delete', 'namespace', LAB_NAMESPACE, '--ignore-not-found', '--timeout=60s']),
    ),
  );
};

/** The address under which `observer` sees `pod`, once its View says so. */
export const addressSeenBy = (testbed: Testbed, observer: string, pod: LabPod): Promise<string> =>
  eventually(`${observer}'s view of ${pod.cluster}`, async () => {
    const view = JSON.parse(
      await testbed.kubectl(observer, ['get', 'view', pod.cluster, '-o', 'json']),
    ) as View;
    return seenAs(view.spec.theirs, pod.ip);
  });

/** HTTP status → how many of `count` requests of one pod to an address got it (`000`: none). */
export const request = async (
  testbed: Testbed,
  from: LabPod,
  address: string,
  options: { readonly count: number; readonly path?: string; readonly timeoutSeconds?: number },
): Promise<ReadonlyMap<string, number>> => {
  const { count, path = '/', timeoutSeconds = 5 } = options;
  const { stdout } = await testbed.tryKubectl(from.cluster, [
    'exec',
    '-n',
    LAB_NAMESPACE,
    from.name,
    '-c',
    'client',
    '--',
    'curl',
    '-s',
    '--max-time',
    String(timeoutSeconds),
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}\\n',
    `http://${address}:8080${path}?n=[1-${count}]`,
  ]);
  const tally = new Map<string, number>();
  for (const code of stdout.split('\n').filter((line) => /^\d{3}$/.test(line))) {
    tally.set(code, (tally.get(code) ?? 0) + 1);
  }
  return tally;
};

/** Log lines of a lab pod's server. */
export const serverLog = async (testbed: Testbed, pod: LabPod): Promise<string[]> =>
  (
    await testbed.kubectl(pod.cluster, ['logs', '-n', LAB_NAMESPACE, pod.name, '-c', 'server', '--tail=-1'])
  ).split('\n');

/** Bytes that the gateway of a cluster has sent and received on fluvia0, summed over its peers. */
export const tunnelBytes = async (testbed: Testbed, cluster: string): Promise<number> => {
  let sum = 0;
  for (const node of testbed.clusters.find((c) => c.name === cluster)?.nodes ?? []) {
    const list = JSON.parse(
      await testbed.kubectl(cluster, [
        'get',
        'pods',
        '-n',
        'fluvia-system',
        '-o',
        'json',
        '--field-selector',
        `spec.nodeName=${node.name}`,
      ]),
    ) as { items: { metadata: { name: string } }[] };
    for (const pod of list.items.filter((p) => p.metadata.name.startsWith('fluvia-agent'))) {
      const { stdout } = await testbed.tryKubectl(cluster, [
        'exec',
        '-n',
        'fluvia-system',
        pod.metadata.name,
        '-c',
        'agent',
        '--',
        'wg',
        'show',
        'all',
        'transfer',
      ]);
      for (const line of stdout.split('\n').filter((l) => l !== '')) {
        const [, , received = '0', sent = '0'] = line.split('\t');
        sum += Number(received) + Number(sent);
      }
    }
  }
  return sum;
};

/** Installs Fluvia in every cluster with the plan's view pools; the clusters of `stores` keep copies of volumes. */
export const installAll = async (
  testbed: Testbed,
  plan: LabPlan,
  image: string,
  stores: readonly string[] = [],
): Promise<void> => {
  await Promise.all(
    plan.clusters.map(({ name, viewPool }) =>
      installFluvia(
        testbed,
        name,
        image,
        '--view-pool',
        viewPool,
        ...(stores.includes(name) ? ['--object-store'] : []),
      ),
    ),
  );
};

/** All pairs of clusters, each once. */
export const pairsOf = (plan: LabPlan): (readonly [string, string])[] =>
  plan.clusters.flatMap((a, i) => plan.clusters.slice(i + 1).map((b) => [a.name, b.name] as const));

/**
 * Lets each API server be reached only by its own cluster's nodes (and the host): peering and floating must not need more. The
 * rules stay for the testbed's life.
 */
export const isolateApiServers = async (testbed: Testbed): Promise<void> => {
  for (const cluster of testbed.clusters) {
    const host = (cluster.nodes[0]?.ip ?? '').replace(/\d+$/, '1');
    const allowed = [host, ...cluster.nodes.map((node) => node.ip)].join(', ');
    const ruleset = `table ip lab-isolation {
      chain input { type filter hook input priority -200 ; iifname "eth0" tcp dport 6443 ip saddr != { ${allowed} } drop ; }
    }`;
    const result = await testbed.execNode(`${cluster.name}/1`, ['nft', '-f', '-'], { input: ruleset });
    if (result.code !== 0) {
      throw new Error(`isolating the API server of ${cluster.name}: ${result.stderr}`);
    }
  }
};

/** Whether a lab pod gets any HTTP answer from a server. */
export const reaches = async (testbed: Testbed, from: LabPod, server: string): Promise<boolean> => {
  const { stdout } = await testbed.tryKubectl(from.cluster, [
    'exec',
    '-n',
    LAB_NAMESPACE,
    from.name,
    '-c',
    'client',
    '--',
    'curl',
    '-sk',
    '--connect-timeout',
    '2',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    `${server}/version`,
  ]);
  return /^[1-5]\d\d$/.test(stdout) && stdout !== '000';
};
