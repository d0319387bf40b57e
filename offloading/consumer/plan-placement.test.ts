import { HOME_PLACE } from '../../api/places.ts';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FLOAT_GATE, LABELS, VIRTUAL_NODE_TAINT } from '../../api/labels.ts';
import type { Node, NodeSelectorTerm, PodSpec } from '../../runtime/kube/types.ts';
import { matchesNode, podRequests, whyClosed, whyNotFor } from './plan-fit.ts';
import {
  explainNoFit,
  limitedAgain,
  narrowTerms,
  placementRecordOf,
  placeRequirement,
  planPlacementPatch,
  unlimited,
} from './plan-placement-patch.ts';
import { groupCounts, planPlacements, type GatedPod, type PlanNode } from './plan-placement.ts';

const spec = (cpu = '100m'): PodSpec => ({
  containers: [{ name: 'c', resources: { requests: { cpu } } }],
  tolerations: [{ key: VIRTUAL_NODE_TAINT, operator: 'Exists' }],
  schedulingGates: [{ name: FLOAT_GATE }],
});

const node = (name: string, peer?: string, labels: Record<string, string> = {}): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels: { ...labels, ...(peer ? { [LABELS.peer]: peer } : {}) } },
  spec: peer ? { taints: [{ key: VIRTUAL_NODE_TAINT, effect: 'NoSchedule' }] } : {},
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});

const planNode = (name: string, peer: string | undefined, cpu: number, pods = 100): PlanNode => ({
  node: node(name, peer),
  peer,
  free: { cpu, pods },
});

const gated = (uid: string, overrides: Partial<GatedPod> = {}): GatedPod => {
  const podSpec = overrides.spec ?? spec();
  return {
    uid,
    spec: podSpec,
    requests: podRequests(podSpec),
    group: 'g',
    strategy: 'LocalAndRemote',
    stays: undefined,
    openPeers: ['east', 'west'],
    excluded: new Map(),
    ...overrides,
  };
};

const three = (cpu = 10): PlanNode[] => [
  planNode('n1', undefined, cpu),
  planNode('fluvia-east', 'east', cpu),
  planNode('fluvia-west', 'west', cpu),
];

describe('planPlacements', () => {
  it('spreads evenly, home first among equals', () => {
    const pods = ['1', '2', '3', '4'].map((uid) => gated(uid));
    const places = planPlacements(pods, three(), new Map()).map((p) => p.ranked[0]?.place);
    expect(places).toEqual([HOME_PLACE, 'east', 'west', HOME_PLACE]);
  });

  it('counts pods that are there already', () => {
    const counts = groupCounts([
      { group: 'g', place: HOME_PLACE },
      { group: 'g', place: 'east' },
      { group: 'other', place: 'west' },
    ]);
    expect(planPlacements([gated('1')], three(), counts)[0]?.ranked[0]?.place).toBe('west');
  });

  it.each<[string, Partial<GatedPod>, string[]]>([
    ['a pod that stays', { stays: 'it uses hostPath' }, [HOME_PLACE]],
    ['a namespace that is not open any more', { strategy: undefined }, [HOME_PLACE]],
    ['strategy Local', { strategy: 'Local' }, [HOME_PLACE]],
    ['strategy Remote', { strategy: 'Remote' }, ['east', 'west']],
    ['a twin that is not ready', { openPeers: ['west'] }, [HOME_PLACE, 'west']],
    ['a peer that refused', { excluded: new Map([['west', 'it refused']]) }, [HOME_PLACE, 'east']],
    ['a pod that stays in a Remote namespace', { stays: 'x', strategy: 'Remote' }, []],
  ])('%s', (_, overrides, expected) => {
    const [placement] = planPlacements([gated('1', overrides)], three(), new Map());
    expect(placement?.ranked.map((c) => c.place)).toEqual(expected);
    expect(placement?.rejected).toHaveLength(3 - expected.length);
  });

  it('says what is missing where', () => {
    const [placement] = planPlacements([gated('1', { spec: spec('64') })], three(), new Map());
    expect(placement && explainNoFit(placement)).toBe(
      [
        'this cluster: needs 64 cpu, largest free node has 10',
        'east: needs 64 cpu, what is left of the grant has 10',
        'west: needs 64 cpu, what is left of the grant has 10',
      ].join('; '),
    );
  });

  it('never plans more than there is, and is as even as room allows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 3, maxLength: 3 }),
        fc.integer({ min: 0, max: 15 }),
        (room, count) => {
          const nodes = [
            planNode('n1', undefined, 10, room[0]),
            planNode('fluvia-east', 'east', 10, room[1]),
            planNode('fluvia-west', 'west', 10, room[2]),
          ];
          const pods = Array.from({ length: count }, (_, index) => gated(String(index)));
          const chosen = planPlacements(pods, nodes, new Map()).map((p) => p.ranked[0]?.place);
          const perPlace = [HOME_PLACE, 'east', 'west'].map(
            (place) => chosen.filter((c) => c === place).length,
          );
          perPlace.forEach((n, i) => expect(n).toBeLessThanOrEqual(room[i] ?? 0));
          const total = room.reduce((a, b) => a + b, 0);
          expect(perPlace.reduce((a, b) => a + b, 0)).toBe(Math.min(count, total));
          const notFull = perPlace.filter((n, i) => n < (room[i] ?? 0));
          for (const n of notFull) expect(Math.max(...perPlace) - n).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});

describe('planPlacementPatch', () => {
  const patchOf = (pod: PodSpec, overrides: Partial<GatedPod> = {}, counts = new Map<string, number>()) => {
    const [placement] = planPlacements([gated('1', { ...overrides, spec: pod })], three(), counts);
    return placement && planPlacementPatch({ spec: pod }, placement, ['east', 'west']);
  };

  it('home chosen: home only, nothing nominated, tolerations untouched', () => {
    const patch = patchOf(spec());
    expect(patch?.nominatedNodeName).toBeUndefined();
    expect(patch?.body['spec']).toEqual({
      schedulingGates: [],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: LABELS.peer, operator: 'DoesNotExist' }] }],
          },
        },
      },
    });
  });

  it('a peer chosen: nominated, weighed, its limits kept for a landing at home', () => {
    const pod = {
      ...spec(),
      tolerations: [
        {
          key: 'node.kubernetes.io/not-ready',
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: 300,
        },
        ...(spec().tolerations ?? []),
      ],
    };
    const patch = patchOf(pod, {}, new Map([['g\n@home', 3]]));
    expect(patch?.nominatedNodeName).toBe('fluvia-east');
    expect(patch?.record).toMatchObject({
      place: 'east',
      candidates: ['east', 'west', '@home'],
      evictAfterSeconds: { 'node.kubernetes.io/not-ready': 300 },
    });
    const next = patch?.body['spec'] as PodSpec;
    expect(next.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution).toBeUndefined();
    expect(next.tolerations?.filter((t) => t.effect === 'NoExecute')).toEqual([
      { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
      { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
    ]);
    const landed = { ...pod, tolerations: next.tolerations ?? [] };
    expect(limitedAgain(landed, patch?.record.evictAfterSeconds ?? {})?.[0]?.tolerationSeconds).toBe(300);
  });

  it('keeps what others are to gates and existing tolerations', () => {
    const pod = { ...spec(), schedulingGates: [{ name: 'other/gate' }, { name: FLOAT_GATE }] };
    expect((patchOf(pod)?.body['spec'] as PodSpec | undefined)?.schedulingGates).toEqual([
      { name: 'other/gate' },
    ]);
    expect(unlimited(pod.tolerations).slice(0, 1)).toEqual(pod.tolerations);
  });

  it('its record survives the annotation, and nonsense is ignored', () => {
    const patch = patchOf(spec());
    const annotations =
      (patch?.body['metadata'] as { annotations: Record<string, string> } | undefined)?.annotations ?? {};
    expect(placementRecordOf({ metadata: { name: 'x', annotations } })).toEqual(patch?.record);
    for (const text of ['', 'null', '1', '{"place":1}', '[']) {
      const metadata = { name: 'x', annotations: { 'fluvia.dev/placement': text } };
      expect(placementRecordOf({ metadata })).toBeUndefined();
    }
  });

  it.each([
    [['east'], ['west'], { operator: 'In', values: ['east'] }],
    [[HOME_PLACE], ['east'], { operator: 'DoesNotExist' }],
    [[HOME_PLACE, 'east'], ['west', 'north'], { operator: 'NotIn', values: ['north', 'west'] }],
  ])('candidates %j, others %j', (candidates, others, expected) => {
    expect(placeRequirement(candidates, others)).toEqual({ key: LABELS.peer, ...expected });
  });

  it('only ever narrows: a node that matches after matched before, and only candidates do', () => {
    const requirement = fc.record({
      key: fc.constantFrom('a', 'b'),
      operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'),
      values: fc.subarray(['1', '2'], { minLength: 1 }),
    });
    const term: fc.Arbitrary<NodeSelectorTerm> = fc.record(
      { matchExpressions: fc.array(requirement, { maxLength: 2 }) },
      { requiredKeys: [] },
    );
    const peer = fc.constantFrom(undefined, 'east', 'west', 'north');
    fc.assert(
      fc.property(
        fc.option(fc.array(term, { minLength: 1, maxLength: 3 }), { nil: undefined }),
        fc.subarray([HOME_PLACE, 'east', 'west'], { minLength: 1 }),
        fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2')),
        peer,
        (terms, candidates, labels, nodePeer) => {
          const others = ['east', 'west', 'north'].filter((p) => !candidates.includes(p));
          const narrowed = placeRequirement(candidates, others);
          const withTerms = (list: readonly NodeSelectorTerm[] | undefined): PodSpec => ({
            ...spec(),
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: list && { nodeSelectorTerms: list },
              },
            },
          });
          const target = node('x', nodePeer, labels);
          const before = matchesNode(withTerms(terms), target);
          const after = matchesNode(withTerms(narrowed ? narrowTerms(terms, narrowed) : terms), target);
          expect(after).toBe(before && candidates.includes(nodePeer ?? HOME_PLACE));
          const count = narrowed ? narrowTerms(terms, narrowed).length : (terms?.length ?? 1);
          expect(count).toBe(terms?.length ?? 1);
        },
      ),
    );
  });
});

describe('room and nodes', () => {
  it('counts init containers, sidecars and overhead as the scheduler does', () => {
    const container = (name: string, cpu: string, restartPolicy?: string) => ({
      name,
      ...(restartPolicy ? { restartPolicy } : {}),
      resources: { requests: { cpu } },
    });
    const requests = podRequests({
      containers: [container('a', '100m'), container('b', '200m')],
      initContainers: [container('s', '50m', 'Always'), container('i', '1')],
      overhead: { cpu: '10m' },
    });
    expect(requests['cpu']).toBeCloseTo(1.06);
    expect(requests['pods']).toBe(1);
  });

  it('knows why a node is out of question', () => {
    const pod = spec();
    const at = node('n');
    expect(whyClosed(at) ?? whyNotFor(pod, at)).toBeUndefined();
    expect(whyClosed({ ...at, spec: { unschedulable: true } })).toMatch(/cordoned/);
    expect(whyClosed({ ...at, status: {} })).toMatch(/not ready/);
    expect(whyNotFor({ ...pod, nodeSelector: { disk: 'ssd' } }, at)).toMatch(/selector/);
    const taints = [{ key: 'x', effect: 'NoSchedule' }];
    expect(whyNotFor(pod, { ...at, spec: { taints } })).toMatch(/taint x/);
  });
});
