/** Ranking one pod over 1000 peers. */
import type { Bench } from './main.ts';
import { LABELS, VIRTUAL_NODE_TAINT } from '../api/labels.ts';
import { podRequests, whyClosed, whyNotFor } from '../offloading/consumer/plan-fit.ts';
import { createPlanner, type GatedPod, type PlanNode } from '../offloading/consumer/plan-placement.ts';
import type { PlaceFacts } from '../offloading/consumer/plan-score.ts';
import type { PodSpec } from '../runtime/kube/types.ts';

const PEERS = 1000;
const SLOTS = 4;
const RUNS = 200;

const spec: PodSpec = {
  containers: [{ name: 'c', resources: { requests: { cpu: '500m', memory: '512Mi' } } }],
  tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
  nodeSelector: { 'kubernetes.io/os': 'linux' },
};
const names = Array.from({ length: PEERS }, (_, i) => `peer-${i}`);

const nodes = names.map((peer, i): PlanNode => ({
  node: {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: `fluvia-${peer}`, labels: { [LABELS.peer]: peer, 'kubernetes.io/os': 'linux' } },
    spec: { taints: [{ key: VIRTUAL_NODE_TAINT, effect: 'NoSchedule' }] },
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  },
  peer,
  free: { cpu: 64, memory: 2 ** 38, pods: 500 },
  slots: Array.from({ length: SLOTS }, (_, s) => ({
    free: { cpu: (i + s) % 9, memory: ((i + s) % 17) * 2 ** 30, pods: 50 },
    count: 1,
    labels: { 'kubernetes.io/os': 'linux' },
  })),
}));

const pod: GatedPod = {
  uid: 'u',
  spec,
  requests: podRequests(spec),
  group: 'g',
  strategy: 'LocalAndRemote',
  stays: undefined,
  openPeers: names,
  excluded: new Map(),
};

const facts = new Map<string, PlaceFacts>(
  names.map((name, i) => [
    name,
    { pricePerHour: { cpu: (i % 7) / 100, memory: 0.01 }, rttMilliseconds: i % 90 },
  ]),
);
const counts = new Map(names.map((name, i) => [`g\n${name}`, i % 5]));

const medianMs = (work: () => void): number => {
  for (let i = 0; i < 50; i += 1) work();
  const times = Array.from({ length: RUNS }, () => {
    const begun = performance.now();
    work();
    return performance.now() - begun;
  }).toSorted((a, b) => a - b);
  return times[RUNS / 2] ?? Number.NaN;
};

/** The least that any ranking must do: look at each node's filters once and sort by one number. */
const baseline = (): void => {
  nodes
    .filter(({ node }) => (whyClosed(node) ?? whyNotFor(spec, node)) === undefined)
    .toSorted((a, b) => (b.free['cpu'] ?? 0) - (a.free['cpu'] ?? 0));
};

/** The bench, see `npm run bench`. */
export const placementBench: Bench = {
  name: 'placement',
  description: `ranking one pod over ${PEERS} peers of ${SLOTS} kinds of nodes; limit 1 ms`,
  run: () => {
    const planner = createPlanner(nodes, counts, { facts });
    const rankMs = medianMs(() => void planner.rank(pod));
    const baseMs = medianMs(baseline);
    const fitting = PEERS - planner.rank(pod).rejected.length;
    return Promise.resolve({
      lines: [
        `median of ${RUNS}: ${rankMs.toFixed(3)} ms (limit 1 ms), ${fitting - 1} peers fit`,
        `baseline (filter each node, sort by one number): ${baseMs.toFixed(3)} ms; ratio ${(rankMs / baseMs).toFixed(1)}`,
      ],
      isWithinLimit: rankMs <= 1,
    });
  },
};
