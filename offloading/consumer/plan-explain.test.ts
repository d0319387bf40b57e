import { describe, expect, it } from 'vitest';
import { ANNOTATIONS, FLOAT_GATE } from '../../api/labels.ts';
import type { NamespaceOffloading } from '../../api/v1alpha1/namespace-offloading.ts';
import type { Node, Pod } from '../../runtime/kube/types.ts';
import { planExplanation, type ExplainWorld } from './plan-explain.ts';
import { podRequests } from './plan-fit.ts';
import { planPlacementPatch, waitingRecord } from './plan-placement-patch.ts';
import { planPlacements, type GatedPod, type PlanNode } from './plan-placement.ts';

const spec = { containers: [{ name: 'c', resources: { requests: { cpu: '2' } } }] };
const pod = (annotation: unknown, more: Partial<Pod['spec']> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'web-0',
    namespace: 'shop',
    ...(annotation === undefined
      ? {}
      : { annotations: { [ANNOTATIONS.placement]: JSON.stringify(annotation) } }),
  },
  spec: { ...spec, ...more },
});
const offloading = {
  metadata: { name: 'offloading', namespace: 'shop' },
  spec: { strategy: 'LocalAndRemote' },
} as unknown as NamespaceOffloading;
const world = (more: Partial<ExplainWorld> & Pick<ExplainWorld, 'pod'>): ExplainWorld => ({
  isGated: false,
  offloading,
  peerOfNode: (node) => (node.startsWith('fluvia-') ? node.slice(7) : undefined),
  stays: undefined,
  ...more,
});

const planNode = (name: string, peer: string | undefined, cpu: number): PlanNode => ({
  node: {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: {},
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  } satisfies Node,
  peer,
  free: { cpu, pods: 10 },
});
const gated: GatedPod = {
  uid: 'u',
  spec,
  requests: podRequests(spec),
  group: 'g',
  strategy: 'LocalAndRemote',
  stays: undefined,
  openPeers: ['east', 'west'],
  excluded: new Map(),
};
const facts = new Map([['east', { rttMilliseconds: 1.234, pricePerHour: { cpu: 0.05 } }]]);
const plan = (cpus: readonly [number, number, number]) =>
  planPlacements(
    [gated],
    [
      planNode('n1', undefined, cpus[0]),
      planNode('fluvia-east', 'east', cpus[1]),
      planNode('fluvia-west', 'west', cpus[2]),
    ],
    new Map([['g\neast', 1]]),
    { facts },
  )[0];

const recordOf = (cpus: readonly [number, number, number]) => {
  const placement = plan(cpus);
  return placement && planPlacementPatch(pod(undefined), placement, ['east', 'west'], 'then')?.record;
};

describe('explain', () => {
  it('a placed pod: its candidates, each term in words, who was left out and why', () => {
    const placed = planExplanation(world({ pod: pod(recordOf([1, 8, 0.5]), { nodeName: 'fluvia-east' }) }));
    expect(placed).toMatchObject({
      pod: 'shop/web-0',
      state: 'placed',
      place: 'east',
      node: 'fluvia-east',
      decidedAt: 'then',
      summary: 'runs at east, node fluvia-east: the only place that fits',
      rejected: [
        { place: '@home', reason: 'needs 2 cpu, largest free node has 1' },
        { place: 'west', reason: 'needs 2 cpu, what is left of the grant has 500m' },
      ],
      notes: [],
    });
    const [east] = placed.candidates;
    expect(east?.terms.map(({ term, says }) => `${term}: ${says}`)).toEqual([
      'room: room for 3 more like it on its node',
      'price: 0.1 an hour',
      'rtt: 1.23 ms round trip',
      'data: no data to move',
      'spread: 1 alike there already',
    ]);
    const points = east?.terms.reduce((sum, term) => sum + (term.points ?? 0), 0) ?? 0;
    expect(Math.abs(points - (east?.score ?? 0))).toBeLessThan(0.5);
  });

  it('tells a peer that is called home from this cluster', () => {
    const nodes = [planNode('n1', undefined, 8), planNode('fluvia-home', 'home', 4)];
    const [placement] = planPlacements([{ ...gated, openPeers: ['home'] }], nodes, new Map());
    const record = placement && planPlacementPatch(pod(undefined), placement, ['home'])?.record;
    const here = planExplanation(world({ pod: pod(record, { nodeName: 'n1' }) }));
    expect(here.candidates.map(({ place, isChosen }) => [place, isChosen])).toEqual([
      ['@home', true],
      ['home', false],
    ]);
    expect(here.candidates.map(({ score }) => score)).toEqual(
      placement?.ranked.map(({ score }) => Number(score.toFixed(1))),
    );
    expect(here.summary).toMatch(/^runs in this cluster, node n1/);
    const there = planExplanation(world({ pod: pod(record, { nodeName: 'fluvia-home' }) }));
    expect(there.summary).toMatch(/^runs at home, node fluvia-home/);
  });

  it('one that is bound and has not started', () => {
    const bound = pod(recordOf([1, 8, 0.5]), { nodeName: 'fluvia-east' });
    expect(planExplanation(world({ pod: { ...bound, status: { phase: 'Pending' } } })).summary).toBe(
      'has not started yet at east, node fluvia-east: the only place that fits',
    );
  });

  it('one that kube-scheduler put elsewhere, and one that it has not bound', () => {
    const record = recordOf([8, 8, 8]);
    const other = planExplanation(world({ pod: pod(record, { nodeName: 'fluvia-east' }) }));
    expect(other.notes[0]).toMatch(/put this cluster first; kube-scheduler, .* chose east/);
    expect(other.candidates.find(({ isChosen }) => isChosen)?.place).toBe('east');
    const unbound = {
      ...pod(record),
      status: { conditions: [{ type: 'PodScheduled', status: 'False', message: '0/3' }] },
    };
    const waits = planExplanation(world({ pod: unbound }));
    expect(waits.summary).toMatch(/sent to this cluster .* not bound it yet/);
    expect(waits.notes).toEqual(['kube-scheduler: 0/3']);
  });

  it('a gated pod: what is missing where, or that nobody has looked yet', () => {
    const gate = { schedulingGates: [{ name: FLOAT_GATE }] };
    const placement = plan([1, 1, 1]);
    const waiting = planExplanation(
      world({
        pod: pod(placement && waitingRecord(placement, 'now'), gate),
        isGated: true,
        stays: 'it uses hostPath',
      }),
    );
    expect(waiting).toMatchObject({
      state: 'waiting',
      decidedAt: 'now',
      notes: ["it can't leave home: it uses hostPath"],
    });
    expect(waiting.rejected.map(({ place }) => place)).toEqual(['@home', 'east', 'west']);
    expect(planExplanation(world({ pod: pod(undefined, gate), isGated: true })).state).toBe('undecided');
  });

  it.each<[string, Partial<ExplainWorld>, RegExp]>([
    ['namespace not open', { offloading: undefined }, /namespace shop is not open/],
    ['not floatable', { stays: 'it belongs to a DaemonSet' }, /it belongs to a DaemonSet/],
    [
      'strategy Local',
      { offloading: { ...offloading, spec: { ...offloading.spec, strategy: 'Local' } } },
      /is Local/,
    ],
    ['made before', {}, /made before its namespace was opened/],
  ])('a pod that Fluvia left at home: %s', (_, more, says) => {
    const explained = planExplanation(world({ pod: pod(undefined, { nodeName: 'n1' }), ...more }));
    expect(explained).toMatchObject({ state: 'home', place: '@home', node: 'n1' });
    expect(explained.summary).toMatch(says);
  });

  it('a record of another version or garbage breaks nothing', () => {
    for (const garbage of [
      { place: 'east', node: 'x', scores: { east: {} }, candidates: ['east'] },
      { at: 'x' },
      7,
    ]) {
      expect(() => planExplanation(world({ pod: pod(garbage) }))).not.toThrow();
    }
  });
});
