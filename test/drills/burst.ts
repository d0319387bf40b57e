/**
 * The drill "a burst over fragmented nodes": 60 pods of mixed sizes come at once to three real clusters whose nodes are
 * filled up to pieces of different sizes, together little more than the pods need. Half a minute later no pod may be pending
 * while any real node of any cluster has room for it. Before it, the same with Fluvia's ranking off, to be shown beside it:
 * the pods come ungated and without affinity, and kube-scheduler sees of a peer only the sum that is granted.
 */
import { ANNOTATIONS } from '../../api/labels.ts';
import { eventually } from '../support/fluviactl.ts';
import { applyObjects, namespaceOpened } from '../support/objects.ts';
import type { Testbed } from '../testbed/testbed.ts';
import { figureTable, type FigureRow } from './figure-table.ts';
import { judgeBurst, millicores, type BurstNode, type BurstPod } from './plan-burst.ts';

export interface BurstDrill {
  readonly testbed: Testbed;
  /** Peered with both of the others. */
  readonly home: string;
  readonly peers: readonly string[];
  readonly report: (line: string) => void;
}

/** What a run showed half a minute after the last pod was created. */
export interface BurstFigures {
  readonly ranking: 'off' | 'on';
  /** Bound to a real node. */
  readonly bound: number;
  readonly running: number;
  /** Without a real node. */
  readonly pending: number;
  /** Of those: at home, at the gate or without a place; at a peer that took them and has no node for them. */
  readonly pendingAtPeers: number;
  /** Of those: some real node has room. */
  readonly stranded: readonly string[];
  /** Millicores of requests that run, of those that were free. */
  readonly taken: number;
  readonly free: number;
  /** From the last create to the last binding to a real node. */
  readonly lastBoundSeconds: number;
}

const NAMESPACE = 'burst';
const FILLERS = 'burst-fillers';
const PODS = 60;
/** Sizes of pods and of pieces that are left free, in units of this; grants are multiples of 10 millicores. */
const UNIT_MILLICORES = 10;
/**
 * Left free on each node, by cluster (home first); further nodes are filled up. By its sum each peer has room for a pod of 16,
 * and looks emptier than home does; but only home has a node that takes one.
 */
const FREE_UNITS: readonly (readonly number[])[] = [[70], [15, 15], [15, 15]];
/** 115 of the 130 units that are free. */
const SIZES: readonly number[] = Array.from({ length: PODS }, (_, i) => {
  if (i % 20 === 0) return 16;
  return i % 6 === 5 ? 2 : 1;
});
const LOOK_AFTER_MS = 30_000;
/** Pods with this label aren't seen by Fluvia's admission while the drill runs. */
const UNRANKED = 'drills.fluvia.dev/unranked';

interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly {
      readonly resources?: { readonly requests?: { readonly cpu?: string } };
    }[];
  };
  readonly status: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime?: string;
    }[];
  };
}

interface NodeObject {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly status: { readonly allocatable: Readonly<Record<string, string>> };
}

const get = async <T>({ testbed }: BurstDrill, cluster: string, ...what: string[]): Promise<readonly T[]> =>
  (
    JSON.parse(await testbed.kubectl(cluster, ['get', ...what, '-o', 'json'])) as {
      readonly items: readonly T[];
    }
  ).items;

const apply = ({ testbed }: BurstDrill, cluster: string, ...items: readonly object[]): Promise<string> =>
  applyObjects(testbed, cluster, items);

const requestOf = ({ spec }: PodObject): number =>
  spec.containers.reduce((sum, { resources }) => sum + millicores(resources?.requests?.cpu ?? '0'), 0);

/** The cluster's real nodes, with what is free on each. */
const realNodes = async (drill: BurstDrill, cluster: string): Promise<readonly BurstNode[]> => {
  const nodes = await get<NodeObject>(drill, cluster, 'nodes', '-l', '!fluvia.dev/virtual-node');
  const pods = await get<PodObject>(drill, cluster, 'pods', '-A');
  return nodes.map(({ metadata, status }) => ({
    name: metadata.name,
    free: pods
      .filter(
        (pod) =>
          pod.spec.nodeName === metadata.name && !['Succeeded', 'Failed'].includes(pod.status.phase ?? ''),
      )
      .reduce((free, pod) => free - requestOf(pod), millicores(status.allocatable['cpu'] ?? '0')),
  }));
};

const boundAt = ({ status }: PodObject): number =>
  Date.parse(
    status.conditions?.find(({ type, status: value }) => type === 'PodScheduled' && value === 'True')
      ?.lastTransitionTime ?? '',
  );

const pod = (namespace: string, name: string, cpu: number, more: object, labels: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels },
  spec: {
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    containers: [
      {
        name: 'main',
        image: 'fluvia.local/pause:1',
        resources: { requests: { cpu: `${cpu}m`, memory: '4Mi' } },
      },
    ],
    ...more,
  },
});

/** Fills every node up to its piece, and grants home what is free at each peer: the sum, as kube-scheduler sees it. */
const fragment = async (drill: BurstDrill): Promise<void> => {
  const { testbed, home, peers } = drill;
  for (const [index, cluster] of [home, ...peers].entries()) {
    const nodes = await realNodes(drill, cluster);
    const units = nodes.map((_, i) => FREE_UNITS[index]?.[i] ?? 0);
    const fillers = nodes.map(({ name, free }, i) =>
      pod(FILLERS, name, free - (units[i] ?? 0) * UNIT_MILLICORES, { nodeName: name }),
    );
    await apply(drill, cluster, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: FILLERS } });
    await eventually(`the nodes of ${cluster} are filled`, async () => {
      await apply(drill, cluster, ...fillers); // fails until the namespace has its ServiceAccount
      return true;
    });
    if (cluster === home) continue;
    const cpu = units.reduce((sum, n) => sum + n, 0) * UNIT_MILLICORES;
    await apply(drill, cluster, {
      apiVersion: 'fluvia.dev/v1alpha1',
      kind: 'GrantPolicy',
      metadata: { name: 'default' },
      spec: { maximum: { cpu: `${cpu}m`, memory: '4Gi', pods: '200' } },
    });
    await eventually(
      `${cluster}'s grant is what is free there`,
      async () => {
        const path = 'jsonpath={.status.allocatable.cpu}';
        const told = await testbed.kubectl(home, ['get', 'node', `fluvia-${cluster}`, '-o', path]);
        return millicores(told) === cpu ? true : undefined;
      },
      60_000,
    );
  }
  await apply(drill, home, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE, labels: { 'fluvia.dev/offload': 'true' } },
  });
  await namespaceOpened(testbed, home, NAMESPACE);
};

const WEBHOOK = ['mutatingwebhookconfiguration', 'fluvia'] as const;
const SELECTOR = '/webhooks/0/objectSelector';

/** Pods with the label pass by Fluvia's admission: what stands in for its ranking being off. */
const setUnranked = async ({ testbed, home }: BurstDrill, isOn: boolean): Promise<void> => {
  const value = isOn ? { matchExpressions: [{ key: UNRANKED, operator: 'DoesNotExist' }] } : {};
  const patch = JSON.stringify([{ op: 'add', path: SELECTOR, value }]);
  await testbed.kubectl(home, ['patch', ...WEBHOOK, '--type', 'json', '-p', patch]);
};

const observe = async (
  drill: BurstDrill,
): Promise<{
  readonly pods: readonly BurstPod[];
  readonly nodes: readonly BurstNode[];
  readonly lastAt: number;
  /** Pods on which Fluvia's planner has written. */
  readonly ranked: number;
}> => {
  const atHome = await get<PodObject>(drill, drill.home, 'pods', '-n', NAMESPACE);
  const nodes = [...(await realNodes(drill, drill.home))];
  const there = new Map<string, ReadonlyMap<string, PodObject>>();
  for (const peer of drill.peers) {
    nodes.push(...(await realNodes(drill, peer)));
    const shadows = await get<PodObject>(drill, peer, 'pods', '-n', NAMESPACE);
    there.set(`fluvia-${peer}`, new Map(shadows.map((shadow) => [shadow.metadata.name, shadow])));
  }
  let lastAt = 0;
  const pods = atHome.map((one): BurstPod => {
    const peer = there.get(one.spec.nodeName ?? '');
    const real = peer === undefined ? one : peer.get(one.metadata.name);
    const node = real?.spec.nodeName;
    if (real !== undefined && node !== undefined) lastAt = Math.max(lastAt, boundAt(real));
    return {
      name: one.metadata.name,
      millicores: requestOf(one),
      isAtPeer: peer !== undefined,
      node,
      isRunning: real?.status.phase === 'Running',
    };
  });
  const ranked = atHome.filter(({ metadata }) => metadata.annotations?.[ANNOTATIONS.placement]).length;
  return { pods, nodes, lastAt, ranked };
};

const run = async (drill: BurstDrill, ranking: 'off' | 'on'): Promise<BurstFigures> => {
  const { testbed, home, peers, report } = drill;
  const free = (await Promise.all([home, ...peers].map((cluster) => realNodes(drill, cluster)))).flatMap(
    (nodes) => nodes.map((node) => node.free),
  );
  report(`ranking ${ranking}: free on the nodes ${free.map((n) => `${n}m`).join(', ')}; ${PODS} pods come`);
  const more =
    ranking === 'on' ? {} : { tolerations: [{ key: 'fluvia.dev/virtual-node', operator: 'Exists' }] };
  const labels = ranking === 'on' ? {} : { [UNRANKED]: '' };
  await apply(
    drill,
    home,
    ...SIZES.map((units, i) =>
      pod(NAMESPACE, `p${String(i).padStart(2, '0')}`, units * UNIT_MILLICORES, more, labels),
    ),
  );
  const createdAt = Date.now();
  await new Promise((resolve) => setTimeout(resolve, LOOK_AFTER_MS));
  const { pods, nodes, lastAt, ranked } = await observe(drill);
  if (ranked !== (ranking === 'on' ? PODS : 0)) {
    throw new Error(`ranking ${ranking}: Fluvia's planner looked at ${ranked} of ${PODS} pods`);
  }
  const judged = judgeBurst(pods, nodes);
  const figures: BurstFigures = {
    ranking,
    ...judged,
    free: free.reduce((sum, n) => sum + Math.max(0, n), 0),
    lastBoundSeconds: Math.max(0, Math.round((lastAt - createdAt) / 1000)),
  };
  await testbed.kubectl(home, ['delete', 'pods', '--all', '-n', NAMESPACE, '--timeout=120s']);
  await eventually(
    'the peers have room again',
    async () => {
      const left = await Promise.all(peers.map((peer) => get(drill, peer, 'pods', '-n', NAMESPACE)));
      return left.flat().length === 0 ? true : undefined;
    },
    60_000,
  );
  return figures;
};

/** Runs the drill and leaves the clusters as they were. Throws when ranking leaves a pod pending for which there is room. */
export const runBurstDrill = async (drill: BurstDrill): Promise<readonly BurstFigures[]> => {
  const { testbed, home, peers, report } = drill;
  try {
    await fragment(drill);
    await setUnranked(drill, true);
    const off = await run(drill, 'off');
    await setUnranked(drill, false);
    const on = await run(drill, 'on');
    report(`\n${burstTable([off, on])}\n`);
    if (on.stranded.length > 0) {
      throw new Error(`with ranking, room was left for ${on.stranded.join(', ')}`);
    }
    return [off, on];
  } finally {
    await setUnranked(drill, false);
    const remove = async (cluster: string, ...what: string[]): Promise<void> => {
      await testbed.kubectl(cluster, ['delete', ...what, '--ignore-not-found', '--timeout=120s']);
    };
    await remove(home, 'namespace', NAMESPACE);
    for (const cluster of [home, ...peers]) await remove(cluster, 'namespace', FILLERS);
    for (const peer of peers) await remove(peer, 'grantpolicy', 'default');
  }
};

/** The figures of both runs side by side. */
const burstTable = (runs: readonly BurstFigures[]): string => {
  const rows: readonly FigureRow<BurstFigures>[] = [
    [`${PODS} pods, ${LOOK_AFTER_MS / 1000} s after the last create`, ({ ranking }) => `ranking ${ranking}`],
    ['bound to a real node', ({ bound }) => String(bound)],
    ['running', ({ running }) => String(running)],
    ['pending', ({ pending }) => String(pending)],
    ['of them sent to a peer', ({ pendingAtPeers }) => String(pendingAtPeers)],
    ['of them some real node has room', ({ stranded }) => String(stranded.length)],
    ['millicores taken, of those free', ({ taken, free }) => `${taken} of ${free}`],
    ['last bound after', ({ lastBoundSeconds }) => `${lastBoundSeconds} s`],
  ];
  return figureTable(rows, runs, { name: 38, figure: 16 });
};
